/** Options of the handshake: reading what a client asks, and the bytes of the answers ("Option types"). */
import { BASE_ALLOCATION, IHAVEOPT, Info, OPTION_REPLY_MAGIC, OptionReply, STRING_MAX } from "../protocol.js";
import type { ExportContexts } from "./export.js";

/** The client broke the rules of the protocol: it is told so, and may go on. */
export class InvalidOption extends Error {
	override readonly name = "InvalidOption";
}

const OPTION_HEADER = 16;

/** Option number and length of the data that follows; undefined when it is no option. */
export function optionHeader(bytes: Buffer): { option: number; length: number } | undefined {
	if (bytes.length !== OPTION_HEADER || bytes.readBigUInt64BE(0) !== IHAVEOPT) return undefined;
	return { option: bytes.readUInt32BE(8), length: bytes.readUInt32BE(12) };
}

/** Reads the data of an option from its start to its end. Throws InvalidOption. */
class Fields {
	#at = 0;

	constructor(private readonly data: Buffer) {}

	u16(): number {
		return this.data.readUInt16BE(this.#take(2));
	}

	u32(): number {
		return this.data.readUInt32BE(this.#take(4));
	}

	/** length and UTF-8 text */
	text(): string {
		const length = this.u32();
		if (length > STRING_MAX) throw new InvalidOption(`a string of ${length} bytes; ${STRING_MAX} are allowed`);
		const at = this.#take(length);
		return this.data.toString("utf8", at, at + length);
	}

	end(): void {
		if (this.#at !== this.data.length) throw new InvalidOption("bytes that do not belong to the option");
	}

	/** Where the next `length` bytes are. */
	#take(length: number): number {
		const at = this.#at;
		if (at + length > this.data.length) throw new InvalidOption("the option ends too early");
		this.#at = at + length;
		return at;
	}
}

/** NBD_OPT_INFO and NBD_OPT_GO */
export function readInfoRequest(data: Buffer): { name: string; wanted: Set<number> } {
	const fields = new Fields(data);
	const name = fields.text();
	const wanted = new Set<number>();
	for (let count = fields.u16(); count > 0; count--) wanted.add(fields.u16());
	fields.end();
	return { name, wanted };
}

/** NBD_OPT_LIST_META_CONTEXT and NBD_OPT_SET_META_CONTEXT */
export function readContextRequest(data: Buffer): { name: string; queries: string[] } {
	const fields = new Fields(data);
	const name = fields.text();
	const queries: string[] = [];
	for (let count = fields.u32(); count > 0; count--) queries.push(fields.text());
	fields.end();
	return { name, queries };
}

/** Options without data */
export function readNothing(data: Buffer): void {
	new Fields(data).end();
}

/** Full names of the contexts that a listing's queries match: a name, or a namespace or prefix that ends in a colon. */
export function listedContexts(contexts: ExportContexts | undefined, queries: string[]): string[] {
	const all = [BASE_ALLOCATION, ...(contexts?.names ?? [])];
	if (queries.length === 0) return all;
	const found = new Set<string>();
	for (const query of queries) {
		if (query.endsWith(":")) for (const name of all.filter((one) => one.startsWith(query))) found.add(name);
		else if (query === BASE_ALLOCATION || contexts?.find(query)) found.add(query);
	}
	return [...found];
}

/** One reply to an option. */
export function optionReply(option: number, type: number, data: Buffer = Buffer.alloc(0)): Buffer {
	const head = Buffer.alloc(20);
	head.writeBigUInt64BE(OPTION_REPLY_MAGIC, 0);
	head.writeUInt32BE(option, 8);
	head.writeUInt32BE(type >>> 0, 12);
	head.writeUInt32BE(data.length, 16);
	return Buffer.concat([head, data]);
}

/** A refusal, with words for people. @param error one of OptionError */
export const refusal = (option: number, error: number, words: string): Buffer =>
	optionReply(option, OptionReply.ERROR_BIT + error, Buffer.from(words.slice(0, 200), "utf8"));

/** NBD_REP_SERVER */
export function serverReply(option: number, name: string): Buffer {
	const text = Buffer.from(name, "utf8");
	return optionReply(option, OptionReply.SERVER, Buffer.concat([u32(text.length), text]));
}

/** NBD_REP_META_CONTEXT */
export const contextReply = (option: number, id: number, name: string): Buffer =>
	optionReply(option, OptionReply.META_CONTEXT, Buffer.concat([u32(id), Buffer.from(name, "utf8")]));

/** NBD_INFO_EXPORT */
export function exportInfo(option: number, size: number, flags: number): Buffer {
	const data = Buffer.alloc(12);
	data.writeUInt16BE(Info.EXPORT, 0);
	data.writeBigUInt64BE(BigInt(size), 2);
	data.writeUInt16BE(flags, 10);
	return optionReply(option, OptionReply.INFO, data);
}

/** NBD_INFO_NAME and NBD_INFO_DESCRIPTION */
export const textInfo = (option: number, info: number, text: string): Buffer =>
	optionReply(option, OptionReply.INFO, Buffer.concat([u16(info), Buffer.from(text, "utf8")]));

/** NBD_INFO_BLOCK_SIZE */
export const blockInfo = (option: number, minimum: number, preferred: number, maximum: number): Buffer =>
	optionReply(
		option,
		OptionReply.INFO,
		Buffer.concat([u16(Info.BLOCK_SIZE), u32(minimum), u32(preferred), u32(maximum)]),
	);

function u16(value: number): Buffer {
	const bytes = Buffer.alloc(2);
	bytes.writeUInt16BE(value);
	return bytes;
}

function u32(value: number): Buffer {
	const bytes = Buffer.alloc(4);
	bytes.writeUInt32BE(value);
	return bytes;
}
