/**
 * An RPC client for tests that shares no code with the server: its own XDR builder and reader, and full control
 * over the bytes on the wire.
 */
import { connect, type Socket } from "node:net";

/** Builds XDR. */
export class Words {
	readonly #parts: Buffer[] = [];

	u32(...values: number[]): this {
		for (const value of values) {
			const part = Buffer.alloc(4);
			part.writeUInt32BE(value >>> 0);
			this.#parts.push(part);
		}
		return this;
	}

	u64(value: bigint | number): this {
		const part = Buffer.alloc(8);
		part.writeBigUInt64BE(BigInt(value));
		this.#parts.push(part);
		return this;
	}

	raw(bytes: Buffer): this {
		this.#parts.push(bytes, Buffer.alloc((4 - (bytes.length % 4)) % 4));
		return this;
	}

	opaque(bytes: Buffer | string): this {
		const buffer = typeof bytes === "string" ? Buffer.from(bytes, "latin1") : bytes;
		return this.u32(buffer.length).raw(buffer);
	}

	done(): Buffer {
		return Buffer.concat(this.#parts);
	}
}

export const xdr = (): Words => new Words();

/** Reads XDR. */
export class Fields {
	at = 0;
	constructor(readonly bytes: Buffer) {}

	u32(): number {
		this.at += 4;
		return this.bytes.readUInt32BE(this.at - 4);
	}

	u64(): bigint {
		this.at += 8;
		return this.bytes.readBigUInt64BE(this.at - 8);
	}

	raw(length: number): Buffer {
		const start = this.at;
		this.at += Math.ceil(length / 4) * 4;
		if (this.at > this.bytes.length) throw new RangeError(`${length} bytes beyond the end`);
		return this.bytes.subarray(start, start + length);
	}

	opaque(): Buffer {
		return this.raw(this.u32());
	}

	text(): string {
		return this.opaque().toString("latin1");
	}

	get left(): number {
		return this.bytes.length - this.at;
	}
}

export const authSys = (uid = 0, gid = 0, gids: number[] = []): Buffer =>
	xdr()
		.u32(1)
		.opaque(
			xdr()
				.u32(7)
				.opaque("tester")
				.u32(uid, gid, gids.length, ...gids)
				.done(),
		)
		.done();

export const AUTH_NONE = xdr().u32(0, 0).done();

export interface CallOptions {
	xid?: number;
	credential?: Buffer;
	rpcVersion?: number;
	/** fragment lengths; the rest is the last fragment */
	fragments?: number[];
}

export interface Reply {
	xid: number;
	/** MSG_ACCEPTED 0, MSG_DENIED 1 */
	replyStat: number;
	/** accept_stat or reject_stat */
	stat: number;
	body: Fields;
	/** the record without its mark */
	record: Buffer;
}

export function encodeCall(
	program: number,
	version: number,
	procedure: number,
	args: Buffer,
	o: CallOptions = {},
): Buffer {
	return xdr()
		.u32(o.xid ?? 1, 0, o.rpcVersion ?? 2, program, version, procedure)
		.raw(o.credential ?? authSys())
		.raw(AUTH_NONE)
		.raw(args)
		.done();
}

export function mark(record: Buffer, fragments: number[] = []): Buffer {
	const parts: Buffer[] = [];
	let at = 0;
	for (const length of fragments) {
		parts.push(xdr().u32(length).done(), record.subarray(at, at + length));
		at += length;
	}
	parts.push(
		xdr()
			.u32(0x8000_0000 + record.length - at)
			.done(),
		record.subarray(at),
	);
	return Buffer.concat(parts);
}

export function decodeReply(record: Buffer): Reply {
	const body = new Fields(record);
	const xid = body.u32();
	if (body.u32() !== 1) throw new Error("no reply");
	const replyStat = body.u32();
	if (replyStat === 0) {
		body.u32();
		body.opaque();
	}
	return { xid, replyStat, stat: body.u32(), body, record };
}

export class RawClient {
	readonly socket: Socket;
	/** resolves when the server has closed the connection */
	readonly closed: Promise<void>;
	/** records received that nobody waits for */
	readonly records: Buffer[] = [];
	#received: Buffer[] = [];
	#length = 0;
	#waiting: ((record: Buffer) => void)[] = [];
	#xid = 0x1000;

	private constructor(socket: Socket) {
		this.socket = socket;
		socket.on("data", (data) => this.#arrived(data));
		socket.on("error", () => {});
		this.closed = new Promise((resolve) => socket.once("close", () => resolve()));
	}

	/** @param localPort of this end; any free one when left out. @param localAddress of this end */
	static connect(port: number, host = "127.0.0.1", localPort?: number, localAddress?: string): Promise<RawClient> {
		return new Promise((resolve, reject) => {
			const socket = connect({ port, host, localPort, localAddress });
			socket.once("error", reject);
			socket.once("connect", () => resolve(new RawClient(socket)));
		});
	}

	#arrived(data: Buffer): void {
		this.#received.push(data);
		this.#length += data.length;
		for (;;) {
			if (this.#length < 4) return;
			if (this.#received[0].length < 4) this.#received = [Buffer.concat(this.#received)];
			const length = this.#received[0].readUInt32BE(0) - 0x8000_0000;
			if (this.#length < 4 + length) return;
			const all = Buffer.concat(this.#received);
			this.#received = [all.subarray(4 + length)];
			this.#length -= 4 + length;
			const record = all.subarray(4, 4 + length);
			const waiting = this.#waiting.shift();
			if (waiting) waiting(record);
			else this.records.push(record);
		}
	}

	/** The next record, whichever call it answers. */
	next(): Promise<Buffer> {
		const record = this.records.shift();
		return record ? Promise.resolve(record) : new Promise((resolve) => this.#waiting.push(resolve));
	}

	send(bytes: Buffer): void {
		this.socket.write(bytes);
	}

	/** One call at a time; rejects when the connection closes first. */
	async call(program: number, version: number, procedure: number, args: Buffer, o: CallOptions = {}): Promise<Reply> {
		const options = { xid: this.#xid++, ...o };
		this.send(mark(encodeCall(program, version, procedure, args, options), options.fragments));
		const closed = this.closed.then(() => {
			throw new Error("connection closed");
		});
		closed.catch(() => {});
		return decodeReply(await Promise.race([this.next(), closed]));
	}

	close(): void {
		this.socket.destroy();
	}
}
