/** Where two disks differ, by their block maps alone: equal subtrees are equal pages, and are not looked into. */
import { IDENTITY_BYTES, isAbsent } from "./layout.js";
import { FAN_OUT } from "./map-geometry.js";
import type { MapReader } from "./map-reader.js";

/**
 * Bytes of the second disk that differ from the first, by whole blocks, in order; undefined when the disks' sizes are
 * so different that their maps have another shape.
 */
export const changedExtents = async (
	before: MapReader,
	after: MapReader,
): Promise<{ offset: number; length: number }[] | undefined> => {
	if (before.levels !== after.levels || before.blockSize !== after.blockSize) return undefined;
	const { blockSize } = after;
	const extents: { offset: number; length: number }[] = [];
	const changed = (block: number): void => {
		const offset = block * blockSize;
		const length = Math.min(blockSize, after.size - offset);
		const last = extents.at(-1);
		if (length <= 0) return;
		if (last !== undefined && last.offset + last.length === offset) last.length += length;
		else extents.push({ offset, length });
	};
	const walk = async (level: number, number: number): Promise<void> => {
		const [old, now] = await Promise.all([before.page(level, number), after.page(level, number)]);
		for (let n = 0; n < FAN_OUT; n++) {
			if (sameEntry(old, now, n * IDENTITY_BYTES)) continue;
			if (level > 0) await walk(level - 1, number * FAN_OUT + n);
			else changed(number * FAN_OUT + n);
		}
	};
	if (!before.root.equals(after.root)) await walk(after.levels - 1, 0);
	return extents;
};

const sameEntry = (a: Buffer | null, b: Buffer | null, at: number): boolean => {
	if (a === null || b === null) return (a === null || isAbsent(a, at)) && (b === null || isAbsent(b, at));
	return a.compare(b, at, at + IDENTITY_BYTES, at, at + IDENTITY_BYTES) === 0;
};
