/**
 * What was written since an epoch, range by range: from the index pages of the range alone, so that neither memory nor
 * time grow with the session, and nobody else waits.
 */
import type { Extent } from "../image/image.js";
import type { Node } from "./inode.js";
import type { ContentReader, View } from "./reader.js";
import { type Run, ZEROS } from "./runs.js";

/** Extents of [offset, offset + length) written after epoch `since`, in order. `node` and `view` are of one moment. */
export const changesWithin = (
	reader: ContentReader,
	view: View,
	node: Node,
	since: number,
	offset: number,
	length: number,
): Extent[] | Promise<Extent[]> => {
	// Beyond the lowest size since then everything is new, if only zeros.
	const cut = Math.min(node.size, ...node.shrinks.filter(({ epoch }) => epoch > since).map(({ size }) => size));
	const collect = (runs: Run[]): Extent[] => {
		const out: Extent[] = [];
		for (const { start, end, position, epoch } of runs) {
			const from = epoch > since ? start : Math.max(start, cut);
			push(out, from, end, epoch > since && position > ZEROS ? "data" : "zero");
		}
		return out;
	};
	const runs = reader.runs(view, offset, offset + length);
	return Array.isArray(runs) ? collect(runs) : runs.then(collect);
};

const push = (out: Extent[], start: number, end: number, kind: Extent["kind"]): void => {
	if (start >= end) return;
	const last = out[out.length - 1];
	if (last && last.kind === kind && last.offset + last.length === start) last.length += end - start;
	else out.push({ offset: start, length: end - start, kind });
};
