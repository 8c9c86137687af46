/**
 * The index of a repository: all its segments, a page cache, and how they are put, reloaded and rebuilt from packs
 * (docs/format.md, 8). Nothing here is needed for truth: packs are.
 */
import { causeOf, codeOf } from "./errors.js";
import { ENTRY_BYTES } from "./identity-table.js";
import type { Keyring } from "./keyring.js";
import { isId, LOCK_BYTE, LOCK_REPOSITORY, newId, type Random, segmentName } from "./layout.js";
import { mergeSegments, segmentsToMerge } from "./merge.js";
import { coveredPacks, presentPacks, readTables } from "./pack-inventory.js";
import { BadSegment, Segment, searchPage } from "./segment.js";
import type { PackRow } from "./segment-format.js";
import { SegmentPages } from "./segment-pages.js";
import { writeSegment } from "./segment-writer.js";
import type { Held, Store } from "./store.js";

/** Where a record is. */
export interface Locator {
	pack: string;
	offset: number;
	/** bytes, header included */
	length: number;
	rawLength: number;
	/** bytes of the whole pack, where the index said so */
	packSize?: number;
}

/** Packs are listed again for a missing record at most this often, ms. */
const ADOPT_INTERVAL_MS = 5000;
/** Listings of segments before one is taken as it is, though others go on merging. */
const REFRESH_TRIES = 10;

export class Index {
	readonly #store: Store;
	readonly #random: Random;
	#segments: Segment[] = [];
	/** segments that failed verification, with the reason */
	readonly bad = new Map<string, string>();
	/** segments that the disk could not read when it was asked last, with the reason */
	readonly unreadable = new Map<string, string>();
	readonly #pages = new SegmentPages((segment, error) => this.#unusable(segment, error));
	#reloading: Promise<void> | undefined;
	#lastAdopt = Number.NEGATIVE_INFINITY;

	readonly #write: boolean;

	/** `write: false`: what is rebuilt stays in memory, for `check`. */
	constructor(
		store: Store,
		readonly keyring: Keyring,
		random: Random,
		options: { write: boolean } = { write: true },
	) {
		this.#store = store;
		this.#write = options.write;
		this.#random = random;
	}

	get segments(): readonly Segment[] {
		return this.#segments;
	}

