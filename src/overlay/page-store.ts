/**
 * The pages of `index`: a bounded cache in front, allocation by bitmap, copy-on-write. Pages of a checkpoint in
 * the making go to free places only and are forgotten again when it fails.
 */
import { type Lane, sys, xxh3 } from "../../native/index.js";
import { allocate } from "./allocate.js";
import { corrupt, isNoSpace } from "./errors.js";
import { alignUp, FIRST_PAGE, PAGE } from "./geometry.js";
import type { IndexPages, OverlayMemory } from "./memory.js";
import { Page, type PageMemory, type PageRef } from "./page.js";
import type { Readers } from "./readers.js";

/** Pages whose use one free map page describes. */
export const PAGES_PER_MAP = PAGE * 8;
const GROWTH = 256;
const FLUSH_AT = 256;
/** Pages whose memory is kept for others; more of it goes back. */
const LEFT_MAX = 1024;

export class PageStore implements IndexPages {
	/** pages in the file, free ones included */
	total = FIRST_PAGE;
	/** 1: may not be written. Includes what snapshots and running reads still look at. */
	#used = Buffer.alloc(PAGE);
	/** 1: belongs to the newest checkpoint, or to the one in the making */
	#durable = Buffer.alloc(PAGE);
	readonly dirtyMaps = new Set<number>();
	readonly #cache = new Map<number, Page>();
	readonly #unwritten = new Map<number, Page>();
	readonly #loading = new Map<number, Promise<Page>>();
	/** memory of pages that left the cache since the last merge */
	#left: PageMemory[] = [];
	#allocated: number[] = [];
	#freed: number[] = [];
	#next = FIRST_PAGE;

	constructor(
		readonly fd: number,
		readonly path: string,
		readonly secret: bigint,
		readonly writeLane: Lane,
		readonly readLane: Lane,
		readonly readers: Readers,
		readonly memory: OverlayMemory,
	) {
		memory.add(this);
	}

	/** Pages in memory that are also in the file. */
	get held(): number {
		return this.#cache.size;
	}

	/** The page that has waited longest and was not used meanwhile goes. */
	evict(): void {
		for (const [number, page] of this.#cache) {
			this.#cache.delete(number);
			if (!page.hot) {
				this.#leave(page);
				return;
			}
			page.hot = false;
			this.#cache.set(number, page);
		}
	}

	/** Nobody finds the page any more, but a merge in progress may still look at it. */
	#leave(page: Page): void {
		if (this.#left.length < LEFT_MAX) this.#left.push(page.memory);
	}

	/** No merge is in progress: what has left may be used again. */
	reuse(): void {
		this.memory.giveBack(this.#left);
		this.#left = [];
	}

	/** The session is closed. */
	close(): void {
		this.memory.remove(this);
	}

	/** The page, when it is in memory. */
	cached(page: number): Page | undefined {
		const found = this.#cache.get(page) ?? this.#unwritten.get(page);
		if (found) found.hot = true;
		return found;
	}

	async load(ref: PageRef): Promise<Page> {
		const found = this.cached(ref.page);
		if (found) return found;
		let loading = this.#loading.get(ref.page);
		if (!loading) {
			loading = this.#read(ref).finally(() => this.#loading.delete(ref.page));
			this.#loading.set(ref.page, loading);
		}
		return loading;
	}

	/** For open and for change sets, which have nothing better to do. */
	loadNow(ref: PageRef): Page {
		const found = this.cached(ref.page);
		if (found) return found;
		const room = this.memory.page();
		const got = sys.pread(this.fd, room.bytes, ref.page * PAGE);
		return this.#checked(ref, room, got);
	}

	async #read(ref: PageRef): Promise<Page> {
		const leave = this.readers.enter();
		try {
			const room = this.memory.page();
			const got = await this.readLane.pread(this.fd, room.bytes, ref.page * PAGE);
			return this.#checked(ref, room, got);
		} finally {
			leave();
		}
	}

