/**
 * Where a connection reads into: requests are parsed and their data is written from where they land. What does not fit
 * in the rest of a slab moves once.
 */
import { type Slab, type SlabPool, SMALL_SLAB } from "../../net/slabs.js";

/** Reads into less room than this are not worth the system call. */
const MIN_ROOM = 16 * 1024;

export class Receive {
	readonly #pool: SlabPool;
	#slab: Slab;
	/** unparsed bytes are #start..#end */
	#start = 0;
	#end = 0;
	#closed = false;

	constructor(pool: SlabPool) {
		this.#pool = pool;
		this.#slab = pool.take(SMALL_SLAB);
	}

	/** bytes that have not been taken */
	get available(): number {
		return this.#end - this.#start;
	}

	/** holds what was taken last; `hold` it for as long as the bytes are needed */
	get slab(): Slab {
		return this.#slab;
	}

	/** Takes `length` bytes, which must be available, and returns where they begin in the slab. */
	take(length: number): number {
		const at = this.#start;
		this.#start = at + length;
		return at;
	}

	/** `length` bytes have arrived in the room given last. */
	arrived(length: number): void {
		this.#end += length;
	}

	/** Room for the next read: never empty. `need`: bytes that must come to lie in one piece, unparsed ones included. */
	room(need: number): Buffer {
		const unparsed = this.available;
		const size = this.#slab.buffer.length;
		const large = need > SMALL_SLAB - MIN_ROOM;
		if (unparsed === 0 && this.#slab.holders === 1 && (large ? need + MIN_ROOM <= size : size === SMALL_SLAB)) {
			this.#start = 0;
			this.#end = 0;
		} else if (
			size - this.#start < need ||
			size - this.#end < MIN_ROOM ||
			(unparsed === 0 && !large && size > SMALL_SLAB)
		)
			this.#replace(Math.max(need, unparsed) + MIN_ROOM);
		// Not much beyond a large one, or most of the next would have to move.
		return this.#slab.buffer.subarray(this.#end, large ? this.#start + need + MIN_ROOM : undefined);
	}

	#replace(size: number): void {
		const old = this.#slab;
		const next = this.#pool.take(size);
		old.buffer.copy(next.buffer, 0, this.#start, this.#end);
		this.#end -= this.#start;
		this.#start = 0;
		this.#slab = next;
		old.drop();
	}

	/** Gives the slab back; whoever holds it keeps it. */
	close(): void {
		if (this.#closed) return;
		this.#closed = true;
		this.#slab.drop();
	}
}
