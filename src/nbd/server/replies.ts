/**
 * Encodes the replies of a batch back to back ("Simple reply message", "Structured reply chunk message"), with foreign
 * slices of read data between them, ready for one writev.
 */
import type { Chunk as Piece } from "../../net/adopt.js";
import { type Slab, type SlabPool, SMALL_SLAB } from "../../net/slabs.js";
import { CHUNK_DONE, Chunk, SIMPLE_REPLY_MAGIC, STRUCTURED_REPLY_MAGIC } from "../protocol.js";

export interface Batch {
	pieces: Piece[];
	bytes: number;
	/** To be called once the bytes have left, or never will. */
	release(): void;
}

export interface Releasable {
	release(): void;
}

/** What names a request in its reply: its cookie, in two halves. */
export interface Cookie {
	readonly high: number;
	readonly low: number;
}

const CHUNK_HEADER = 20;
/** the longest reply that is all header: an error with its words */
const WORDS_MAX = 200;
const DWORD = 2 ** 32;

export class Replies {
	/** replies that end in this batch */
	count = 0;
	bytes = 0;
	readonly #pool: SlabPool;
	#slab: Slab | undefined;
	#slabs: Slab[] = [];
	#at = 0;
	#runStart = 0;
	#pieces: Piece[] = [];
	#owners: Releasable[] = [];

	constructor(pool: SlabPool) {
		this.#pool = pool;
	}

	/** A simple reply; `data` follows for a read without structured replies. */
	simple(cookie: Cookie, error: number): void {
		const at = this.#room(16);
		const { view } = this.#slab!;
		view.setUint32(at, SIMPLE_REPLY_MAGIC);
		view.setUint32(at + 4, error);
		view.setUint32(at + 8, cookie.high);
		view.setUint32(at + 12, cookie.low);
		this.count++;
	}

	/** NBD_REPLY_TYPE_OFFSET_DATA: `length` bytes are gathered next. */
	offsetData(cookie: Cookie, offset: number, length: number, done: boolean): void {
		const at = this.#chunk(cookie, Chunk.OFFSET_DATA, 8, 8 + length, done);
		this.#offset(at, offset);
	}

	/** NBD_REPLY_TYPE_OFFSET_HOLE */
	offsetHole(cookie: Cookie, offset: number, length: number, done: boolean): void {
		const at = this.#chunk(cookie, Chunk.OFFSET_HOLE, 12, 12, done);
		this.#offset(at, offset);
		this.#slab!.view.setUint32(at + 8, length);
	}

	/** NBD_REPLY_TYPE_ERROR; ends the reply. */
	error(cookie: Cookie, error: number, words: string): void {
		const text = Buffer.from(words, "utf8").subarray(0, WORDS_MAX);
		const at = this.#chunk(cookie, Chunk.ERROR, 6 + text.length, 6 + text.length, true);
		this.#slab!.view.setUint32(at, error);
		this.#slab!.view.setUint16(at + 4, text.length);
		this.#slab!.buffer.set(text, at + 6);
	}

	/** NBD_REPLY_TYPE_BLOCK_STATUS: `descriptors` are length and flags, 8 bytes each. */
	blockStatus(cookie: Cookie, context: number, descriptors: Buffer, done: boolean): void {
		const at = this.#chunk(cookie, Chunk.BLOCK_STATUS, 4, 4 + descriptors.length, done);
		this.#slab!.view.setUint32(at, context);
		this.gather(descriptors);
	}

	/** Appends bytes as they are; they must stay as they are until the batch is released. */
	gather(slice: Buffer): void {
		this.#closeRun();
		this.#pieces.push({ chunk: slice });
		this.bytes += slice.length;
	}

	/** Released with the batch. */
	own(owner: Releasable): void {
		this.#owners.push(owner);
	}

	/** Takes the batch so far; undefined when there is nothing. */
	take(): Batch | undefined {
		if (this.bytes === 0 && this.#owners.length === 0) return undefined;
		this.#closeRun();
		const slabs = this.#slabs;
		if (this.#slab !== undefined) slabs.push(this.#slab);
		const owners = this.#owners;
		const batch = {
			pieces: this.#pieces,
			bytes: this.bytes,
			release: () => {
				for (const slab of slabs) slab.drop();
				for (const owner of owners) owner.release();
			},
		};
		this.#slab = undefined;
		this.#slabs = [];
		this.#pieces = [];
		this.#owners = [];
		this.#at = 0;
		this.#runStart = 0;
		this.bytes = 0;
		this.count = 0;
		return batch;
	}

	/** Header of a chunk; returns where the `body` bytes of it that are written here go. */
	#chunk({ high, low }: Cookie, type: number, body: number, length: number, done: boolean): number {
		const at = this.#room(CHUNK_HEADER + body);
		const { view } = this.#slab!;
		view.setUint32(at, STRUCTURED_REPLY_MAGIC);
		view.setUint16(at + 4, done ? CHUNK_DONE : 0);
		view.setUint16(at + 6, type);
		view.setUint32(at + 8, high);
		view.setUint32(at + 12, low);
		view.setUint32(at + 16, length);
		if (done) this.count++;
		return at + CHUNK_HEADER;
	}

	#offset(at: number, offset: number): void {
		this.#slab!.view.setUint32(at, Math.floor(offset / DWORD));
		this.#slab!.view.setUint32(at + 4, offset % DWORD);
	}

	#room(length: number): number {
		if (this.#slab === undefined || this.#at + length > this.#slab.buffer.length) {
			if (this.#slab !== undefined) {
				this.#closeRun();
				this.#slabs.push(this.#slab);
			}
			this.#slab = this.#pool.take(SMALL_SLAB);
			this.#at = 0;
			this.#runStart = 0;
		}
		const at = this.#at;
		this.#at += length;
		this.bytes += length;
		return at;
	}

	#closeRun(): void {
		if (this.#at === this.#runStart) return;
		this.#pieces.push({ chunk: this.#slab!.buffer.subarray(this.#runStart, this.#at) });
		this.#runStart = this.#at;
	}
}
