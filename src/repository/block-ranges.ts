/** Changed extents of a source as ranges of blocks. */
import type { Extent } from "../image/image.js";

/** Blocks [from, to). */
export interface BlockRange {
	from: number;
	to: number;
}

/**
 * Ranges of blocks of which `extents` touch a byte, in order, merged, within a disk of `size` bytes. A change tracker
 * may report in any order, more than once, and beyond the end of a disk that has shrunk since.
 */
export const blockRanges = (
	extents: readonly Pick<Extent, "offset" | "length">[],
	size: number,
	blockSize: number,
): BlockRange[] => {
	const sorted = extents
		.map(({ offset, length }) => {
			if (!(Number.isSafeInteger(offset) && Number.isSafeInteger(length) && offset >= 0 && length >= 0))
				throw new RangeError(`a changed extent of ${length} bytes at offset ${offset}`);
			return { from: Math.floor(offset / blockSize), to: Math.ceil(Math.min(size, offset + length) / blockSize) };
		})
		.filter(({ from, to }) => from < to)
		.sort((a, b) => a.from - b.from);
	const ranges: BlockRange[] = [];
	for (const range of sorted) {
		const last = ranges.at(-1);
		if (last !== undefined && range.from <= last.to) last.to = Math.max(last.to, range.to);
		else ranges.push(range);
	}
	return ranges;
};
