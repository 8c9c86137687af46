/**
 * The transmission phase: requests pipelined on one connection, replies matched by cookie and written straight
 * into the caller's buffers. Understands simple and structured replies ("Transmission phase").
 */
import { ImageError } from "../../image/image.js";
import { CHUNK_DONE, Chunk, Command, REQUEST_MAGIC, SIMPLE_REPLY_MAGIC, STRUCTURED_REPLY_MAGIC } from "../protocol.js";
import { serverError } from "./server-error.js";
import type { Wire } from "./wire.js";

export interface Request {
	command: number;
	flags?: number;
	offset: number;
	length: number;
	/** WRITE: the bytes */
	payload?: Buffer;
	/** READ: where they go; `length` bytes */
	target?: Buffer;
	/** BLOCK_STATUS: called with each chunk's context id and its descriptors (length and flags, 8 bytes each) */
	status?: (context: number, descriptors: Buffer) => void;
}

interface Pending extends Request {
	resolve: () => void;
	reject: (error: ImageError) => void;
	/** READ: bytes that have arrived */
	received: number;
	failure?: ImageError;
}

export interface TransmissionOptions {
	/** names the export in errors */
	name: string;
	structured: boolean;
	/** requests in flight at most; more wait here */
	inFlight: number;
	/** ms of silence with requests in flight after which the connection counts as lost */
	silenceMs: number;
}

/** A block status reply may list many extents, but not without end. */
const MAX_STATUS_BYTES = 16 * 1024 * 1024;
const MAX_ERROR_BYTES = 64 * 1024;

export class Transmission {
	private readonly pending = new Map<number, Pending>();
	private readonly queue: Pending[] = [];
	private nextCookie = 1;
	private ended: { why: string; closed: boolean } | undefined;
	private lastHeard = 0;
	private watch: NodeJS.Timeout | undefined;

	// Reply parser: collects `want` bytes into `head`, then calls `step`; or copies `directLeft` bytes to `direct`.
	private head = Buffer.alloc(64);
	private have = 0;
	private want = 4;
	private step: () => void = () => this.onMagic();
	private direct: Buffer | undefined;
	private directAt = 0;
	private current: Pending | undefined;
	private currentCookie = 0;
	private chunk = { flags: 0, type: 0, length: 0 };

	constructor(
		private readonly wire: Wire,
		private readonly options: TransmissionOptions,
	) {
		wire.onBytes = (bytes) => this.receive(bytes);
		wire.onEnd = (why) => this.lost(why);
	}

	/** Resolves when the server has done it; rejects with ImageError. `target` is not touched after that. */
	submit(request: Request): Promise<void> {
		return new Promise((resolve, reject) => {
			const pending: Pending = { ...request, resolve, reject, received: 0 };
			if (this.ended) return reject(this.lostError(pending));
			if (this.pending.size >= this.options.inFlight) this.queue.push(pending);
			else this.send(pending);
		});
	}

	/** NBD_CMD_DISC; requests still in flight fail with ECLOSED. */
	close(): void {
		if (this.ended) return;
		this.ended = { why: "the image is closed", closed: true };
		this.wire.finish(header(Command.DISCONNECT, 0, 0, 0, 0));
	}

	private send(pending: Pending): void {
		let cookie = this.nextCookie;
		while (this.pending.has(cookie)) cookie = (cookie + 1) >>> 0;
		this.nextCookie = (cookie + 1) >>> 0;
		if (this.pending.size === 0) this.startWatch();
		this.pending.set(cookie, pending);
		const { command, flags = 0, offset, length, payload } = pending;
		const head = header(command, flags, cookie, offset, length);
		if (payload) this.wire.send(head, payload);
		else this.wire.send(head);
	}

	private startWatch(): void {
		this.lastHeard = performance.now();
		this.watch ??= setInterval(
			() => {
				const silence = performance.now() - this.lastHeard;
				if (this.pending.size === 0) {
					clearInterval(this.watch);
					this.watch = undefined;
				} else if (silence > this.options.silenceMs)
					this.wire.end(`no answer for ${Math.round(this.options.silenceMs / 1000)} s`);
			},
			Math.min(1000, this.options.silenceMs),
		).unref();
	}

	private lost(why: string): void {
		clearInterval(this.watch);
		this.ended ??= { why: `connection lost: ${why}`, closed: false };
		const all = [...this.pending.values(), ...this.queue];
		this.pending.clear();
		this.queue.length = 0;
		this.direct = undefined;
		for (const pending of all) pending.reject(this.lostError(pending));
	}

	private lostError(request: Request): ImageError {
		const { why, closed } = this.ended!;
		return new ImageError(closed ? "ECLOSED" : "EIO", `${this.options.name}: ${why}`, request.offset, request.length);
	}

	private receive(bytes: Buffer): void {
		this.lastHeard = performance.now();
		try {
			for (let at = 0; at < bytes.length && !this.ended; ) {
				if (this.direct) {
					const count = Math.min(bytes.length - at, this.direct.length - this.directAt);
					bytes.copy(this.direct, this.directAt, at, at + count);
					this.directAt += count;
					at += count;
					if (this.directAt === this.direct.length) this.onDirectDone();
				} else {
					const count = Math.min(bytes.length - at, this.want - this.have);
					bytes.copy(this.head, this.have, at, at + count);
					this.have += count;
					at += count;
					if (this.have === this.want) this.step();
				}
			}
		} catch (error) {
			// The stream is out of step: nothing that follows can be trusted.
			this.wire.end(`protocol error: ${(error as Error).message}`);
		}
	}

