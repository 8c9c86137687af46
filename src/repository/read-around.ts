/**
 * Whether a miss should bring its neighbours along. Guests come back to the neighbourhood of what they read (files,
 * directories, their own read-ahead), so the first touch of a place is paid once per group of blocks; but scattered
 * reads would pay for blocks that nobody wants, so the use of what was fetched decides.
 */
import type { SlotPool } from "./slot-pool.js";

/** A group is this many bytes, aligned. */
const GROUP_BYTES = 256 * 1024;
/** Blocks fetched so long ago are judged: used or not. */
const JUDGED_AFTER = 64;
/** Below this share of used blocks it stops, but for a try every so many misses. */
const WORTHWHILE = 0.3;
const TRY_EVERY = 16;
/** With more fills than this under way there is no idle thread to do it. */
const BUSY_FILLS = 4;

export class ReadAround {
	/** blocks of a group; 1: blocks are large enough by themselves */
	readonly group: number;
	readonly #pool: SlotPool;
	readonly #slots = new Int32Array(JUDGED_AFTER).fill(-1);
	readonly #generations = new Uint32Array(JUDGED_AFTER);
	#next = 0;
	/** share of judged blocks that were used, the newest weighing most */
	#used = 1;
	#misses = 0;

	constructor(blockSize: number, pool: SlotPool) {
		this.group = Math.max(1, Math.floor(GROUP_BYTES / blockSize));
		this.#pool = pool;
	}

	/** Asked at each miss; `busy`: fills that others have under way. */
	worthwhile(busy: number): boolean {
		if (this.group === 1 || busy > BUSY_FILLS) return false;
		this.#misses += 1;
		return this.#used >= WORTHWHILE || this.#misses % TRY_EVERY === 0;
	}

	/** A slot is being filled because of it. */
	fetched(slot: number): void {
		const at = this.#next++ % JUDGED_AFTER;
		const old = this.#slots[at];
		if (old >= 0) {
			const used = this.#pool.generation[old] === this.#generations[at] && this.#pool.isUsed(old);
			this.#used += ((used ? 1 : 0) - this.#used) / 16;
		}
		this.#slots[at] = slot;
		this.#generations[at] = this.#pool.generation[slot];
	}
}
