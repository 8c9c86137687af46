/** A client that speaks bytes: what a test writes is what is sent, and what comes back is taken apart by the test's rules. */
import { connect, type Socket } from "node:net";
import type { Test } from "tap";

export const OPTION_MAGIC = Buffer.from("IHAVEOPT", "latin1");
export const SERVER_MAGIC = Buffer.from("NBDMAGIC", "latin1");

const PATIENCE = 20_000;

export const u16 = (value: number): Buffer => {
	const bytes = Buffer.alloc(2);
	bytes.writeUInt16BE(value);
	return bytes;
};
export const u32 = (value: number): Buffer => {
	const bytes = Buffer.alloc(4);
	bytes.writeUInt32BE(value >>> 0);
	return bytes;
};
export const u64 = (value: number | bigint): Buffer => {
	const bytes = Buffer.alloc(8);
	bytes.writeBigUInt64BE(BigInt(value));
	return bytes;
};
export const text = (value: string): Buffer => Buffer.concat([u32(Buffer.byteLength(value)), Buffer.from(value)]);

/** data of NBD_OPT_INFO and NBD_OPT_GO */
export const infoRequest = (name: string, ...infos: number[]): Buffer =>
	Buffer.concat([text(name), u16(infos.length), ...infos.map(u16)]);
/** data of NBD_OPT_LIST_META_CONTEXT and NBD_OPT_SET_META_CONTEXT */
export const contextRequest = (name: string, ...queries: string[]): Buffer =>
	Buffer.concat([text(name), u32(queries.length), ...queries.map(text)]);

export const option = (number: number, data: Buffer = Buffer.alloc(0)): Buffer =>
	Buffer.concat([OPTION_MAGIC, u32(number), u32(data.length), data]);

export interface RequestFields {
	command: number;
	flags?: number;
	cookie?: number | bigint;
	offset?: number | bigint;
	length?: number;
	data?: Buffer;
	magic?: number;
}

export const request = ({ command, flags, cookie, offset, length, data, magic }: RequestFields): Buffer =>
	Buffer.concat([
		u32(magic ?? 0x25609513),
		u16(flags ?? 0),
		u16(command),
		u64(cookie ?? 1),
		u64(offset ?? 0),
		u32(length ?? data?.length ?? 0),
		data ?? Buffer.alloc(0),
	]);

export interface OptionReply {
	option: number;
	type: number;
	data: Buffer;
}

export interface Reply {
	cookie: bigint;
	error: number;
	/** of chunks; undefined: a simple reply */
	chunks?: { type: number; flags: number; data: Buffer }[];
}

export class RawClient {
	readonly socket: Socket;
	/** resolves when the server has ended the connection */
	readonly closed: Promise<void>;
	#bytes: Buffer = Buffer.alloc(0);
	#ended = false;
	/** replies that are not whole yet */
	readonly #chunks = new Map<bigint, NonNullable<Reply["chunks"]>>();
	#wake: () => void = () => {};

	private constructor(socket: Socket) {
		this.socket = socket;
		socket.on("data", (data: Buffer) => {
			this.#bytes = Buffer.concat([this.#bytes, data]);
			this.#wake();
		});
		this.closed = new Promise((resolve) => {
			const end = () => {
				this.#ended = true;
				this.#wake();
				resolve();
			};
			socket.on("end", end);
			socket.on("close", end);
		});
		socket.on("error", () => {});
	}

	static connect(t: Pick<Test, "teardown">, where: string | number): Promise<RawClient> {
		return new Promise((resolve, reject) => {
			const socket = typeof where === "string" ? connect(where) : connect(where, "127.0.0.1");
			socket.once("error", reject);
			socket.once("connect", () => {
				t.teardown(() => socket.destroy());
				resolve(new RawClient(socket));
			});
		});
	}

	send(...parts: Buffer[]): void {
		this.socket.write(Buffer.concat(parts));
	}

	/** bytes that have arrived and nobody has taken */
	get waiting(): number {
		return this.#bytes.length;
	}

	get ended(): boolean {
		return this.#ended;
	}

