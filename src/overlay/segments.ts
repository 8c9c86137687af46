/**
 * The segments of `log`: which are planned, live or free, their live bytes, and their blocks. The next planned
 * segment is filled with zeros and synced in the background; a writer that is faster allocates it instead.
 */
import { type Lane, sys } from "../../native/index.js";
import { allocate, giveBack, ZERO_CHUNK } from "./allocate.js";
import { isNoSpace } from "./errors.js";
import { planLength, SPARE_SEGMENTS, SPARE_SHARE } from "./geometry.js";

interface Filling {
	segment: number;
	stop: boolean;
	done: Promise<void>;
}

export class Segments {
	/** segments in the file, free ones included */
	total = 0;
	/** live bytes per segment, as the tree of the newest checkpoint knows them */
	readonly live = new Map<number, number>();
	liveTotal = 0;
	/** in the order in which the log uses them */
	plan: number[] = [];
	/** the planned one that the log is in */
	active = 0;
	readonly #free = new Set<number>();
	/** those that have all their blocks */
	readonly #blocks = new Set<number>();
	/** those whose blocks were never written: the first write to each changes metadata */
	readonly #raw = new Set<number>();
	/** dead segments and the checkpoint since which they are */
	readonly #dead = new Map<number, number>();
	/** the last attempt to get blocks for a segment failed */
	starved = false;
	#filling: Filling | undefined;
	/**
	 * The segment prepared last. Between being asked for and being entered it is still only the next of the plan, but a
	 * checkpoint that ends in that moment must neither fill it with zeros nor punch it: the log is about to write there.
	 */
	#entering = -1;
	/** free ones on their way back to the file system */
	readonly #returning = new Set<number>();
	#returned: Promise<void> | undefined;
	#stopping = false;

	constructor(
		readonly fd: number,
		readonly bytes: number,
		readonly lane: Lane,
		/** a write or sync failed for another reason than space */
		readonly onFailure: (error: unknown) => void,
	) {}

	/** Segments that hold or may hold something. */
	get used(): number {
		return this.total - this.#free.size - this.#returning.size;
	}

	/** After loading `live`, `plan` and `total`: everything else is free. */
	start(): void {
		const planned = new Set(this.plan);
		for (let segment = 0; segment < this.total; segment++) {
			if (planned.has(segment) || this.live.has(segment)) continue;
			this.#free.add(segment);
			this.#examine(segment);
		}
	}

	/** What blocks a free segment has. Some that nobody knows of, left by an earlier process, are given back. */
	#examine(segment: number): void {
		const from = segment * this.bytes;
		if (sys.seekHole(this.fd, from) >= from + this.bytes) {
			this.#blocks.add(segment);
			this.#raw.delete(segment);
		} else if (!this.#blocks.has(segment)) giveBack(this.fd, from, this.bytes);
	}

	/** The plan from `active` on, extended by free segments to its full length, which are taken. */
	extend(active: number): number[] {
		const plan = this.plan.slice(this.plan.indexOf(active));
		while (plan.length < planLength(this.bytes)) plan.push(this.take());
		return plan;
	}

