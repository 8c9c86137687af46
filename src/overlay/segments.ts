/**
 * The segments of `log`: which are planned, live or free, and their live bytes. What blocks they have is in blocks.ts.
 */
import type { Blocks } from "./blocks.js";
import { planLength, SPARE_SEGMENTS, SPARE_SHARE } from "./geometry.js";

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
	/** dead segments and the checkpoint since which they are */
	readonly #dead = new Map<number, number>();
	/** free ones on their way back to the file system */
	readonly #returning = new Set<number>();
	#returned: Promise<void> | undefined;

	constructor(readonly blocks: Blocks) {}

	/** bytes of one */
	get bytes(): number {
		return this.blocks.bytes;
	}

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
			this.blocks.examine(segment);
		}
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
			const better = Number(this.blocks.has(segment)) - Number(best !== undefined && this.blocks.has(best));
			if (best === undefined || better > 0 || (better === 0 && segment < best)) best = segment;
		}
		if (best === undefined) return this.total++;
		this.#free.delete(best);
		return best;
	}

	/** True while segments that nobody needs yet keep blocks. */
	get hoards(): boolean {
		for (const segment of this.#free) if (this.blocks.has(segment)) return true;
		return this.plan.some((segment) => this.blocks.has(segment) && this.#waits(segment));
	}

	/** Ends background work. */
	async settle(): Promise<void> {
		await this.blocks.settle();
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
			this.blocks.examine(segment);
		}
		const share = Math.floor((this.used - planned.size) * SPARE_SHARE);
		this.#chooseSpares(thirsty ? 0 : Math.max(SPARE_SEGMENTS, share), thirsty);
	}

	#chooseSpares(keep: number, thirsty: boolean): void {
		let spare = 0;
		for (const segment of [...this.#free].sort((x, y) => x - y)) {
			if (!this.blocks.has(segment) || ++spare <= keep) continue;
			this.#free.delete(segment);
			this.#returning.add(segment);
		}
		this.#returned ??= this.#giveBack(thirsty).finally(() => {
			this.#returned = undefined;
		});
	}

	/** One at a time: a file system may take milliseconds for each, and the log wants to write meanwhile. */
	async #giveBack(thirsty: boolean): Promise<void> {
		for (const segment of this.#returning) {
			await this.blocks.punch(segment);
			this.#returning.delete(segment);
			this.#free.add(segment);
		}
		try {
			this.#cutTail();
		} catch (error) {
			this.blocks.onFailure(error);
		}
		for (const segment of thirsty ? this.plan : []) if (this.#waits(segment)) await this.blocks.punch(segment);
	}

	/** True for a planned segment that the log has not reached. */
	#waits(segment: number): boolean {
		return !this.blocks.isBusy(segment) && this.plan.indexOf(segment) > this.plan.indexOf(this.active);
	}

	/** Free segments without blocks at the end need not be part of the file. */
	#cutTail(): void {
		let last = this.total;
		while (last > 0 && this.#free.has(last - 1) && !this.blocks.has(last - 1)) this.#free.delete(--last);
		if (last === this.total) return;
		this.total = last;
		this.blocks.cut(last);
	}
}
