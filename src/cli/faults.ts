/** Faults of a repository as lines for people. */
import type { CheckFault, CheckHit } from "../repository/index.js";

function hitLine({ vm, point, disk, file, offset, length }: CheckHit): string {
	const what = disk ?? (file === undefined ? undefined : `file ${file}`);
	const where = offset === undefined ? "" : ` bytes ${offset} to ${offset + (length ?? 0)}`;
	return `  hits ${vm}@${point.slice(0, 8)}${what === undefined ? "" : ` ${what}`}${where}`;
}

/** One line per fault, and one below it for everything that it hits. */
export function faultLines(faults: CheckFault[]): string[] {
	return faults.flatMap(({ kind, file, message, ranges, hits }) => {
		const more = (ranges?.length ?? 0) > 1 ? ` (${ranges?.length} damaged ranges in the file)` : "";
		const where = message.startsWith(file) ? "" : `${file}: `;
		return [`${kind}: ${where}${message}${more}`, ...hits.map(hitLine)];
	});
}

/** "1 fault", "2 faults" */
export function counted(n: number, what: string): string {
	return `${n} ${what}${n === 1 ? "" : "s"}`;
}