	private collect(total: number, step: () => void): void {
		if (total > this.head.length) {
			const larger = Buffer.allocUnsafe(total);
			this.head.copy(larger, 0, 0, this.have);
			this.head = larger;
		}
		this.want = total;
		this.step = step;
		// Nothing more to come (an empty chunk): go on at once.
		if (this.have >= total) step();
	}

	private restart(): void {
		if (this.head.length > MAX_ERROR_BYTES) this.head = Buffer.alloc(64);
		this.have = 0;
		this.want = 4;
		this.step = () => this.onMagic();
		this.current = undefined;
	}

	private onMagic(): void {
		const magic = this.head.readUInt32BE(0);
		if (magic === SIMPLE_REPLY_MAGIC) this.collect(16, () => this.onSimple());
		else if (magic === STRUCTURED_REPLY_MAGIC && this.options.structured) this.collect(20, () => this.onChunk());
		else throw new Error(`unknown reply magic 0x${magic.toString(16)}`);
	}

	private find(cookie: bigint): Pending {
		const pending = this.pending.get(Number(cookie));
		if (!pending) throw new Error(`answer to a request that was not made (${cookie})`);
		this.current = pending;
		this.currentCookie = Number(cookie);
		return pending;
	}

	private onSimple(): void {
		const error = this.head.readUInt32BE(4);
		const pending = this.find(this.head.readBigUInt64BE(8));
		this.chunk.flags = CHUNK_DONE;
		if (error !== 0) pending.failure = serverError(this.options.name, pending, error, "");
		else if (pending.command === Command.READ) {
			if (this.options.structured) throw new Error("simple reply to a read although structured replies are on");
			this.startDirect(0, pending.length);
			return;
		}
		this.endChunk();
	}

	private onChunk(): void {
		const flags = this.head.readUInt16BE(4);
		const type = this.head.readUInt16BE(6);
		const length = this.head.readUInt32BE(16);
		const pending = this.find(this.head.readBigUInt64BE(8));
		this.chunk = { flags, type, length };
		const isRead = pending.command === Command.READ;
		if (type === Chunk.NONE && length === 0) this.endChunk();
		else if (type === Chunk.OFFSET_DATA && isRead && length > 8) this.collect(28, () => this.onOffsetData());
		else if (type === Chunk.OFFSET_HOLE && isRead && length === 12) this.collect(32, () => this.onOffsetHole());
		else if (type === Chunk.BLOCK_STATUS && pending.status && length >= 12 && length <= MAX_STATUS_BYTES)
			this.collect(20 + length, () => this.onStatus());
		else if ((type & Chunk.ERROR_BIT) !== 0 && length >= 6 && length <= MAX_ERROR_BYTES)
			this.collect(20 + length, () => this.onError());
		else throw new Error(`unexpected reply chunk: type ${type}, ${length} bytes`);
	}

	private onOffsetData(): void {
		const pending = this.current!;
		this.startDirect(Number(this.head.readBigUInt64BE(20)) - pending.offset, this.chunk.length - 8);
	}

	private onOffsetHole(): void {
		const pending = this.current!;
		const at = Number(this.head.readBigUInt64BE(20)) - pending.offset;
		const length = this.head.readUInt32BE(28);
		this.claim(pending, at, length);
		pending.target!.fill(0, at, at + length);
		this.endChunk();
	}

	private startDirect(at: number, length: number): void {
		const pending = this.current!;
		this.claim(pending, at, length);
		if (length === 0) {
			this.endChunk();
			return;
		}
		this.direct = pending.target!.subarray(at, at + length);
		this.directAt = 0;
	}

	private claim(pending: Pending, at: number, length: number): void {
		if (at < 0 || at + length > pending.length) throw new Error("read data outside of what was asked");
		pending.received += length;
		if (pending.received > pending.length) throw new Error("more read data than was asked");
	}

	private onDirectDone(): void {
		this.direct = undefined;
		this.endChunk();
	}

	private onStatus(): void {
		const length = this.chunk.length;
		if ((length - 4) % 8 !== 0) throw new Error("malformed block status");
		this.current!.status!(this.head.readUInt32BE(20), this.head.subarray(24, 20 + length));
		this.endChunk();
	}

	private onError(): void {
		const pending = this.current!;
		const error = this.head.readUInt32BE(20);
		const words = this.head.subarray(26, 26 + Math.min(this.head.readUInt16BE(24), this.chunk.length - 6));
		pending.failure ??= serverError(this.options.name, pending, error || 5, words.toString("utf8"));
		this.endChunk();
	}

	/** One reply or chunk is complete; settles its request when it was the last. */
	private endChunk(): void {
		const pending = this.current!;
		const cookie = this.currentCookie;
		const done = (this.chunk.flags & CHUNK_DONE) !== 0;
		this.restart();
		if (!done) return;
		if (!pending.failure && pending.command === Command.READ && pending.received !== pending.length)
			throw new Error("a read was answered incompletely");
		this.pending.delete(cookie);
		const next = this.queue.shift();
		if (next) this.send(next);
		if (pending.failure) pending.reject(pending.failure);
		else pending.resolve();
	}
}

function header(command: number, flags: number, cookie: number, offset: number, length: number): Buffer {
	const bytes = Buffer.allocUnsafe(28);
	bytes.writeUInt32BE(REQUEST_MAGIC, 0);
	bytes.writeUInt16BE(flags, 4);
	bytes.writeUInt16BE(command, 6);
	bytes.writeBigUInt64BE(BigInt(cookie), 8);
	bytes.writeBigUInt64BE(BigInt(offset), 16);
	bytes.writeUInt32BE(length, 24);
	return bytes;
}
