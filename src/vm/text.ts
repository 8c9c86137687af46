/** Untrusted text: limits, encodings, and the one error of this room. */

/** A configuration that cannot be read. `message` is one line that says what and where. */
export class ConfigError extends Error {
	override readonly name = "ConfigError";
}

/** bytes; real configurations have a few KiB */
export const MAX_CONFIG_BYTES = 1024 * 1024;

/** Encodings a `.vmx` or descriptor may declare and Node can decode, by lower-case name. */
const ENCODINGS: Readonly<Record<string, string>> = {
	"utf-8": "utf-8",
	utf8: "utf-8",
	ascii: "utf-8",
	"us-ascii": "utf-8",
	"windows-1252": "windows-1252",
	"iso-8859-1": "windows-1252",
	"windows-1250": "windows-1250",
	"windows-1251": "windows-1251",
	shift_jis: "shift_jis",
	"windows-31j": "shift_jis",
	gbk: "gbk",
	gb18030: "gb18030",
	big5: "big5",
	"euc-kr": "euc-kr",
};

/** Decodes strictly. Throws ConfigError for an unknown encoding or bytes that do not belong to it. */
export function decode(bytes: Uint8Array, declared: string): string {
	const key = declared.toLowerCase();
	if (!Object.hasOwn(ENCODINGS, key)) throw new ConfigError(`unknown encoding "${printable(declared)}"`);
	try {
		return new TextDecoder(ENCODINGS[key], { fatal: true }).decode(bytes);
	} catch {
		throw new ConfigError(`not valid ${printable(declared)} text`);
	}
}

/** For quoting untrusted text in messages: one line, no control characters, short. */
export const printable = (value: string): string =>
	Array.from(value.slice(0, 80), (c) => (c < " " || (c >= "\x7f" && c <= "\x9f") ? "?" : c)).join("");
