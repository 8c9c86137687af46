/**
 * Sorted, non-overlapping runs of one file's newest changes, in memory. Bounded by the checkpoint, so a flat
 * array with binary search is enough. `position` is where the bytes are in the log; ZEROS reads as zeros; HOLE hides what
 * the layers below hold of this file's content (after a truncation).
 */

export const ZEROS = 0;
export const HOLE = -1;

export interface Run {
	start: number;
	end: number;
	position: number;
	epoch: number;
}

const MERGE_MAX = 0x4000_0000;

export class Runs {
	readonly list: Run[] = [];

	/** Index of the first run that ends after `offset`. */
	from(offset: number): number {
		const { list } = this;
		let low = 0;
		let high = list.length;
		while (low < high) {
			const middle = (low + high) >>> 1;
			if (list[middle].end > offset) high = middle;
			else low = middle + 1;
		}
		return low;
	}

	/** Copies of what covers parts of [start, end), clipped to it. */
	within(start: number, end: number): Run[] {
		const found: Run[] = [];
		for (let i = this.from(start); i < this.list.length && this.list[i].start < end; i++) {
			found.push(clip(this.list[i], start, end));
		}
		return found;
	}

	/** Forgets [start, end); returns what was there, clipped. */
	erase(start: number, end: number): Run[] {
		const { list } = this;
		const first = this.from(start);
		let last = first;
		const gone: Run[] = [];
		while (last < list.length && list[last].start < end) gone.push(clip(list[last++], start, end));
		if (last === first) return gone;
		const rest: Run[] = [];
		if (list[first].start < start) rest.push(clip(list[first], list[first].start, start));
		if (list[last - 1].end > end) rest.push(clip(list[last - 1], end, list[last - 1].end));
		list.splice(first, last - first, ...rest);
		return gone;
	}

	/** Puts a run over whatever is there; returns what it replaced, clipped. */
	put(run: Run): Run[] {
		const gone = this.erase(run.start, run.end);
		const at = this.from(run.start);
		const before = this.list[at - 1];
		if (before && continues(before, run)) before.end = run.end;
		else this.list.splice(at, 0, { ...run });
		return gone;
	}
}

export const clip = (run: Run, start: number, end: number): Run => {
	const from = Math.max(run.start, start);
	return {
		start: from,
		end: Math.min(run.end, end),
		position: run.position > 0 ? run.position + (from - run.start) : run.position,
		epoch: run.epoch,
	};
};

const continues = (before: Run, run: Run): boolean =>
	before.end === run.start &&
	before.epoch === run.epoch &&
	run.end - before.start < MERGE_MAX &&
	(run.position > 0
		? before.position > 0 && before.position + (before.end - before.start) === run.position
		: run.position === before.position);
