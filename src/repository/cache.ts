/**
 * The decoded-block cache that a process shares between all disks of all its repositories. Blocks are keyed by identity, so
 * VMs with the same content share memory. Memory is a few slabs cut into slots of one block size; the budget is the sum of the slabs,
 * and lent (pinned) or loading slots are part of it.
 */
import type { BlockCacheLike } from "./contract.js";
import { SlotPool } from "./slot-pool.js";

const SLAB_BYTES = 64 * 1024 * 1024;

export interface CacheStats {
	/** bytes of slabs allocated; never above the budget */
	allocatedBytes: number;
	/** bytes of slots that are lent or being filled */
	pinnedBytes: number;
	hits: number;
	misses: number;
}

export class BlockCache implements BlockCacheLike {
	readonly #pools = new Map<number, SlotPool>();
	#allocated = 0;

	constructor(readonly budgetBytes: number) {}

	/** The pool for a block size; made at its first use. */
	pool(slotBytes: number): SlotPool {
		let pool = this.#pools.get(slotBytes);
		if (pool === undefined) {
			const slab = Math.max(slotBytes, Math.min(SLAB_BYTES, floorPower(this.budgetBytes / 4)));
			const slabs = Math.max(1, Math.floor(this.budgetBytes / slab));
			const made: SlotPool = new SlotPool(slotBytes, slab, slabs, (bytes) => this.#slab(made, bytes));
			pool = made;
			this.#pools.set(slotBytes, pool);
		}
		return pool;
	}

	/** Memory for a slab. A block size that has none yet takes one from another when the budget is used up. */
	#slab(requester: SlotPool, bytes: number): Buffer | undefined {
		if (this.#allocated + bytes > this.budgetBytes && requester.slabs === 0) {
			for (const pool of this.#pools.values()) {
				if (pool === requester || this.#allocated + bytes <= this.budgetBytes) continue;
				const slab = pool.dropSlab();
				// Handed on as it is where it fits: what is let go stays in memory until it is collected.
				if (slab?.length === bytes) return slab;
				this.#allocated -= slab?.length ?? 0;
			}
		}
		if (this.#allocated + bytes > this.budgetBytes) return undefined;
		this.#allocated += bytes;
		// Shared memory is not counted by the garbage collector, which would run once for every slab.
		return Buffer.from(new SharedArrayBuffer(bytes));
	}

	stats(): CacheStats {
		const stats: CacheStats = { allocatedBytes: this.#allocated, pinnedBytes: 0, hits: 0, misses: 0 };
		for (const pool of this.#pools.values()) {
			stats.pinnedBytes += pool.pinnedSlots * pool.slotBytes;
			stats.hits += pool.hits;
			stats.misses += pool.misses;
		}
		return stats;
	}
}

const floorPower = (bytes: number): number => 2 ** Math.floor(Math.log2(Math.max(1, bytes)));

/** Creates the cache of a process. `budgetBytes` (at least 1 MiB) bounds its slabs. */
export const createBlockCache = (budgetBytes: number): BlockCache => {
	if (!(budgetBytes >= 1024 * 1024))
		throw new RangeError(`block cache of ${budgetBytes} bytes: give it at least 1 MiB`);
	return new BlockCache(budgetBytes);
};
