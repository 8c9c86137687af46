/**
 * Slots of one size in the block cache, with scan-resistant eviction (S3-FIFO: Yang et al., SOSP 2023). New blocks
 * enter a small queue and move to the main queue only when they are used again, so reading a whole disk once does not
 * push out what is used often. All metadata is in typed arrays; a hit allocates nothing.
 *
 * A slot is pinned while it is filled or lent, and a pinned slot is never evicted. Its generation changes whenever its content
 * does, which lets disks keep hints without telling anybody.
 */
import { IDENTITY_BYTES, sameIdentity } from "./layout.js";
import { SlotQueue } from "./slot-queue.js";

/** A fill takes milliseconds. */
const STUCK_MS = 100;

enum State {
	absent = 0,
	free = 1,
	filling = 2,
	ready = 3,
}

export class SlotPool {
	readonly capacity: number;
	readonly #perSlab: number;
	readonly #slabShift: number;
	readonly #slabs: (Buffer | undefined)[];
	readonly #allocate: (bytes: number) => Buffer | undefined;
	/** changes whenever a slot's content does */
	readonly generation: Uint32Array;
	readonly #pins: Uint32Array;
	readonly #state: Uint8Array;
	readonly #uses: Uint8Array;
	readonly #identities: Buffer;
	readonly #table: Int32Array;
	readonly #tableMask: number;
	readonly #ghosts: Uint32Array;
	readonly #small: SlotQueue;
	readonly #main: SlotQueue;
	readonly #free: number[] = [];
	/** when the filling of a slot began, ms of performance.now() */
	readonly #since: Float64Array;
	/** slots being filled that no block is found by any more: free once they are unpinned */
	readonly #disowned = new Set<number>();
	/** slabs that have memory */
	slabs = 0;
	pinnedSlots = 0;
	hits = 0;
	misses = 0;

	/** `allocate` gives memory for a slab or refuses. */
	constructor(
		readonly slotBytes: number,
		slabBytes: number,
		maxSlabs: number,
		allocate: (bytes: number) => Buffer | undefined,
	) {
		this.#perSlab = Math.max(1, slabBytes / slotBytes);
		this.#slabShift = Math.log2(this.#perSlab);
		this.#slabs = new Array(maxSlabs).fill(undefined);
		this.#allocate = allocate;
		this.capacity = maxSlabs * this.#perSlab;
		this.generation = new Uint32Array(this.capacity);
		this.#pins = new Uint32Array(this.capacity);
		this.#state = new Uint8Array(this.capacity);
		this.#uses = new Uint8Array(this.capacity);
		this.#since = new Float64Array(this.capacity);
		this.#identities = Buffer.alloc(this.capacity * IDENTITY_BYTES);
		const buckets = 2 ** Math.ceil(Math.log2(this.capacity * 2));
		this.#table = new Int32Array(buckets).fill(-1);
		this.#tableMask = buckets - 1;
		this.#ghosts = new Uint32Array(buckets);
		this.#small = new SlotQueue(this.capacity);
		this.#main = new SlotQueue(this.capacity);
	}

