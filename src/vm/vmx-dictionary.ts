/**
 * The syntax of `.vmx`: `key = "value"` lines, `#` comments, `|XX` for characters that cannot stand in quotes,
 * `.encoding` naming the charset. Keys are case-insensitive; order and spelling are kept.
 */
import { ConfigError, decode, MAX_CONFIG_BYTES, printable } from "./text.js";

const MAX_KEYS = 20_000;

export class VmxDictionary {
	// A Map, so that a key like "__proto__" is just a key.
	private readonly entries = new Map<string, { key: string; value: string }>();

	/** Throws ConfigError with the line's number. */
	static parse(bytes: Uint8Array): VmxDictionary {
		if (bytes.length > MAX_CONFIG_BYTES) throw new ConfigError(`.vmx larger than ${MAX_CONFIG_BYTES} bytes`);
		// Keys and the encoding's name are ASCII in every encoding that VMware uses.
		const declared = /^\s*\.encoding\s*=\s*"?([^"\r\n]*?)"?\s*$/im.exec(Buffer.from(bytes).toString("latin1"));
		const text = decode(bytes, declared?.[1] ?? "UTF-8").replace(/^\ufeff/, "");
		const dictionary = new VmxDictionary();
		for (const [index, line] of text.split(/\r\n|\n|\r/).entries()) {
			const trimmed = line.trim();
			if (trimmed === "" || trimmed.startsWith("#")) continue;
			const match = /^([^\s="]+)\s*=\s*(?:"([^"]*)"|([^\s"]*))\s*(?:#.*)?$/.exec(trimmed);
			if (!match) throw new ConfigError(`.vmx line ${index + 1} is not of the form key = "value"`);
			const key = match[1];
			if (dictionary.has(key)) throw new ConfigError(`.vmx line ${index + 1}: "${printable(key)}" is set twice`);
			dictionary.set(key, unquote(match[2] ?? match[3] ?? ""));
			if (dictionary.entries.size > MAX_KEYS) throw new ConfigError(`.vmx with more than ${MAX_KEYS} keys`);
		}
		return dictionary;
	}

	get(key: string): string | undefined {
		return this.entries.get(key.toLowerCase())?.value;
	}

	has(key: string): boolean {
		return this.entries.has(key.toLowerCase());
	}

	/** "TRUE" in any case; anything else, or nothing, is `otherwise` when absent and false when present. */
	flag(key: string, otherwise = false): boolean {
		const value = this.get(key);
		return value === undefined ? otherwise : value.toLowerCase() === "true" || value === "1";
	}

	/** A non-negative decimal number, or undefined. */
	number(key: string): number | undefined {
		const value = this.get(key);
		return value !== undefined && /^\d{1,12}$/.test(value) ? Number(value) : undefined;
	}

	set(key: string, value: string): void {
		const old = this.entries.get(key.toLowerCase());
		if (old) old.value = value;
		else this.entries.set(key.toLowerCase(), { key, value });
	}

	delete(key: string): void {
		this.entries.delete(key.toLowerCase());
	}

	/** Lower-case keys in order. */
	keys(): string[] {
		return [...this.entries.keys()];
	}

	/** UTF-8 text; `.encoding` comes first and is what it says. */
	toString(): string {
		const lines = ['.encoding = "UTF-8"'];
		for (const [lower, { key, value }] of this.entries)
			if (lower !== ".encoding") lines.push(`${key} = "${quote(value)}"`);
		return `${lines.join("\n")}\n`;
	}
}

function unquote(value: string): string {
	return value.replace(/\|([0-9a-fA-F]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}

/** Quotes, the escape sign and control characters; everything else stands for itself. */
function quote(value: string): string {
	return value.replace(
		// biome-ignore lint/suspicious/noControlCharactersInRegex: exactly those must be escaped
		/["|\x00-\x1f\x7f]/g,
		(c) => `|${c.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`,
	);
}
