/**
 * Whether a batch waits for company. Callers that were just answered usually ask again at once. If the next batch begins
 * without them, two halves take turns at the disk for ever, and each sync serves only one half. So where syncs are slow,
 * a batch that is to be synced gives them a small part of a sync's time to come back.
 */

/** Milliseconds: where a sync is faster than this, halves that take turns are as quick, and nobody waits. */
const SLOW_SYNC = 0.5;
/** Most of a sync's time that a batch waits. */
const SHARE = 0.25;
/** Milliseconds that a batch waits at most, however slow the disk. */
const LONGEST = 4;
/** Batches that do not wait after one that waited in vain. */
const PAUSE = 16;

export class Company {
	/** milliseconds that a sync takes, of late */
	#sync = 0;
	/** length of the queue when everybody is back */
	#all = 0;
	/** when nobody is expected any more */
	#until = 0;
	#pause = 0;

	/** `now`: milliseconds of a clock that never goes back */
	constructor(readonly now: () => number = () => performance.now()) {}

	/** A write with its sync took so long. */
	synced(milliseconds: number): void {
		this.#sync += (milliseconds - this.#sync) / 8;
	}

	/** So many have just been told their results, and so many wait. */
	answered(count: number, waiting: number): void {
		this.#all = 0;
		if (this.#sync < SLOW_SYNC) return;
		if (this.#pause > 0) {
			this.#pause--;
			return;
		}
		this.#all = count + waiting;
		this.#until = this.now() + Math.min(LONGEST, SHARE * this.#sync);
	}

	/** True while the next batch, for which `waiting` wait, should let the event loop turn once more. */
	comes(waiting: number): boolean {
		if (waiting >= this.#all) return false;
		if (this.now() < this.#until) return true;
		if (waiting < this.#all / 2) this.#pause = PAUSE;
		this.#all = 0;
		return false;
	}
}
