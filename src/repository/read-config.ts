/** Finds springback.json, with one clear error for every place that has none. */
import { constants, statSync } from "node:fs";
import { join } from "node:path";
import { sys } from "../../native/index.js";
import { RepositoryError } from "./contract.js";
import { codeOf, storeError } from "./errors.js";
import { CONFIG } from "./layout.js";

/** The text of springback.json. */
export const readConfig = (place: string): string => {
	const file = join(place, CONFIG);
	try {
		const fd = sys.open(file, constants.O_RDONLY);
		try {
			const bytes = Buffer.alloc(sys.fstat(fd).size);
			return bytes.toString("utf8", 0, sys.pread(fd, bytes, 0));
		} finally {
			sys.close(fd);
		}
	} catch (error) {
		const code = codeOf(error);
		if (code !== "ENOENT" && code !== "ENOTDIR") throw storeError(error, place, "opening the repository");
		const kind = statSync(place, { throwIfNoEntry: false });
		if (kind === undefined)
			throw new RepositoryError(
				"NOT_FOUND",
				`no repository at ${place}: mount the disk it is on, or make a new one with springback init`,
			);
		throw new RepositoryError(
			"NOT_A_REPOSITORY",
			`${place} is not a springback repository (it has no ${CONFIG}): make one with springback init, in an empty directory`,
		);
	}
};
