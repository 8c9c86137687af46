/**
 * Whether a batch waits for company. Callers that were just answered usually ask again at once. If the next batch begins
 * without them, two halves take turns at the disk for ever, and each sync serves only one half. So where syncs are slow,
 * a batch that is to be synced gives them a small part of a sync's time to come back, and somewhat more while they come.
 */

/** Milliseconds: where a sync is faster than this, halves that take turns are as quick, and nobody waits. */
const SLOW_SYNC = 0.5;
/** Of a sync's time: how long a batch waits for the next one to come back, and how long in all. */
const SHARE = 0.25;
const SHARE_IN_ALL = 0.5;
/** Milliseconds that a batch waits at most, however slow the disk. */
const LONGEST = 4;
/** Batches that do not wait after one that waited in vain: one, and twice as many after each that follows, up to this. */
const LONGEST_PAUSE = 16;

export class Company {
	/** milliseconds that a sync takes, of late */
	#sync = 0;
	/** length of the queue when everybody is back, when the wait began, and at the last look */
	#all = 0;
	#first = 0;
	#last = 0;
	/** when the next one is not expected any more, and when nobody is */
	#until = 0;
	#end = 0;
	/** the time is over, but who came while the event loop was busy has not been seen yet */
	#late = false;
	#pause = 0;
	#nextPause = 1;

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
		this.#first = waiting;
		this.#last = waiting;
		this.#late = false;
		const now = this.now();
		this.#until = now + Math.min(LONGEST, SHARE * this.#sync);
		this.#end = now + Math.min(LONGEST, SHARE_IN_ALL * this.#sync);
	}

	/** True while the next batch, for which `waiting` wait, should let the event loop turn once more. */
	comes(waiting: number): boolean {
		if (this.#all === 0) return false;
		if (waiting >= this.#all) {
			this.#nextPause = 1;
			this.#all = 0;
			return false;
		}
		const now = this.now();
		if (waiting > this.#last) {
			this.#last = waiting;
			this.#until = Math.min(this.#end, Math.max(this.#until, now + (SHARE / 2) * this.#sync));
		}
		if (now < this.#until) return true;
		if (!this.#late) {
			this.#late = true;
			return true;
		}
		this.#giveUp(waiting);
		return false;
	}

	/** The wait was in vain if not even half of those who were expected came. */
	#giveUp(waiting: number): void {
		const vain = 2 * (waiting - this.#first) < this.#all - this.#first;
		this.#all = 0;
		if (!vain) {
			this.#nextPause = 1;
			return;
		}
		this.#pause = this.#nextPause;
		this.#nextPause = Math.min(LONGEST_PAUSE, 2 * this.#nextPause);
	}
}