	/** The slot of a block, ready or being filled, or -1. */
	find(identity: Buffer, offset: number): number {
		let bucket = identity.readUInt32LE(offset) & this.#tableMask;
		for (;;) {
			const slot = this.#table[bucket];
			if (slot < 0) return -1;
			if (sameIdentity(this.#identities, slot * IDENTITY_BYTES, identity, offset)) return slot;
			bucket = (bucket + 1) & this.#tableMask;
		}
	}

	/** More of it is pinned than should be: those who can do without a pin should. */
	get crowded(): boolean {
		return this.pinnedSlots > this.capacity / 2;
	}

	isReady(slot: number): boolean {
		return this.#state[slot] === State.ready;
	}

	/** Whether anybody has wanted the content since it came. */
	isUsed(slot: number): boolean {
		return this.#uses[slot] > 0;
	}

	/**
	 * Takes a slot for a block that has none, pinned and filling; -1 when every slot is pinned. `fill` must end with `ready` or `fail`.
	 * `ahead`: nobody has asked for the block yet.
	 */
	take(identity: Buffer, offset: number, ahead: boolean): number {
		const slot = this.#freeSlot();
		if (slot < 0) return -1;
		identity.copy(this.#identities, slot * IDENTITY_BYTES, offset, offset + IDENTITY_BYTES);
		this.#insert(slot);
		this.#state[slot] = State.filling;
		this.#since[slot] = performance.now();
		this.#uses[slot] = ahead ? 0 : 1;
		this.#pins[slot] = 1;
		this.pinnedSlots += 1;
		if (!ahead) this.misses += 1;
		return slot;
	}

	/** It has been filled for so long that the disk behind it may hang. */
	isStuck(slot: number): boolean {
		return this.#state[slot] === State.filling && performance.now() - this.#since[slot] > STUCK_MS;
	}

	/** Lets a block that is being filled be taken anew, by somebody with another disk. The filler goes on as before. */
	disown(slot: number): void {
		this.#unlink(slot);
		this.#disowned.add(slot);
	}

	/** The bytes are there. The filler keeps its pin until it calls `unpin`. */
	ready(slot: number): void {
		this.#state[slot] = State.ready;
		if (this.#disowned.has(slot)) return;
		const ghost = this.#ghostBucket(slot);
		if (this.#ghosts[ghost] === this.#fingerprint(slot)) {
			this.#ghosts[ghost] = 0;
			this.#main.push(slot);
		} else {
			this.#small.push(slot);
		}
	}

	/** The bytes could not be had: gives the slot and the filler's pin back. */
	fail(slot: number): void {
		if (this.#disowned.has(slot)) {
			this.unpin(slot);
			return;
		}
		this.#remove(slot);
		this.unpin(slot);
		this.#free.push(slot);
	}

	pin(slot: number): void {
		if (this.#pins[slot]++ === 0) this.pinnedSlots += 1;
	}

	unpin(slot: number): void {
		if (--this.#pins[slot] > 0) return;
		this.pinnedSlots -= 1;
		if (this.#disowned.size === 0 || !this.#disowned.delete(slot)) return;
		this.generation[slot] += 1;
		this.#state[slot] = State.free;
		this.#free.push(slot);
	}

	/** Counts a use; callers do not count reads that continue within a block. */
	touch(slot: number): void {
		this.hits += 1;
		if (this.#uses[slot] < 3) this.#uses[slot] += 1;
	}

	slab(slot: number): Buffer {
		return this.#slabs[slot >> this.#slabShift]!;
	}

	/** Where the slot begins in its slab, bytes. */
	start(slot: number): number {
		return (slot & (this.#perSlab - 1)) * this.slotBytes;
	}

	#freeSlot(): number {
		const free = this.#free.pop();
		if (free !== undefined) return free;
		const missing = this.#slabs.indexOf(undefined);
		if (missing >= 0) {
			const slab = this.#allocate(this.#perSlab * this.slotBytes);
			if (slab !== undefined) return this.#addSlab(missing, slab);
		}
		return this.#evict();
	}

	#addSlab(number: number, slab: Buffer): number {
		this.#slabs[number] = slab;
		this.slabs += 1;
		const first = number * this.#perSlab;
		for (let slot = first + this.#perSlab - 1; slot > first; slot--) {
			this.#state[slot] = State.free;
			this.#free.push(slot);
		}
		this.#state[first] = State.free;
		return first;
	}

	#evict(): number {
		const smallTarget = Math.max(1, this.capacity / 10);
		// Pinned slots are passed over: each of the small queue once, each of the main queue while its uses are counted down.
		let smallLooks = this.#small.length;
		let mainLooks = 5 * this.capacity;
		while (smallLooks > 0 || mainLooks > 0) {
			const preferSmall = this.#small.length >= smallTarget || this.#main.length === 0 || mainLooks === 0;
			const fromSmall = smallLooks > 0 && preferSmall;
			if (fromSmall) smallLooks -= 1;
			else mainLooks -= 1;
			const queue = fromSmall ? this.#small : this.#main;
			const slot = queue.shift();
			if (slot < 0) mainLooks = 0;
			else if (this.#pins[slot] > 0) queue.push(slot);
			else if (fromSmall && this.#uses[slot] > 1) {
				this.#uses[slot] = 0;
				this.#main.push(slot);
			} else if (!fromSmall && this.#uses[slot] > 0) {
				this.#uses[slot] -= 1;
				queue.push(slot);
			} else {
				if (fromSmall) this.#ghosts[this.#ghostBucket(slot)] = this.#fingerprint(slot);
				this.#remove(slot);
				return slot;
			}
		}
		return -1;
	}

	#ghostBucket(slot: number): number {
		return this.#identities.readUInt32LE(slot * IDENTITY_BYTES + 4) & this.#tableMask;
	}

	#fingerprint(slot: number): number {
		return this.#identities.readUInt32LE(slot * IDENTITY_BYTES + 8);
	}

	#insert(slot: number): void {
		let bucket = this.#identities.readUInt32LE(slot * IDENTITY_BYTES) & this.#tableMask;
		while (this.#table[bucket] >= 0) bucket = (bucket + 1) & this.#tableMask;
		this.#table[bucket] = slot;
	}

	/** Forgets a slot's content. */
	#remove(slot: number): void {
		this.generation[slot] += 1;
		this.#state[slot] = State.free;
		this.#unlink(slot);
	}

	/** Takes a slot out of the table. */
	#unlink(slot: number): void {
		let bucket = this.#identities.readUInt32LE(slot * IDENTITY_BYTES) & this.#tableMask;
		while (this.#table[bucket] !== slot) bucket = (bucket + 1) & this.#tableMask;
		// Linear probing: close the gap by moving up entries that may not sit behind it.
		for (let next = (bucket + 1) & this.#tableMask; this.#table[next] >= 0; next = (next + 1) & this.#tableMask) {
			const home = this.#identities.readUInt32LE(this.#table[next] * IDENTITY_BYTES) & this.#tableMask;
			if (((next - home) & this.#tableMask) < ((next - bucket) & this.#tableMask)) continue;
			this.#table[bucket] = this.#table[next];
			bucket = next;
		}
		this.#table[bucket] = -1;
	}

	/** Gives back the memory of a slab none of whose slots is pinned; undefined when there is none. */
	dropSlab(): Buffer | undefined {
		for (let number = this.#slabs.length - 1; number >= 0; number--) {
			const slab = this.#slabs[number];
			if (slab === undefined) continue;
			const first = number * this.#perSlab;
			const last = first + this.#perSlab;
			if (this.#pins.subarray(first, last).some((pins) => pins > 0)) continue;
			const inside = (slot: number) => slot >= first && slot < last;
			for (let slot = first; slot < last; slot++) {
				if (this.#state[slot] === State.ready) this.#remove(slot);
				this.#state[slot] = State.absent;
			}
			this.#small.drop(inside);
			this.#main.drop(inside);
			this.#free.splice(0, this.#free.length, ...this.#free.filter((slot) => !inside(slot)));
			this.#slabs[number] = undefined;
			this.slabs -= 1;
			return slab;
		}
		return undefined;
	}
}
