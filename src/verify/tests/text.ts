/** Text that comes from guests: no terminal control, bounded. */

/** bytes of a test's output that a report keeps */
export const OUTPUT_BYTES = 64 * 1024;
const LINE_CHARACTERS = 300;

/** ECMA-48: control sequences, control strings, and two-character escapes. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is taken out
const ESCAPES = /\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b]{0,4096}(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]?/g;
/** Control characters but tab and line feed, what turns the direction of text around it, and halves of characters. */
const CONTROLS =
	// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is taken out
	/[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufffe\uffff]|\p{Surrogate}/gu;

/** Several lines of plain text. */
export const plain = (text: string): string =>
	text
		.replace(ESCAPES, "")
		.replace(/\r+\n?/g, "\n")
		.replace(CONTROLS, "\ufffd");

/** One line of at most 300 characters. */
export const oneLine = (text: string): string => {
	const line = plain(text.slice(0, 16 * LINE_CHARACTERS))
		.replace(/\s+/g, " ")
		.trim();
	return line.length > LINE_CHARACTERS ? `${line.slice(0, LINE_CHARACTERS - 1)}…` : line;
};

/** Quoted in a message: at most 80 characters. */
export const quoted = (text: string): string => {
	const line = oneLine(text);
	return `"${line.length > 80 ? `${line.slice(0, 79)}…` : line}"`;
};

/** At most `limit` bytes of UTF-8: the beginning and the end, with a line between that says what is missing. */
export const cut = (text: string, limit = OUTPUT_BYTES): string => {
	const bytes = Buffer.from(text, "utf8");
	if (bytes.length <= limit) return text;
	const note = `\n… ${bytes.length - limit} bytes left out …\n`;
	const room = limit - Buffer.byteLength(note) - 8;
	const head = bytes.subarray(0, Math.ceil(room / 2)).toString("utf8");
	const tail = bytes.subarray(bytes.length - Math.floor(room / 2)).toString("utf8");
	return `${head.replace(/\ufffd$/, "")}${note}${tail.replace(/^\ufffd+/, "")}`;
};

/** "5 s", "1.5 s", "300 ms", "30 min" */
export const duration = (ms: number): string => {
	if (ms < 1000) return `${Math.round(ms)} ms`;
	if (ms < 120_000) return `${Number((ms / 1000).toFixed(1))} s`;
	return `${Number((ms / 60_000).toFixed(1))} min`;
};