	/** Takes a free segment, one with blocks if there is any, or a new one. */
	take(): number {
		let best: number | undefined;
		for (const segment of this.#free) {
			const better = Number(this.#blocks.has(segment)) - Number(best !== undefined && this.#blocks.has(best));
			if (best === undefined || better > 0 || (better === 0 && segment < best)) best = segment;
		}
		if (best === undefined) return this.total++;
		this.#free.delete(best);
		return best;
	}

	/** Makes sure that a planned segment has its blocks. Throws ENOSPC. */
	async prepare(segment: number): Promise<void> {
		this.#entering = segment;
		if (this.#filling?.segment === segment) {
			this.#filling.stop = true;
			await this.#filling.done;
		}
		if (this.#blocks.has(segment)) return;
		this.starved = true;
		allocate(this.fd, segment * this.bytes, this.bytes);
		this.starved = false;
		this.#blocks.add(segment);
		this.#raw.add(segment);
	}

	/** True while segments that nobody needs yet keep blocks. */
	get hoards(): boolean {
		for (const segment of this.#free) if (this.#blocks.has(segment)) return true;
		return this.plan.some((segment) => this.#blocks.has(segment) && this.#waits(segment));
	}

	/** True when a write into it only changes data. */
	isFilled(segment: number): boolean {
		return this.#blocks.has(segment) && !this.#raw.has(segment);
	}

	/** Starts filling the planned segment with zeros unless its blocks have been written before. */
	fillAhead(segment: number): void {
		if (this.#filling || segment === this.#entering || this.isFilled(segment)) return;
		const filling: Filling = { segment, stop: false, done: Promise.resolve() };
		filling.done = this.#fill(filling).finally(() => {
			this.#filling = undefined;
		});
		this.#filling = filling;
	}

	async #fill(filling: Filling): Promise<void> {
		try {
			const start = filling.segment * this.bytes;
			for (let at = 0; at < this.bytes; at += ZERO_CHUNK.length) {
				if (filling.stop) return;
				const part = ZERO_CHUNK.subarray(0, Math.min(ZERO_CHUNK.length, this.bytes - at));
				await this.lane.write(this.fd, [part], start + at, false);
			}
			if (filling.stop) return;
			await this.lane.fdatasync(this.fd);
			this.#blocks.add(filling.segment);
			this.#raw.delete(filling.segment);
		} catch (error) {
			// No room now: the writer will meet it when it gets there. After a failed sync nothing is known of the log's own pages.
			if (!isNoSpace(error)) this.onFailure(error);
		}
	}

	/** Ends background work. */
	async settle(): Promise<void> {
		this.#stopping = true;
		if (this.#filling) this.#filling.stop = true;
		await this.#filling?.done;
		await this.#returned;
	}

	/** Applies a checkpoint's changes of live bytes. */
	account(changes: Map<number, number>): void {
		for (const [segment, change] of changes) {
			const live = (this.live.get(segment) ?? 0) + change;
			if (live > 0) this.live.set(segment, live);
			else this.live.delete(segment);
			this.liveTotal += change;
		}
	}

	/**
	 * Frees what nothing refers to. `oldest`: the oldest checkpoint that somebody still reads; `pinned`: live for
	 * another reason. Free segments beyond some spares give their blocks back to the file system; when `thirsty`, all
	 * do, and planned ones that the log has not reached.
	 */
	recycle(checkpoint: number, oldest: number, pinned: (segment: number) => boolean, thirsty: boolean): void {
		const planned = new Set(this.plan);
		for (let segment = 0; segment < this.total; segment++) {
			// One on its way back is not free until it has been punched: handed out before, it would be punched in use.
			if (this.#free.has(segment) || this.#returning.has(segment) || planned.has(segment)) continue;
			if (this.live.has(segment) || pinned(segment)) {
				this.#dead.delete(segment);
				continue;
			}
			const since = this.#dead.get(segment) ?? checkpoint;
			this.#dead.set(segment, since);
			if (oldest < since) continue;
			this.#dead.delete(segment);
			this.#free.add(segment);
			this.#examine(segment);
		}
		const share = Math.floor((this.used - planned.size) * SPARE_SHARE);
		this.#chooseSpares(thirsty ? 0 : Math.max(SPARE_SEGMENTS, share), thirsty);
	}

	#chooseSpares(keep: number, thirsty: boolean): void {
		let spare = 0;
		for (const segment of [...this.#free].sort((x, y) => x - y)) {
			if (!this.#blocks.has(segment) || ++spare <= keep) continue;
			this.#free.delete(segment);
			this.#returning.add(segment);
		}
		this.#returned ??= this.#giveBack(thirsty).finally(() => {
			this.#returned = undefined;
		});
	}

	/** One at a time, with pauses: a file system may take milliseconds for each. */
	async #giveBack(thirsty: boolean): Promise<void> {
		try {
			// Punching first writes out what is dirty, which is for a lane to wait for, not for the event loop.
			if (this.#returning.size > 0) await this.lane.fdatasync(this.fd);
			for (const segment of this.#returning) {
				await new Promise((resolve) => setImmediate(resolve));
				this.#punch(segment);
				this.#returning.delete(segment);
				this.#free.add(segment);
			}
			this.#cutTail();
			for (const segment of thirsty ? this.plan : []) {
				await new Promise((resolve) => setImmediate(resolve));
				if (this.#waits(segment)) this.#punch(segment);
			}
		} catch (error) {
			this.onFailure(error);
		}
	}

	#punch(segment: number): void {
		if (this.#stopping || !this.#blocks.has(segment)) return;
		giveBack(this.fd, segment * this.bytes, this.bytes);
		this.#blocks.delete(segment);
		this.#raw.delete(segment);
	}

	/** True for a planned segment that the log has not reached. */
	#waits(segment: number): boolean {
		if (segment === this.#entering) return false;
		return this.#filling?.segment !== segment && this.plan.indexOf(segment) > this.plan.indexOf(this.active);
	}

	/** Free segments without blocks at the end need not be part of the file. */
	#cutTail(): void {
		let last = this.total;
		while (last > 0 && this.#free.has(last - 1) && !this.#blocks.has(last - 1)) this.#free.delete(--last);
		if (last === this.total) return;
		this.total = last;
		sys.ftruncate(this.fd, last * this.bytes);
	}
}
