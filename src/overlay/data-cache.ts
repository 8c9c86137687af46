/**
 * A bounded cache of log pages, so that what was just written or read comes from memory. One pool serves all sessions
 * of a process. Log positions never change their content until their segment is entered anew, so pages need no other
 * invalidation. A hit allocates nothing.
 */
import { PAGE } from "./geometry.js";

/** Batches and reads longer than this would only sweep the cache. */
export const CACHEABLE = 256 * 1024;
/** A batch with a write as long as this is not kept: who writes so much at a time reads so much at a time. */
const LONG_PART = 64 * 1024;
const SLAB_PAGES = 256;
/** Pages a log may have: 64 TiB. Keys of the pool are session × this + page. */
const LOG_PAGES = 2 ** 34;
const NOTHING = -1;

/** The slots: found by an open-addressing table, reused by second chance. */
export class PagePool {
	readonly #capacity: number;
	readonly #slabs: Buffer[] = [];
	/** key of each slot, or NOTHING */
	readonly #keys: Float64Array;
	readonly #hot: Uint8Array;
	readonly #table: Int32Array;
	readonly #mask: number;
	#used = 0;
	#hand = 0;
	#sessions = 0;

	constructor(budgetBytes: number) {
		this.#capacity = Math.max(16, Math.floor(budgetBytes / PAGE));
		this.#keys = new Float64Array(this.#capacity).fill(NOTHING);
		this.#hot = new Uint8Array(this.#capacity);
		const buckets = 2 ** Math.ceil(Math.log2(this.#capacity * 2));
		this.#table = new Int32Array(buckets).fill(NOTHING);
		this.#mask = buckets - 1;
	}

	/** The first key of a session that has not been here before. */
	session(): number {
		return this.#sessions++ * LOG_PAGES;
	}

	/** Where the page begins in `slab(slot)`, as a slot; −1: it is not here. */
	find(key: number): number {
		for (let bucket = this.#home(key); ; bucket = (bucket + 1) & this.#mask) {
			const slot = this.#table[bucket];
			if (slot < 0 || this.#keys[slot] === key) return slot;
		}
	}

	/** A slot for a page: its own, a new one, or that of a page not used lately. */
	take(key: number): number {
		const own = this.find(key);
		if (own >= 0) return own;
		let slot = this.#used;
		if (slot < this.#capacity) {
			if (slot % SLAB_PAGES === 0) {
				// Shared memory is not counted by the garbage collector, which would run once for every slab.
				this.#slabs.push(Buffer.from(new SharedArrayBuffer(Math.min(SLAB_PAGES, this.#capacity - slot) * PAGE)));
			}
			this.#used++;
		} else {
			for (; this.#hot[this.#hand] === 1; this.#turn()) this.#hot[this.#hand] = 0;
			slot = this.#hand;
			this.#turn();
			this.drop(slot);
		}
		this.#keys[slot] = key;
		let bucket = this.#home(key);
		while (this.#table[bucket] >= 0) bucket = (bucket + 1) & this.#mask;
		this.#table[bucket] = slot;
		return slot;
	}

	touch(slot: number): void {
		this.#hot[slot] = 1;
	}

	slab(slot: number): Buffer {
		return this.#slabs[Math.floor(slot / SLAB_PAGES)];
	}

	/** Forgets what a slot holds. */
	drop(slot: number): void {
		const key = this.#keys[slot];
		if (key === NOTHING) return;
		let bucket = this.#home(key);
		while (this.#table[bucket] !== slot) bucket = (bucket + 1) & this.#mask;
		this.#table[bucket] = NOTHING;
		this.#keys[slot] = NOTHING;
		this.#hot[slot] = 0;
		// Linear probing: close the gap by moving up entries that may not sit behind it.
		for (let next = (bucket + 1) & this.#mask; this.#table[next] >= 0; next = (next + 1) & this.#mask) {
			const home = this.#home(this.#keys[this.#table[next]]);
			if (((next - home) & this.#mask) < ((next - bucket) & this.#mask)) continue;
			this.#table[bucket] = this.#table[next];
			this.#table[next] = NOTHING;
			bucket = next;
		}
	}

	/** Forgets every page with a key in [first, end). */
	dropRange(first: number, end: number): void {
		if (end - first <= this.#used) {
			for (let key = first; key < end; key++) {
				const slot = this.find(key);
				if (slot >= 0) this.drop(slot);
			}
			return;
		}
		for (let slot = 0; slot < this.#used; slot++) {
			if (this.#keys[slot] >= first && this.#keys[slot] < end) this.drop(slot);
		}
	}

	#turn(): void {
		this.#hand = (this.#hand + 1) % this.#capacity;
	}

	#home(key: number): number {
		const high = Math.floor(key / LOG_PAGES);
		return (Math.imul(key % 0x1_0000_0000, 0x9e37_79b1) ^ Math.imul(high + 1, 0x85eb_ca6b)) & this.#mask;
	}
}

/** The pool as one session sees it. */
export class DataCache {
	readonly #pool: PagePool;
	readonly #base: number;

	constructor(pool: PagePool) {
		this.#pool = pool;
		this.#base = pool.session();
	}

	/** Keeps the content of a batch. `parts` as for `keep`. */
	written(position: number, parts: Uint8Array[]): void {
		if (!parts.some((part) => part.length >= LONG_PART)) this.keep(position, parts);
	}

	/** Keeps whole pages: `parts` lie back to back from `position`, a multiple of PAGE. */
	keep(position: number, parts: Uint8Array[]): void {
		let length = 0;
		for (const part of parts) length += part.length;
		if (length > CACHEABLE) return;
		let page = position / PAGE;
		let room = 0;
		let target: Buffer | undefined;
		let at = 0;
		for (const part of parts) {
			for (let from = 0; from < part.length; ) {
				if (room === 0) {
					const slot = this.#pool.take(this.#base + page++);
					target = this.#pool.slab(slot);
					at = (slot % SLAB_PAGES) * PAGE;
					room = PAGE;
				}
				const n = Math.min(room, part.length - from);
				target!.set(n === part.length ? part : part.subarray(from, from + n), at);
				at += n;
				room -= n;
				from += n;
			}
		}
	}

	/** Fills `target` from `position` if all of it is here. */
	read(position: number, target: Buffer): boolean {
		const first = Math.floor(position / PAGE);
		const last = Math.floor((position + target.length - 1) / PAGE);
		for (let page = first; page <= last; page++) if (this.#pool.find(this.#base + page) < 0) return false;
		let done = 0;
		for (let page = first; page <= last; page++) {
			const slot = this.#pool.find(this.#base + page);
			this.#pool.touch(slot);
			const from = position + done - page * PAGE;
			const n = Math.min(PAGE - from, target.length - done);
			const at = (slot % SLAB_PAGES) * PAGE + from;
			this.#pool.slab(slot).copy(target, done, at, at + n);
			done += n;
		}
		return true;
	}

	/** Forgets bytes [start, end) of the log. */
	forget(start: number, end: number): void {
		this.#pool.dropRange(this.#base + start / PAGE, this.#base + end / PAGE);
	}

	/** The session is closed. */
	clear(): void {
		this.#pool.dropRange(this.#base, this.#base + LOG_PAGES);
	}
}
