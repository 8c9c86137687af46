/**
 * What the open sessions of a process keep in memory of their files, together: pages of their logs and pages of their
 * indexes. However many sessions there are, it is bounded by one budget.
 */
import { PagePool } from "./data-cache.js";
import { PAGE } from "./geometry.js";
import { PageMemory } from "./page.js";
import { PageBuffers } from "./page-buffers.js";

/** A session's index pages in memory. */
export interface IndexPages {
	readonly held: number;
	/** Lets go of one that was not used lately. */
	evict(): void;
}

const SMALLEST = 16;

export class OverlayMemory {
	readonly content: PagePool;
	/** of log pages that are being read */
	readonly buffers = new PageBuffers();
	/** index pages in all */
	readonly #indexPages: number;
	readonly #stores = new Set<IndexPages>();
	/** room of pages that are no more */
	#spare: PageMemory[] = [];

	/** Bytes of log pages and of index pages. */
	constructor(contentBytes: number, indexBytes: number) {
		this.content = new PagePool(contentBytes);
		this.#indexPages = Math.max(SMALLEST, Math.floor(indexBytes / PAGE));
	}

	add(store: IndexPages): void {
		this.#stores.add(store);
	}

	remove(store: IndexPages): void {
		this.#stores.delete(store);
	}

	/** Room for a page, with whatever was there. */
	page(): PageMemory {
		return this.#spare.pop() ?? new PageMemory();
	}

	/** Room that nobody looks at any more. As much is kept as one checkpoint may want. */
	giveBack(rooms: PageMemory[]): void {
		this.#spare.push(...rooms);
		if (this.#spare.length > this.#indexPages) this.#spare.length = this.#indexPages;
	}

	/** Makes room after a page was added: the session that holds most gives one up. */
	settle(): void {
		for (;;) {
			let held = 0;
			let largest: IndexPages | undefined;
			for (const store of this.#stores) {
				held += store.held;
				if (!largest || store.held > largest.held) largest = store;
			}
			if (held <= this.#indexPages || !largest) return;
			largest.evict();
		}
	}
}