	/** The next `length` bytes; rejects when the connection ends first, or nothing comes. */
	async take(length: number): Promise<Buffer> {
		const until = Date.now() + PATIENCE;
		while (this.#bytes.length < length) {
			if (this.#ended) throw new Error(`the connection ended after ${this.#bytes.length} of ${length} bytes`);
			if (Date.now() > until) throw new Error(`no answer: ${this.#bytes.length} of ${length} bytes`);
			await new Promise<void>((resolve) => {
				const timer = setTimeout(resolve, 1000);
				this.#wake = () => {
					clearTimeout(timer);
					resolve();
				};
			});
		}
		const piece = this.#bytes.subarray(0, length);
		this.#bytes = this.#bytes.subarray(length);
		return piece;
	}

	/** The server's greeting, and our flags. */
	async greet(flags = 3): Promise<void> {
		const hello = await this.take(18);
		if (!hello.subarray(0, 8).equals(SERVER_MAGIC) || !hello.subarray(8, 16).equals(OPTION_MAGIC))
			throw new Error("no NBD server");
		this.send(u32(flags));
	}

	async optionReply(): Promise<OptionReply> {
		const head = await this.take(20);
		if (head.readBigUInt64BE(0) !== 0x3e889045565a9n) throw new Error("no option reply");
		const data = Buffer.from(await this.take(head.readUInt32BE(16)));
		return { option: head.readUInt32BE(8), type: head.readUInt32BE(12), data };
	}

	/** Sends an option; all replies up to the final one. */
	async option(number: number, data?: Buffer): Promise<OptionReply[]> {
		this.send(option(number, data));
		const replies: OptionReply[] = [];
		for (;;) {
			const reply = await this.optionReply();
			replies.push(reply);
			if (reply.type === 1 || reply.type >= 0x80000000) return replies;
		}
	}

	/** Into the transmission phase of an export. */
	async go(name: string, { structured = true, contexts = [] as string[] } = {}): Promise<this> {
		await this.greet();
		if (structured) await this.option(8);
		if (contexts.length > 0) await this.option(10, contextRequest(name, ...contexts));
		const replies = await this.option(7, infoRequest(name));
		if (replies[replies.length - 1].type !== 1) throw new Error(`export ${name} was refused`);
		return this;
	}

	/** The next reply that is whole: chunks of several may be mixed. @param readLength of a simple reply to a successful read */
	async reply(readLength = 0): Promise<Reply & { data: Buffer }> {
		for (;;) {
			const magic = (await this.take(4)).readUInt32BE(0);
			if (magic === 0x67446698) {
				const head = await this.take(12);
				const error = head.readUInt32BE(0);
				const data = error === 0 ? Buffer.from(await this.take(readLength)) : Buffer.alloc(0);
				return { cookie: head.readBigUInt64BE(4), error, data };
			}
			if (magic !== 0x668e33ef) throw new Error(`reply magic 0x${magic.toString(16)}`);
			const head = await this.take(16);
			const flags = head.readUInt16BE(0);
			const cookie = head.readBigUInt64BE(4);
			const chunks = this.#chunks.get(cookie) ?? [];
			chunks.push({ flags, type: head.readUInt16BE(2), data: Buffer.from(await this.take(head.readUInt32BE(12))) });
			this.#chunks.set(cookie, chunks);
			if ((flags & 1) === 0) continue;
			this.#chunks.delete(cookie);
			const failed = chunks.find(({ type }) => (type & 0x8000) !== 0);
			return { cookie, error: failed?.data.readUInt32BE(0) ?? 0, chunks, data: Buffer.alloc(0) };
		}
	}

	/** Sends a request; its reply. */
	async ask(fields: RequestFields): Promise<Reply & { data: Buffer }> {
		this.send(request(fields));
		return this.reply(fields.command === 0 ? fields.length : 0);
	}
}

/** What the chunks of a structured read say, put together: unfilled bytes are 0xee. */
export function assemble({ chunks }: Reply, offset: number, length: number): Buffer {
	const data = Buffer.alloc(length, 0xee);
	for (const chunk of chunks ?? []) {
		const at = Number(chunk.data.readBigUInt64BE(0)) - offset;
		if (chunk.type === 1) chunk.data.copy(data, at, 8);
		else if (chunk.type === 2) data.fill(0, at, at + chunk.data.readUInt32BE(8));
	}
	return data;
}

/** Descriptors of a block status chunk. */
export function descriptors(chunk: { data: Buffer }): { context: number; runs: [number, number][] } {
	const runs: [number, number][] = [];
	for (let at = 4; at < chunk.data.length; at += 8)
		runs.push([chunk.data.readUInt32BE(at), chunk.data.readUInt32BE(at + 4)]);
	return { context: chunk.data.readUInt32BE(0), runs };
}
