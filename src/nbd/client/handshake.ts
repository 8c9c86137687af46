/**
 * Fixed newstyle negotiation ("Newstyle negotiation", "Option types"): structured replies, the base:allocation
 * context, then NBD_OPT_GO with block sizes.
 */
import {
	BASE_ALLOCATION,
	DEFAULT_BLOCK_SIZES,
	Handshake,
	IHAVEOPT,
	Info,
	NBDMAGIC,
	OPTION_REPLY_MAGIC,
	Option,
	OptionErrors,
	OptionReply,
	TransmissionFlag,
} from "../protocol.js";
import type { NbdAddress } from "../uri.js";
import type { Wire } from "./wire.js";

export interface Negotiated {
	/** bytes */
	size: number;
	/** NBD_FLAG_* */
	flags: number;
	/** what the server says of the export, as it likes; "" when it says nothing */
	description: string;
	structured: boolean;
	/** id of the context that was asked for; undefined when the server has no block status */
	allocationContext: number | undefined;
	minimum: number;
	preferred: number;
	maximum: number;
}

/** No option reply we ask for is longer; a server that claims more is broken or hostile. */
const MAX_OPTION_REPLY = 64 * 1024;

/** Rejects with an Error of one line naming the export. Leaves `wire.onBytes` and `onEnd` for the next owner. */
export async function handshake(
	wire: Wire,
	address: NbdAddress,
	timeoutMs: number,
	context = BASE_ALLOCATION,
): Promise<Negotiated> {
	const reader = new Reader(wire);
	const timer = setTimeout(() => wire.end(`no answer within ${timeoutMs} ms`), timeoutMs);
	try {
		return await negotiate(wire, reader, address, context);
	} catch (error) {
		wire.end("handshake failed");
		throw new Error(`${address.text}: ${(error as Error).message}`, { cause: error });
	} finally {
		clearTimeout(timer);
	}
}

async function negotiate(wire: Wire, reader: Reader, address: NbdAddress, wanted: string): Promise<Negotiated> {
	const hello = await reader.take(18);
	if (hello.readBigUInt64BE(0) !== NBDMAGIC) throw new Error("this is not an NBD server");
	const offered = hello.readUInt16BE(16);
	if (hello.readBigUInt64BE(8) !== IHAVEOPT || (offered & Handshake.FIXED_NEWSTYLE) === 0)
		throw new Error("the server speaks an old NBD handshake (fixed newstyle is needed)");
	const clientFlags = Buffer.alloc(4);
	clientFlags.writeUInt32BE(Handshake.FIXED_NEWSTYLE | (offered & Handshake.NO_ZEROES));
	wire.send(clientFlags);

	const name = Buffer.from(address.exportName, "utf8");
	const structured = (await ask(wire, reader, Option.STRUCTURED_REPLY, Buffer.alloc(0))).refused === undefined;
	const allocationContext = structured ? await askContext(wire, reader, name, wanted) : undefined;
	return { ...(await go(wire, reader, name)), structured, allocationContext };
}

async function askContext(wire: Wire, reader: Reader, name: Buffer, wanted: string): Promise<number | undefined> {
	const context = Buffer.from(wanted, "utf8");
	const { refused, replies } = await ask(
		wire,
		reader,
		Option.SET_META_CONTEXT,
		Buffer.concat([u32(name.length), name, u32(1), u32(context.length), context]),
	);
	if (refused !== undefined) return undefined;
	for (const { type, data } of replies)
		if (type === OptionReply.META_CONTEXT && data.subarray(4).equals(context)) return data.readUInt32BE(0);
	return undefined;
}

