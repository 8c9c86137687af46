/** `quarantine/`: files that repair moved aside, each with a report beside it (docs/format.md, 3). Nothing is deleted. */
import { codeOf } from "./errors.js";
import type { Store } from "./store.js";

export const QUARANTINE = "quarantine";

/**
 * Puts the report, then moves the file; returns its new name: `as`, or `as-2` and so on when that is taken. A crash between
 * them leaves the file where it was, to be found by the next repair.
 */
export const moveAside = async (store: Store, file: string, as: string, report: object): Promise<string> => {
	for (let number = 1; ; number++) {
		const name = `${QUARANTINE}/${number === 1 ? as : `${as}-${number}`}`;
		if ((await store.size(name)) !== undefined) continue;
		try {
			await store.put(`${name}.json`, Buffer.from(`${JSON.stringify(report, null, "\t")}\n`));
		} catch (error) {
			if (codeOf(error) !== "EEXIST") throw error;
			// The report of a run that was cut short before its move says the same.
		}
		await store.move(file, name);
		return name;
	}
};
