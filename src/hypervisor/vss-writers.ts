/** What `vssadmin list writers` of Windows tells of applications: in any language, for states have numbers. */

export interface Writer {
	name: string;
	/** VSS_WRITER_STATE of Windows; null: not told */
	state: number | null;
	/** null: none, or told in a language that is not English */
	error: string | null;
}

const STABLE = 1;
/** It still has to hear that the snapshot, or the backup, is over. */
const WAITING = [2, 3, 4, 5];

/** What comes from a guest: whatever is no writer is passed over. */
export const parseWriters = (text: string): Writer[] =>
	text.split(/\r?\n[ \t]*\r?\n/).flatMap((block) => {
		const lines = block.split(/\r?\n/).map((line) => line.trim());
		// Each writer has an id of its kind and one of its own.
		if (lines.filter((line) => /\{[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\}/i.test(line)).length < 2) return [];
		const at = lines.findIndex((line) => /:\s*\[\d{1,3}\]/.test(line));
		const state = /:\s*\[(\d{1,3})\]/.exec(lines[at] ?? "")?.[1];
		const error = /^last error\s*:\s*(.*)$/i.exec(lines.find((line) => /^last error\s*:/i.test(line)) ?? "")?.[1];
		return [
			{
				name: nameIn(lines.find((line) => line.includes(":")) ?? ""),
				state: state === undefined ? null : Number(state),
				error: error === undefined || /^no error\.?$/i.test(error) ? null : error,
			},
		];
	});

/** Languages have quotes of their own. */
const nameIn = (line: string): string =>
	line
		.slice(line.indexOf(":") + 1)
		.replace(/[\p{Cc}\ufffd]/gu, "")
		.replace(/^[\s\p{P}]+|[\s\p{P}]+$/gu, "")
		.slice(0, 100);

/** Why applications cannot be said to be at rest; null when they can. @param earlier those that must be there still */
export const unstable = (writers: Writer[], earlier: Writer[] = []): string | null => {
	if (writers.length === 0) return "vssadmin lists no VSS writers";
	const bad = writers.find(({ state, error }) => state !== STABLE || error !== null);
	if (bad !== undefined) {
		const { name, state, error } = bad;
		return `VSS writer ${name} is in state ${state ?? "unknown"}${error === null ? "" : ` (${error})`}, not stable`;
	}
	const gone = earlier.find(({ name }) => !writers.some((one) => one.name === name));
	return gone === undefined ? null : `VSS writer ${gone.name} does not answer any more`;
};

/** None has failed, but not all are done. */
export const stillWaiting = (writers: Writer[]): boolean =>
	writers.every(({ state, error }) => error === null && (state === STABLE || WAITING.includes(state ?? 0))) &&
	writers.some(({ state }) => state !== STABLE);