	#checked(ref: PageRef, room: PageMemory, got: number): Page {
		if (got !== PAGE || xxh3(room.bytes, this.secret) !== ref.checksum) {
			throw corrupt(this.path, ref.page * PAGE, "a page of the index is not what its parent says");
		}
		const page = new Page(room);
		this.#keep(ref.page, page);
		return page;
	}

	#keep(number: number, page: Page): void {
		this.#cache.set(number, page);
		this.memory.settle();
	}

	/** Gives new content a free place. */
	async add(content: PageMemory): Promise<PageRef> {
		const page = this.place();
		const checksum = xxh3(content.bytes, this.secret);
		this.#cache.delete(page);
		this.#unwritten.set(page, new Page(content));
		if (this.#unwritten.size >= FLUSH_AT) await this.flush();
		return { page, checksum };
	}

	/** A free place, taken. Throws ENOSPC when the file cannot grow. */
	place(): number {
		const page = this.#find();
		setBit(this.#used, page, true);
		this.#mark(page, true);
		this.#allocated.push(page);
		return page;
	}

	/** A free map page is no tree page: it is written, not cached. */
	fillRaw(page: number, bytes: Buffer): Promise<void> {
		this.#cache.delete(page);
		return this.writeLane.write(this.fd, [bytes], page * PAGE, false);
	}

	/** Not part of the checkpoint in the making any more. */
	free(page: number): void {
		this.#mark(page, false);
		this.#freed.push(page);
	}

	/** Hands what is gathered to the kernel, neighbours in one write. */
	async flush(): Promise<void> {
		const pages = [...this.#unwritten.entries()].sort((x, y) => x[0] - y[0]);
		const jobs: Promise<void>[] = [];
		for (let i = 0; i < pages.length; ) {
			let end = i + 1;
			while (end < pages.length && pages[end][0] === pages[end - 1][0] + 1) end++;
			const parts = pages.slice(i, end).map(([, page]) => page.bytes);
			jobs.push(this.writeLane.write(this.fd, parts, pages[i][0] * PAGE, false));
			i = end;
		}
		const results = await Promise.allSettled(jobs);
		for (const result of results) if (result.status === "rejected") throw result.reason;
		for (const [number, page] of pages) {
			this.#unwritten.delete(number);
			this.#keep(number, page);
		}
	}

	/** The checkpoint counts: returns the pages it replaced, for `release`. */
	commit(): number[] {
		const freed = this.#freed;
		this.#allocated = [];
		this.#freed = [];
		return freed;
	}

	/** The checkpoint failed: its pages are free, what it replaced is not. */
	rollback(): void {
		for (const page of this.#freed) this.#mark(page, true);
		for (const page of this.#allocated) {
			setBit(this.#used, page, false);
			this.#mark(page, false);
			this.#cache.delete(page);
			this.#unwritten.delete(page);
			this.#next = Math.min(this.#next, page);
		}
		this.#allocated = [];
		this.#freed = [];
	}

	/** Nobody looks at these pages any more. */
	release(pages: number[]): void {
		for (const page of pages) {
			setBit(this.#used, page, false);
			const old = this.#cache.get(page);
			if (old && this.#cache.delete(page)) this.#leave(old);
			if (page < this.#next) this.#next = page;
		}
	}

	/** Bitmap of one free map page. */
	map(index: number): Buffer {
		const bytes = Buffer.alloc(PAGE);
		this.#durable.copy(bytes, 0, index * PAGE, (index + 1) * PAGE);
		return bytes;
	}

	/** At load: how many pages the file has. */
	resize(total: number): void {
		this.total = total;
		this.#cover(total);
	}

	loadMap(index: number, bitmap: Buffer): void {
		this.#cover((index + 1) * PAGES_PER_MAP);
		bitmap.copy(this.#used, index * PAGE);
		bitmap.copy(this.#durable, index * PAGE);
	}

	#mark(page: number, used: boolean): void {
		setBit(this.#durable, page, used);
		this.dirtyMaps.add(Math.floor(page / PAGES_PER_MAP));
	}

	#find(): number {
		for (let page = this.#next; page < this.total; page++) {
			if ((page & 7) === 0 && this.#used[page >> 3] === 0xff) {
				page += 7;
				continue;
			}
			if ((this.#used[page >> 3] & (1 << (page & 7))) === 0) {
				this.#next = page + 1;
				return page;
			}
		}
		const first = this.total;
		this.total += this.#grow(first);
		this.#cover(this.total);
		this.#next = first + 1;
		return first;
	}

	/** Lengthens the file by as many pages as there is room for, within reason. */
	#grow(first: number): number {
		for (let pages = GROWTH; ; pages /= 4) {
			try {
				allocate(this.fd, first * PAGE, pages * PAGE);
				return pages;
			} catch (error) {
				if (!isNoSpace(error) || pages === 1) throw error;
			}
		}
	}

	#cover(pages: number): void {
		const bytes = alignUp(Math.ceil(pages / 8), PAGE);
		if (bytes <= this.#used.length) return;
		this.#used = Buffer.concat([this.#used, Buffer.alloc(bytes - this.#used.length)]);
		this.#durable = Buffer.concat([this.#durable, Buffer.alloc(bytes - this.#durable.length)]);
	}
}

const setBit = (map: Buffer, bit: number, value: boolean): void => {
	if (value) map[bit >> 3] |= 1 << (bit & 7);
	else map[bit >> 3] &= ~(1 << (bit & 7));
};
