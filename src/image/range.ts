/** Checks and small pieces that every Image needs. */
import type { Extent, ExtentKind } from "./image.js";

/** Throws RangeError unless [offset, offset + length) lies within `size`. */
export function checkRange(size: number, offset: number, length: number): void {
	if (!Number.isSafeInteger(offset) || !Number.isSafeInteger(length) || offset < 0 || length < 0)
		throw new RangeError(`invalid range: offset ${offset}, length ${length}`);
	if (offset + length > size)
		throw new RangeError(`range ${offset}+${length} lies past the end of an image of ${size} bytes`);
}

/** Appends a run to `list`, merging it with the last one when they adjoin and are of the same kind. */
export function pushExtent(list: Extent[], offset: number, length: number, kind: ExtentKind): void {
	if (length <= 0) return;
	const last = list[list.length - 1];
	if (last !== undefined && last.kind === kind && last.offset + last.length === offset) last.length += length;
	else list.push({ offset, length, kind });
}
