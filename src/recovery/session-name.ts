/** The session's name: VM and time of the point, fit for an export path and not yet taken. */
import type { Point } from "../repository/index.js";

export const freeSessionName = ({ vm, time }: Point, taken: ReadonlySet<string>): string => {
	const stem = vm.replace(/[^A-Za-z0-9._-]+/g, "-").replace(/^[^A-Za-z0-9]+/, "") || "vm";
	const base = `${stem.slice(0, 40)}-${time.replaceAll(":", "")}`;
	for (let n = 1; ; n++) {
		const name = n === 1 ? base : `${base}-${n}`;
		if (!taken.has(name)) return name;
	}
};
