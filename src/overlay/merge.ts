/**
 * Merging a sorted stream of changes into the index tree, copy-on-write: untouched subtrees are kept, touched
 * pages are replaced, neighbours that have become small are joined.
 */
import { Writer } from "./codec.js";
import { buildPage, compareKeys, type Entry, entrySize, PAGE_ROOM, type PageRef } from "./page.js";
import type { PageStore } from "./page-store.js";
import { EMPTY_ROOT, type Root } from "./tree.js";

/** A key's new value, or its removal. */
export interface Change {
	a: number;
	b: number;
	value: Uint8Array | undefined;
}

/** Changes in key order, in portions; each key at most once. */
export type ChangeStream = AsyncIterator<Change[]>;

const SMALL = PAGE_ROOM / 4;
/** Fill of pages when a run of entries is divided: leaves room for the next inserts. */
const FILL = PAGE_ROOM * 0.9;
const FLUSH_BYTES = PAGE_ROOM * 16;
const YIELD_MS = 2;

export class TreeMerge {
	#portion: Change[] = [];
	#next = 0;
	#sliceEnd = 0;

	constructor(
		readonly store: PageStore,
		readonly checkpoint: number,
		readonly changes: ChangeStream,
	) {}

	async run(root: Root): Promise<Root> {
		if (!(await this.#peek())) return root;
		let entries: Entry[];
		let level = 0;
		if (root.levels === 0) entries = await this.#insertAll();
		else {
			level = root.levels - 1;
			entries = await this.#node(root.ref, level, Number.POSITIVE_INFINITY, 0);
		}
		for (;;) {
			if (entries.length === 0) return EMPTY_ROOT;
			// A root with one child is that child.
			if (level > 0 && entries.length === 1) return this.#collapsed(pointerOf(entries[0]), level);
			const above = await this.#encode(level, entries);
			if (above.length === 1) return { ref: pointerOf(above[0]), levels: level + 1 };
			entries = above;
			level++;
		}
	}

	async #collapsed(ref: PageRef, levels: number): Promise<Root> {
		let at = ref;
		let left = levels;
		while (left > 1) {
			const page = await this.store.load(at);
			if (page.count !== 1) break;
			this.store.free(at.page);
			at = page.child(0);
			left--;
		}
		return { ref: at, levels: left };
	}

	/** New entries of a page and everything below it that keys under (upperA, upperB) concern; frees the page. */
	async #node(ref: PageRef, level: number, upperA: number, upperB: number): Promise<Entry[]> {
		await this.#breathe();
		const page = await this.store.load(ref);
		this.store.free(ref.page);
		const old = page.entries();
		if (level === 0) return this.#mergeLeaf(old, upperA, upperB);
		const result: Entry[] = [];
		let pending: Entry[] = [];
		let pendingBytes = 0;
		for (let i = 0; i < old.length; i++) {
			const [a, b] = i + 1 < old.length ? [old[i + 1].a, old[i + 1].b] : [upperA, upperB];
			const change = await this.#peek();
			const touched = change !== undefined && compareKeys(change.a, change.b, a, b) < 0;
			if (!touched && (pendingBytes === 0 || pendingBytes >= SMALL)) {
				if (pendingBytes > 0) result.push(...(await this.#encode(level - 1, pending)));
				pending = [];
				pendingBytes = 0;
				result.push(old[i]);
				continue;
			}
			for (const entry of await this.#node(pointerOf(old[i]), level - 1, a, b)) {
				pending.push(entry);
				pendingBytes += entrySize(entry.length);
			}
			if (pendingBytes > FLUSH_BYTES) {
				const refs = await this.#encode(level - 1, pending);
				pending = [];
				pendingBytes = 0;
				result.push(...refs);
			}
		}
		if (pendingBytes > 0) result.push(...(await this.#encode(level - 1, pending)));
		return result;
	}

	async #mergeLeaf(old: Entry[], upperA: number, upperB: number): Promise<Entry[]> {
		const merged: Entry[] = [];
		let i = 0;
		for (;;) {
			const change = await this.#peek();
			if (!change || compareKeys(change.a, change.b, upperA, upperB) >= 0) break;
			this.#next++;
			while (i < old.length && compareKeys(old[i].a, old[i].b, change.a, change.b) < 0) merged.push(old[i++]);
			if (i < old.length && old[i].a === change.a && old[i].b === change.b) i++;
			if (change.value) merged.push(entryOf(change.a, change.b, change.value));
		}
		while (i < old.length) merged.push(old[i++]);
		return merged;
	}

	async #insertAll(): Promise<Entry[]> {
		return this.#mergeLeaf([], Number.POSITIVE_INFINITY, 0);
	}

	/** Divides entries evenly over as few pages as leave some room; returns the entries of the level above. */
	async #encode(level: number, entries: Entry[]): Promise<Entry[]> {
		const total = entries.reduce((sum, e) => sum + entrySize(e.length), 0);
		const pages = total <= PAGE_ROOM - 8 ? 1 : Math.ceil(total / FILL);
		const share = total / pages;
		const above: Entry[] = [];
		let first = 0;
		let bytes = 0;
		for (let i = 0; i < entries.length; i++) {
			bytes += entrySize(entries[i].length);
			const next = i + 1 < entries.length ? entrySize(entries[i + 1].length) : 0;
			const full = bytes + next > PAGE_ROOM - 8;
			if (i + 1 < entries.length && !full && bytes + next / 2 < share) continue;
			if (i + 1 < entries.length && pages === 1) continue;
			const chunk = entries.slice(first, i + 1);
			const memory = this.store.memory.page();
			buildPage(level, chunk, this.checkpoint, memory);
			const ref = await this.store.add(memory);
			above.push(entryOf(chunk[0].a, chunk[0].b, pointerValue(ref)));
			first = i + 1;
			bytes = 0;
		}
		return above;
	}

	async #peek(): Promise<Change | undefined> {
		while (this.#next >= this.#portion.length) {
			const { value, done } = await this.changes.next();
			if (done) return undefined;
			this.#portion = value;
			this.#next = 0;
		}
		return this.#portion[this.#next];
	}

	/** Lets requests through between slices of work. */
	async #breathe(): Promise<void> {
		const now = performance.now();
		if (now < this.#sliceEnd) return;
		await new Promise((resolve) => setImmediate(resolve));
		this.#sliceEnd = performance.now() + YIELD_MS;
	}
}

const entryOf = (a: number, b: number, value: Uint8Array): Entry => ({
	a,
	b,
	source: value,
	at: 0,
	length: value.length,
});

const pointerValue = (ref: PageRef): Buffer => new Writer(Buffer.alloc(16)).u64(ref.page).hash(ref.checksum).buffer;

const pointerOf = (entry: Entry): PageRef => {
	const view = Buffer.from(entry.source.buffer, entry.source.byteOffset + entry.at, 16);
	return {
		page: view.readUInt32LE(0) + view.readUInt32LE(4) * 0x1_0000_0000,
		checksum: view.readBigUInt64LE(8),
	};
};
