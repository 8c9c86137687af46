/**
 * Looking things up in one version of the index tree. Synchronous as long as the pages are in memory; otherwise
 * the answer is the page that is missing, to be loaded before asking again.
 */
import type { Entry, Page, PageRef } from "./page.js";
import type { PageStore } from "./page-store.js";
import type { Run } from "./runs.js";

/** A version of the tree: what a superblock or a snapshot points at. */
export interface Root {
	ref: PageRef;
	/** 0: empty, 1: the root is a leaf */
	levels: number;
}

export const EMPTY_ROOT: Root = { ref: { page: 0, checksum: 0n }, levels: 0 };

/** Key types: A = type × 2^48 + inode. */
export const TYPE = { extent: 1, presence: 2, inode: 3, entry: 4, request: 5, segment: 6 } as const;
const TYPE_UNIT = 2 ** 48;
export const keyOf = (type: number, id: number): number => type * TYPE_UNIT + id;
export const idOf = (a: number): number => a % TYPE_UNIT;

interface Leaf {
	page: Page;
	/** first key of the next leaf; Infinity: there is none */
	nextA: number;
	nextB: number;
}

const isLeaf = (found: Leaf | PageRef): found is Leaf => "nextA" in found;

/** The leaf in which (a, b) or its predecessor is. The tree must not be empty. */
const descend = (store: PageStore, root: Root, a: number, b: number): Leaf | PageRef => {
	let ref = root.ref;
	let nextA = Number.POSITIVE_INFINITY;
	let nextB = 0;
	for (let level = root.levels - 1; ; level--) {
		const page = store.cached(ref.page);
		if (!page) return ref;
		if (level === 0) return { page, nextA, nextB };
		const index = Math.max(0, page.floor(a, b));
		if (index + 1 < page.count) {
			nextA = page.a(index + 1);
			nextB = page.b(index + 1);
		}
		ref = page.child(index);
	}
};

/**
 * Appends to `found` the extents of file `id` that cover parts of [start, end), whole, at most `limit` of them.
 * Returns undefined when done, or the page to load first (then nothing was appended).
 */
export const extentsWithin = (
	store: PageStore,
	root: Root,
	id: number,
	start: number,
	end: number,
	found: Run[],
	limit = Number.POSITIVE_INFINITY,
): PageRef | undefined => {
	if (root.levels === 0) return undefined;
	const a = keyOf(TYPE.extent, id);
	const before = found.length;
	let b = start;
	for (;;) {
		const leaf = descend(store, root, a, b);
		if (!isLeaf(leaf)) {
			found.length = before;
			return leaf;
		}
		const { page } = leaf;
		for (let i = Math.max(0, page.floor(a, b)); i < page.count; i++) {
			const key = page.a(i);
			if (key < a) continue;
			const from = page.b(i);
			if (key > a || from >= end || found.length - before >= limit) return undefined;
			const run = { start: from, end: from + page.third(i), position: page.first(i), epoch: page.fourth(i) };
			if (run.end > start) found.push(run);
		}
		if (leaf.nextA !== a || leaf.nextB >= end) return undefined;
		b = leaf.nextB;
	}
};

/** As `extentsWithin`, loading what is missing. */
export const loadExtents = async (
	store: PageStore,
	root: Root,
	id: number,
	start: number,
	end: number,
	limit?: number,
): Promise<Run[]> => {
	const found: Run[] = [];
	for (;;) {
		const missing = extentsWithin(store, root, id, start, end, found, limit);
		if (!missing) return found;
		await store.load(missing);
	}
};

/** Begins to read the next page that looking up `offset` would have to wait for. */
export const prefetchExtent = (store: PageStore, root: Root, id: number, offset: number): void => {
	if (root.levels === 0) return;
	const missing = descend(store, root, keyOf(TYPE.extent, id), offset);
	if (!isLeaf(missing)) store.load(missing).catch(() => undefined);
};

/** Walks all entries with A in [fromA, toA), loading pages on the spot: for open. */
export function* scan(store: PageStore, root: Root, fromA: number, toA: number): Generator<Entry> {
	if (root.levels === 0) return;
	let a = fromA;
	let b = 0;
	for (;;) {
		const leaf = descend(store, root, a, b);
		if (!isLeaf(leaf)) {
			store.loadNow(leaf);
			continue;
		}
		for (const entry of leaf.page.entries()) {
			if (entry.a >= toA) return;
			if (entry.a > a || (entry.a === a && entry.b >= b)) yield entry;
		}
		if (leaf.nextA >= toA) return;
		a = leaf.nextA;
		b = leaf.nextB;
	}
}
