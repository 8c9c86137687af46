/**
 * Where a socket reads into: records are parsed where they land. A record that does not fit in what is left of a
 * slab moves once, to a slab that holds all of it, so a 1 MiB WRITE is copied at most by its first piece.
 */
import { type Slab, type SlabPool, SMALL_SLAB } from "../../net/slabs.js";
import { XdrReader } from "../xdr/reader.js";
import { LAST_FRAGMENT } from "./protocol.js";

/** Reads into less room than this are not worth the system call. */
const MIN_ROOM = 16 * 1024;
const MAX_FRAGMENTS = 4096;
/** Records from `LONG` up to a SMALL_SLAB get a slab that holds several: where it ends, a part of one has to move. */
const LONG = SMALL_SLAB / 4;
const LONG_SLAB = 4 * SMALL_SLAB;

/** Bytes of a slab for records of this length. */
const slabFor = (length: number): number => (length >= LONG && length <= SMALL_SLAB ? LONG_SLAB : length + MIN_ROOM);

/** What the peer sent cannot be a record stream that we take. */
export class FramingError extends Error {
	override readonly name = "FramingError";
}

export class ReceiveBuffer {
	readonly #pool: SlabPool;
	readonly #maxRecord: number;
	#slab: Slab;
	/** unparsed bytes are start..end */
	#start = 0;
	#end = 0;
	/** largest record seen in this slab: the next one is chosen for it */
	#largest = 0;
	/** earlier fragments of an unfinished record */
	#parts: Slab | undefined;
	#partsLength = 0;
	#fragments = 0;
	/** `#parts` is the record read last */
	#complete = false;
	readonly #reader = new XdrReader();
	/** holds the arguments of the record read last */
	current: Slab;

	constructor(pool: SlabPool, maxRecord: number) {
		this.#pool = pool;
		this.#maxRecord = maxRecord;
		this.#slab = pool.take(SMALL_SLAB);
		this.current = this.#slab;
	}

	/** `length` bytes have arrived in the room given last. */
	arrived(length: number): void {
		this.#end += length;
	}

	/** A record has begun and is not complete. */
	get unfinished(): boolean {
		return this.#end > this.#start || this.#parts !== undefined;
	}

	/** The next complete record, or undefined. Throws FramingError. The reader is valid until the next call. */
	next(): XdrReader | undefined {
		this.#dropParts();
		for (;;) {
			const available = this.#end - this.#start;
			if (available < 4) return undefined;
			const mark = this.#slab.view.getUint32(this.#start);
			const length = mark >= LAST_FRAGMENT ? mark - LAST_FRAGMENT : mark;
			if (length + this.#partsLength > this.#maxRecord) {
				throw new FramingError(`record of ${length + this.#partsLength} bytes, the limit is ${this.#maxRecord}`);
			}
			if (length > this.#largest) this.#largest = length;
			if (available < 4 + length) return undefined;
			const at = this.#start + 4;
			this.#start = at + length;
			const last = mark >= LAST_FRAGMENT;
			if (last && this.#parts === undefined) {
				this.current = this.#slab;
				return this.#reader.attach(this.#slab.buffer, this.#slab.view, at, at + length);
			}
			this.#append(at, length);
			if (!last) continue;
			this.current = this.#parts!;
			const reader = this.#reader.attach(this.#parts!.buffer, this.#parts!.view, 0, this.#partsLength);
			this.#complete = true;
			return reader;
		}
	}

	/** The record made of fragments has been handled. */
	#dropParts(): void {
		if (!this.#complete) return;
		this.#complete = false;
		this.#parts?.drop();
		this.#parts = undefined;
		this.#partsLength = 0;
		this.#fragments = 0;
		this.current = this.#slab;
	}

	#append(at: number, length: number): void {
		if (++this.#fragments > MAX_FRAGMENTS) throw new FramingError(`record of more than ${MAX_FRAGMENTS} fragments`);
		const needed = this.#partsLength + length;
		if (this.#parts === undefined || this.#parts.buffer.length < needed) {
			const larger = this.#pool.take(needed);
			this.#parts?.buffer.copy(larger.buffer, 0, 0, this.#partsLength);
			this.#parts?.drop();
			this.#parts = larger;
		}
		this.#slab.buffer.copy(this.#parts.buffer, this.#partsLength, at, at + length);
		this.#partsLength = needed;
	}

	/** Room for the next read: never empty. Moves the unparsed bytes when they cannot be completed where they are. */
	room(): Buffer {
		const slab = this.#slab;
		const unparsed = this.#end - this.#start;
		let wanted = unparsed + MIN_ROOM;
		/** bytes of the unfinished record, when they are many */
		let large = 0;
		if (unparsed >= 4) {
			const mark = slab.view.getUint32(this.#start);
			const length = mark >= LAST_FRAGMENT ? mark - LAST_FRAGMENT : mark;
			if (4 + length > wanted && length <= this.#maxRecord) {
				wanted = 4 + length + MIN_ROOM;
				large = length;
			}
		}
		if (unparsed === 0 && slab.holders === 1) {
			if (slabFor(this.#largest) <= SMALL_SLAB && slab.buffer.length > SMALL_SLAB) this.#replace(SMALL_SLAB);
			else {
				this.#start = 0;
				this.#end = 0;
			}
			this.#largest = 0;
		} else if (slab.buffer.length - this.#start < wanted || slab.buffer.length - this.#end < MIN_ROOM) {
			this.#replace(Math.max(wanted, slabFor(this.#largest)));
			this.#largest = 0;
		}
		// Not much beyond a large record that has no room for another behind it, or most of that one would have to move.
		const { buffer } = this.#slab;
		const last = this.#start + wanted;
		return buffer.subarray(this.#end, large > 0 && buffer.length - last < large ? last : undefined);
	}

	#replace(size: number): void {
		const old = this.#slab;
		const next = this.#pool.take(size);
		old.buffer.copy(next.buffer, 0, this.#start, this.#end);
		this.#end -= this.#start;
		this.#start = 0;
		this.#slab = next;
		this.current = next;
		old.drop();
	}

	/** Gives the slabs back; requests in flight keep theirs. */
	close(): void {
		this.#slab.drop();
		this.#parts?.drop();
		this.#parts = undefined;
	}
}