async function go(wire: Wire, reader: Reader, name: Buffer) {
	const request = Buffer.concat([u32(name.length), name, Buffer.from([0, 2, 0, Info.BLOCK_SIZE, 0, Info.DESCRIPTION])]);
	const { refused, replies } = await ask(wire, reader, Option.GO, request);
	if (refused !== undefined) throw new Error(`export "${name.toString("utf8")}": ${refused}`);
	const sizes = { ...DEFAULT_BLOCK_SIZES };
	let found: { size: number; flags: number } | undefined;
	let description = "";
	for (const { type, data } of replies) {
		if (type !== OptionReply.INFO || data.length < 2) continue;
		const info = data.readUInt16BE(0);
		if (info === Info.EXPORT && data.length === 12) {
			const size = data.readBigUInt64BE(2);
			if (size > BigInt(Number.MAX_SAFE_INTEGER)) throw new Error(`the export claims a size of ${size} bytes`);
			found = { size: Number(size), flags: data.readUInt16BE(10) };
		} else if (info === Info.DESCRIPTION) {
			description = data.toString("utf8", 2);
		} else if (info === Info.BLOCK_SIZE && data.length === 14) {
			sizes.minimum = data.readUInt32BE(2);
			sizes.preferred = data.readUInt32BE(6);
			sizes.maximum = data.readUInt32BE(10);
			const power = (n: number) => n > 0 && (n & (n - 1)) === 0;
			if (!power(sizes.minimum) || sizes.minimum > 65536 || sizes.maximum < sizes.minimum)
				throw new Error(`the server announces impossible block sizes ${sizes.minimum}..${sizes.maximum}`);
		}
	}
	if (found === undefined || (found.flags & TransmissionFlag.HAS_FLAGS) === 0)
		throw new Error("the server did not describe its export");
	return { ...found, ...sizes, description };
}

interface Answer {
	/** why the server refused the option */
	refused: string | undefined;
	replies: { type: number; data: Buffer }[];
}

/** Sends one option and collects its replies up to the final ACK or error. */
async function ask(wire: Wire, reader: Reader, option: number, data: Buffer): Promise<Answer> {
	const head = Buffer.alloc(16);
	head.writeBigUInt64BE(IHAVEOPT, 0);
	head.writeUInt32BE(option, 8);
	head.writeUInt32BE(data.length, 12);
	wire.send(head, data);
	const replies: Answer["replies"] = [];
	while (replies.length < 64) {
		const reply = await reader.take(20);
		const type = reply.readUInt32BE(12);
		const length = reply.readUInt32BE(16);
		if (reply.readBigUInt64BE(0) !== OPTION_REPLY_MAGIC || reply.readUInt32BE(8) !== option)
			throw new Error("the server answered another option than was asked");
		if (length > MAX_OPTION_REPLY) throw new Error(`the server sent an option reply of ${length} bytes`);
		const content = Buffer.from(await reader.take(length));
		if (type === OptionReply.ACK) return { refused: undefined, replies };
		if ((type & OptionReply.ERROR_BIT) !== 0) {
			const words = content
				.toString("utf8")
				.replace(/[^\x20-\x7e]+/g, " ")
				.trim()
				.slice(0, 200);
			const known = OptionErrors[type & 0x7fffffff] ?? `error ${type & 0x7fffffff}`;
			return { refused: words ? `${known} (${words})` : known, replies };
		}
		if (type === OptionReply.META_CONTEXT && length < 4) throw new Error("malformed meta context reply");
		replies.push({ type, data: content });
	}
	throw new Error("the server does not stop answering an option");
}

function u32(value: number): Buffer {
	const bytes = Buffer.alloc(4);
	bytes.writeUInt32BE(value);
	return bytes;
}

/** Turns received bytes into `take(n)`. The server speaks only when asked, so nothing may be left over at the end. */
class Reader {
	private bytes = Buffer.alloc(0);
	private waiting: { count: number; resolve: (b: Buffer) => void; reject: (e: Error) => void } | undefined;
	private ended: Error | undefined;

	constructor(wire: Wire) {
		wire.onBytes = (bytes) => {
			this.bytes = Buffer.concat([this.bytes, bytes]);
			this.serve();
		};
		wire.onEnd = (why) => {
			this.ended = new Error(why);
			this.waiting?.reject(this.ended);
		};
	}

	take(count: number): Promise<Buffer> {
		return new Promise((resolve, reject) => {
			if (this.ended) return reject(this.ended);
			this.waiting = { count, resolve, reject };
			this.serve();
		});
	}

	private serve(): void {
		if (!this.waiting || this.bytes.length < this.waiting.count) return;
		const { count, resolve } = this.waiting;
		this.waiting = undefined;
		const piece = this.bytes.subarray(0, count);
		this.bytes = this.bytes.subarray(count);
		resolve(piece);
	}
}
