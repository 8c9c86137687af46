/**
 * What a session changed of a disk, as contexts of block status: `springback:changed` since its restore point, and
 * `springback:changed:EPOCH` since that epoch of an earlier frozen view; for QEMU's tools, which only know dirty bitmaps,
 * the same as `qemu:dirty-bitmap:changed` and `qemu:dirty-bitmap:changed-EPOCH`.
 */
import type { Extent } from "../../image/image.js";
import type { ExportContexts, StatusRun } from "../../nbd/index.js";

export const CONTEXT_NAMES = ["springback:changed", "qemu:dirty-bitmap:changed"];
const CONTEXT = /^(?:springback:changed(?::(\d{1,10}))?|qemu:dirty-bitmap:changed(?:-(\d{1,10}))?)$/;
/** of both: the bit that QEMU calls NBD_STATE_DIRTY */
const CHANGED = 1;
/** Runs of one answer. */
const MAX_RUNS = 4096;

/** @param changedSince extents written after an epoch, sorted and merged. Asked once per connection and context. */
export function changeContexts(changedSince: (epoch: number) => Extent[] | Promise<Extent[]>): ExportContexts {
	return {
		names: CONTEXT_NAMES,
		find(name) {
			const match = CONTEXT.exec(name);
			if (!match) return undefined;
			const epoch = Number(match[1] ?? match[2] ?? 0);
			let known: Promise<ChangedRanges> | undefined;
			return async (offset, length) => {
				known ??= (async () => new ChangedRanges(await changedSince(epoch)))();
				return (await known).status(offset, length);
			};
		},
	};
}

/** Sorted ranges in 16 bytes each. */
export class ChangedRanges {
	readonly #starts: Float64Array;
	readonly #ends: Float64Array;
	readonly #count: number;

	constructor(extents: readonly Extent[]) {
		this.#starts = new Float64Array(extents.length);
		this.#ends = new Float64Array(extents.length);
		let count = 0;
		for (const { offset, length } of extents) {
			// Data and zeros that adjoin are one change.
			if (count > 0 && this.#ends[count - 1] === offset) this.#ends[count - 1] += length;
			else {
				this.#starts[count] = offset;
				this.#ends[count++] = offset + length;
			}
		}
		this.#count = count;
	}

	/** Runs from `offset` on, covering `length` bytes or a beginning of them. */
	status(offset: number, length: number): StatusRun[] {
		const end = offset + length;
		const runs: StatusRun[] = [];
		let at = offset;
		for (let n = this.#after(offset); at < end && runs.length < MAX_RUNS; n++) {
			const start = n < this.#count ? Math.min(this.#starts[n], end) : end;
			if (start > at) runs.push({ length: start - at, flags: 0 });
			at = Math.max(at, start);
			const stop = n < this.#count ? Math.min(this.#ends[n], end) : end;
			if (at < stop) runs.push({ length: stop - at, flags: CHANGED });
			at = Math.max(at, stop);
		}
		return runs;
	}

	/** Index of the first range that ends after `offset`. */
	#after(offset: number): number {
		let low = 0;
		let high = this.#count;
		while (low < high) {
			const middle = (low + high) >>> 1;
			if (this.#ends[middle] > offset) high = middle;
			else low = middle + 1;
		}
		return low;
	}
}
