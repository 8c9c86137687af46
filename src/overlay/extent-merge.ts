/**
 * What a file's frozen runs mean for the extents in the tree: which keys to put and which to remove, in key
 * order, and which log bytes become live or dead by it.
 */
import { Writer } from "./codec.js";
import type { InodeId } from "./contract.js";
import type { Change } from "./merge.js";
import type { PageStore } from "./page-store.js";
import { clip, HOLE, type Run } from "./runs.js";
import { keyOf, loadExtents, prefetchExtent, type Root, TYPE } from "./tree.js";

const PORTION = 128;
/** Runs ahead of the one in hand whose pages are being read. */
const AHEAD = 32;

/** `sign` 1: these log bytes are now referred to by the tree; −1: no longer. */
export type Account = (position: number, length: number, sign: 1 | -1) => void;

export async function* mergeExtents(
	store: PageStore,
	root: Root,
	id: InodeId,
	runs: Run[],
	account: Account,
): AsyncGenerator<Change[]> {
	const a = keyOf(TYPE.extent, id);
	let out: Change[] = [];
	/** rest of an old extent behind the last run; not in the stream yet */
	let tail: Run | undefined;
	const put = (run: Run): void => void out.push({ a, b: run.start, value: extentValue(run) });
	const gone = (run: Run): void => {
		if (run.position > 0) account(run.position, run.end - run.start, -1);
	};
	for (const [index, run] of runs.entries()) {
		// What is missing then, or damaged, is found out when its turn comes.
		if (index + AHEAD < runs.length) prefetchExtent(store, root, id, runs[index + AHEAD].start);
		let from = run.start;
		if (tail && tail.end <= run.start) {
			put(tail);
			tail = undefined;
		}
		if (tail) {
			if (tail.start < run.start) put(clip(tail, tail.start, run.start));
			const under = clip(tail, run.start, run.end);
			gone(under);
			from = under.end;
			tail = tail.end > run.end ? clip(tail, run.end, tail.end) : undefined;
		}
		let placed = run.position === HOLE;
		const place = (): void => {
			if (placed) return;
			placed = true;
			put(run);
			if (run.position > 0) account(run.position, run.end - run.start, 1);
		};
		while (from < run.end) {
			const old = await loadExtents(store, root, id, from, run.end, PORTION);
			for (const extent of old) {
				if (extent.start < run.start) put(clip(extent, extent.start, run.start));
				else {
					place();
					if (extent.start > run.start || run.position === HOLE) out.push({ a, b: extent.start, value: undefined });
				}
				gone(clip(extent, run.start, run.end));
				if (extent.end > run.end) tail = clip(extent, run.end, extent.end);
			}
			if (out.length >= PORTION) {
				place();
				yield out;
				out = [];
			}
			if (old.length < PORTION) break;
			from = old[old.length - 1].end;
		}
		place();
	}
	if (tail) put(tail);
	if (out.length > 0) yield out;
}

const extentValue = (run: Run): Buffer =>
	new Writer(Buffer.allocUnsafe(16))
		.u64(run.position)
		.u32(run.end - run.start)
		.u32(run.epoch).buffer;