	/** Loads segments that are new and drops those that are gone. */
	async refresh(): Promise<void> {
		// One that was merged away between listing and opening: what replaced it is in the next listing.
		for (let tries = 1; !(await this.#refreshOnce()) && tries < REFRESH_TRIES; tries++);
	}

	/** False when a segment that was listed was gone. */
	async #refreshOnce(): Promise<boolean> {
		let complete = true;
		const before = new Set(this.#segments);
		const names = new Set((await this.#store.list("index")).filter(isId));
		const known = new Set(this.#segments.map(({ id }) => id));
		for (const id of this.bad.keys()) if (!names.has(id)) this.bad.delete(id);
		const loaded: Segment[] = [];
		this.unreadable.clear();
		for (const id of names) {
			if (known.has(id) || this.bad.has(id)) continue;
			try {
				const size = await this.#store.size(segmentName(id));
				if (size === undefined) {
					complete = false;
					continue;
				}
				loaded.push(await Segment.open(id, size, false, (at, length) => this.#store.read(segmentName(id), at, length)));
			} catch (error) {
				if (error instanceof BadSegment) this.bad.set(id, error.message);
				// Packs have all of it too. The disk may have had a bad moment only: it is asked again next time.
				else if (codeOf(error) === "EIO") this.unreadable.set(id, causeOf(error));
				else if (codeOf(error) === "ENOENT") complete = false;
				else throw error;
			}
		}
		// One that was put since the listing began is not missing from it.
		const stays = (segment: Segment) => segment.inMemory || names.has(segment.id) || !before.has(segment);
		for (const segment of this.#segments) if (!stays(segment)) this.#pages.forget(segment);
		const held = new Set(this.#segments.map(({ id }) => id));
		const fresh = loaded.filter(({ id }) => !held.has(id));
		this.#segments = [...this.#segments.filter(stays), ...fresh];
		return complete;
	}

	/**
	 * Looks a record up; null when it is not there. Synchronous when the filters refuse it or the page is in memory. `identity` must stay
	 * unchanged until it is settled.
	 */
	find(identity: Buffer, offset: number, type: number): Locator | null | Promise<Locator | null> {
		const found = this.peek(identity, offset, type);
		return found === undefined ? this.#findSlow(identity, offset, type) : found;
	}

	/** As `find`, but undefined when pages would have to be read. */
	peek(identity: Buffer, offset: number, type: number): Locator | null | undefined {
		for (const segment of this.#segments) {
			if (!segment.mayHave(identity, offset)) continue;
			const [first, last] = segment.pageRange(identity, offset);
			for (let number = first; number <= last; number++) {
				const page = this.#pages.peek(segment, number);
				if (page === undefined) return undefined;
				const found = this.#locator(segment, page, searchPage(page, identity, offset, type));
				if (found !== null) return found;
			}
		}
		return null;
	}

	async #findSlow(identity: Buffer, offset: number, type: number): Promise<Locator | null> {
		for await (const found of this.findAll(identity, offset, type)) return found;
		return null;
	}

	/** Every place where the record is said to be; `gone`: also in packs that are missing. */
	async *findAll(identity: Buffer, offset: number, type: number, gone = false): AsyncGenerator<Locator> {
		for (const segment of [...this.#segments]) {
			if (!segment.mayHave(identity, offset)) continue;
			const [first, last] = segment.pageRange(identity, offset);
			for (let number = first; number <= last; number++) {
				const page = await this.#pages.get(segment, number);
				if (page === undefined) continue;
				const found = this.#locator(segment, page, searchPage(page, identity, offset, type), gone);
				if (found !== null) yield found;
			}
		}
	}

	/** Lists segments and, not too often, packs again; one at a time. */
	async reload(): Promise<void> {
		this.#reloading ??= (async () => {
			try {
				await this.refresh();
				if (performance.now() - this.#lastAdopt >= ADOPT_INTERVAL_MS) await this.adopt();
			} finally {
				this.#reloading = undefined;
			}
		})();
		await this.#reloading;
	}

	#locator(segment: Segment, page: Buffer, at: number, gone = false): Locator | null {
		if (at < 0) return null;
		const row = page.readUInt32LE(at + 32);
		if (row >= segment.packs.length || (!gone && segment.gone[row] === 1)) return null;
		return {
			pack: segment.packs[row].id,
			offset: page.readUInt32LE(at + 36),
			length: page.readUInt32LE(at + 40),
			rawLength: page.readUInt32LE(at + 44) & 0xffffff,
			packSize: segment.packs[row].size,
		};
	}

	/** Stops using a segment of which a page could not be had; other errors are thrown. */
	#unusable(segment: Segment, error: unknown): void {
		if (error instanceof BadSegment) this.reject(segment, error.message);
		else if (codeOf(error) === "ENOENT") this.#drop(segment);
		else throw error;
	}

	/** Stops using a segment that failed verification. */
	reject(segment: Segment, why: string): void {
		this.bad.set(segment.id, why);
		this.#drop(segment);
	}

	#drop(segment: Segment): void {
		this.#segments = this.#segments.filter((s) => s !== segment);
		this.#pages.forget(segment);
	}

	/**
	 * Compares with the packs that exist: entries of packs that are gone become absent, packs that no segment names are
	 * indexed. The result is put into the repository where that is possible, and segments that it replaces are removed.
	 */
	async adopt(): Promise<void> {
		this.#lastAdopt = performance.now();
		// Whoever deletes packs takes them out of the index under the exclusive lock: none must come back into it.
		const held = this.#write ? await this.#shareMerge() : undefined;
		try {
			await this.#adopt(held !== undefined);
		} finally {
			held?.release();
		}
	}

	async #shareMerge(): Promise<Held | undefined> {
		try {
			return await this.#store.lock(LOCK_REPOSITORY, LOCK_BYTE.merge, "shared");
		} catch {
			// A read-only copy without lock files: what is rebuilt stays in memory.
			return undefined;
		}
	}

	async #adopt(write: boolean): Promise<void> {
		const present = await this.#noteGone();
		const covered = coveredPacks(this.#segments);
		const missing = [...present].filter((id) => !covered.has(id));
		let durable = true;
		for await (const { entries, packs } of readTables(this.#store, missing, this.keyring))
			durable = (await this.#putOrKeep(entries, packs, write)) && durable;
		if (!write || !durable) return;
		for (const id of [...this.bad.keys()]) await this.#removeBad(id);
	}

	/** Notes which packs are gone; resolves with those that are there. */
	async #noteGone(): Promise<Set<string>> {
		// Not the segments that are put while packs are listed: theirs may be newer than the listing.
		const segments = this.#segments;
		const present = await presentPacks(this.#store);
		for (const { packs, gone } of segments) {
			packs.forEach(({ id }, row) => {
				gone[row] = present.has(id) ? 0 : 1;
			});
		}
		return present;
	}

	async #putOrKeep(entries: Buffer, packs: PackRow[], write: boolean): Promise<boolean> {
		if (write) {
			try {
				await this.put(entries, entries.length / ENTRY_BYTES, packs);
				return true;
			} catch {
				// Read-only or full: the index is a convenience, memory does as well until somebody can write it.
			}
		}
		const parts: Buffer[] = [];
		const id = newId(this.#random);
		await writeSegment(
			id,
			entries,
			entries.length / ENTRY_BYTES,
			packs,
			async (bytes) => void parts.push(Buffer.from(bytes)),
		);
		const bytes = Buffer.concat(parts);
		const segment = await Segment.open(id, bytes.length, true, async (at, length) => bytes.subarray(at, at + length));
		this.#segments = [...this.#segments, segment];
		return false;
	}

	async #removeBad(id: string): Promise<void> {
		try {
			await this.#store.remove(segmentName(id));
			this.bad.delete(id);
		} catch {
			// It is not used; check goes on reporting it.
		}
	}

	/** Puts a segment of `count` unsorted entries whose pack column is a row of `packs`, and uses it. */
	async put(entries: Buffer, count: number, packs: PackRow[]): Promise<void> {
		await this.#putFile((id, sink) => writeSegment(id, entries, count, packs, sink));
	}

	async #putFile(fill: (id: string, sink: (bytes: Buffer) => Promise<void>) => Promise<void>): Promise<void> {
		const id = newId(this.#random);
		const upload = this.#store.upload();
		try {
			await fill(id, (bytes) => upload.append([bytes]));
			await upload.seal();
			await this.#store.publish([{ upload, name: segmentName(id) }]);
		} catch (error) {
			await upload.abandon();
			throw error;
		}
		const read = (at: number, length: number) => this.#store.read(segmentName(id), at, length);
		const segment = await Segment.open(id, upload.length, false, read);
		// A listing meanwhile may have found it, or others may have put theirs.
		this.#segments = [...this.#segments.filter((one) => one.id !== id), segment];
	}

	/** Merges tiers that are full. The caller holds the merge lock; `condemned` was read since. */
	async merge(condemned: ReadonlySet<string>): Promise<void> {
		// What others merged and deleted since must not come back: of two places the one in a deleted pack might be kept.
		await this.refresh();
		if (segmentsToMerge(this.#segments).length > 0) await this.#noteGone();
		for (;;) {
			const inputs = segmentsToMerge(this.#segments);
			if (inputs.length === 0) return;
			await this.#replace(inputs, condemned);
		}
	}

	/**
	 * Writes segments that name these packs, which are deleted, anew without them. The caller holds the merge lock, and has
	 * refreshed since; `condemned` are packs that will be deleted later.
	 */
	async drop(gone: ReadonlySet<string>, condemned: ReadonlySet<string>): Promise<void> {
		const inputs = this.#segments.filter(({ packs }) => packs.some(({ id }) => gone.has(id)));
		for (const segment of inputs)
			segment.packs.forEach(({ id }, row) => {
				if (gone.has(id)) segment.gone[row] = 1;
			});
		await this.#replace(
			inputs.filter(({ inMemory }) => !inMemory),
			condemned,
		);
	}

	async #replace(inputs: Segment[], condemned: ReadonlySet<string>): Promise<void> {
		const empty = inputs.every(({ gone }) => gone.every((row) => row === 1));
		if (!empty) await this.#putFile((id, sink) => mergeSegments(inputs, id, condemned, sink));
		this.#segments = this.#segments.filter((segment) => !inputs.includes(segment));
		for (const segment of inputs) {
			this.#pages.forget(segment);
			await this.#store.remove(segmentName(segment.id));
		}
	}
}
