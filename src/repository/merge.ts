/** Merges index segments: streaming, so memory does not grow with the index (docs/format.md, 8). */
import { compareEntries, ENTRY_BYTES } from "./identity-table.js";
import type { Segment } from "./segment.js";
import { PAGE_BYTES, type PackRow, pageCount } from "./segment-format.js";
import { SegmentWriter } from "./segment-writer.js";

/** Segments in one tier that make a merge worth its writes. */
const FULL_TIER = 4;
const READ_PAGES = 64;

const tierOf = (segment: Segment): number =>
	Math.floor(Math.log(Math.max(1, segment.trailer.entries / 4096)) / Math.log(4));

/** The segments of the lowest full tier; none when no tier is full. */
export const segmentsToMerge = (segments: readonly Segment[]): Segment[] => {
	const tiers = new Map<number, Segment[]>();
	for (const segment of segments) {
		if (segment.inMemory) continue;
		const tier = tierOf(segment);
		tiers.set(tier, [...(tiers.get(tier) ?? []), segment]);
	}
	const full = [...tiers].filter(([, members]) => members.length >= FULL_TIER).sort(([a], [b]) => a - b);
	return full[0]?.[1] ?? [];
};

/** Walks one segment's entries in order. */
class Cursor {
	readonly #segment: Segment;
	/** row of the merged pack table, per row of this segment */
	readonly rows: number[];
	page: Buffer = Buffer.alloc(0);
	at = 0;
	done = false;
	#loaded: Buffer = Buffer.alloc(0);
	#inLoaded = 0;
	#next = 0;
	#used = 0;

	constructor(
		segment: Segment,
		rows: number[],
		readonly condemned: ReadonlySet<string>,
	) {
		this.#segment = segment;
		this.rows = rows;
	}

	/** Moves on to the next entry; a promise only when pages must be read. */
	advance(): Promise<void> | undefined {
		this.at += ENTRY_BYTES;
		if (this.at < this.#used) return undefined;
		return this.load();
	}

	async load(): Promise<void> {
		this.#inLoaded += PAGE_BYTES;
		if (this.#inLoaded >= this.#loaded.length) {
			const count = Math.min(READ_PAGES, this.#segment.trailer.pages - this.#next);
			if (count === 0) {
				this.done = true;
				return;
			}
			this.#loaded = await this.#segment.readPages(this.#next, count);
			this.#next += count;
			this.#inLoaded = 0;
		}
		this.page = this.#loaded.subarray(this.#inLoaded, this.#inLoaded + PAGE_BYTES);
		this.#used = pageCount(this.page) * ENTRY_BYTES;
		this.at = 0;
	}

	/** How little the pack of the entry can be counted on: 0, 1 when it is condemned, 2 when it is gone. */
	get doubt(): number {
		const row = this.page.readUInt32LE(this.at + 32);
		if (this.#segment.gone[row] === 1) return 2;
		return this.condemned.has(this.#segment.packs[row].id) ? 1 : 0;
	}
}

/**
 * Writes the union of `inputs` as segment `id`; entries of packs that are gone and duplicates are dropped. Of duplicates
 * the one stays whose pack is not condemned: the other place will soon be none.
 */
export const mergeSegments = async (
	inputs: Segment[],
	id: string,
	condemned: ReadonlySet<string>,
	sink: (bytes: Buffer) => Promise<void>,
): Promise<void> => {
	const packs: PackRow[] = [];
	const rowOf = new Map<string, number>();
	const cursors: Cursor[] = [];
	for (const { packs: own, gone } of inputs) {
		const rows = own.map((pack, row) => {
			if (gone[row] === 1) return -1;
			if (!rowOf.has(pack.id)) rowOf.set(pack.id, packs.push(pack) - 1);
			return rowOf.get(pack.id)!;
		});
		cursors.push(new Cursor(inputs[cursors.length], rows, condemned));
	}
	await Promise.all(cursors.map((cursor) => cursor.load()));
	const writer = new SegmentWriter(
		id,
		inputs.reduce((sum, { trailer }) => sum + trailer.entries, 0),
		sink,
	);
	const last = Buffer.alloc(ENTRY_BYTES);
	let any = false;
	for (;;) {
		let least: Cursor | undefined;
		for (const cursor of cursors) {
			if (cursor.done) continue;
			const order = least === undefined ? -1 : compareEntries(cursor.page, cursor.at, least.page, least.at);
			if (order < 0 || (order === 0 && cursor.doubt < least!.doubt)) least = cursor;
		}
		if (least === undefined) break;
		if (least.doubt < 2 && !(any && compareEntries(last, 0, least.page, least.at) === 0)) {
			least.page.copy(last, 0, least.at, least.at + ENTRY_BYTES);
			any = true;
			const wait = writer.add(least.page, least.at, least.rows[least.page.readUInt32LE(least.at + 32)]);
			if (wait !== undefined) await wait;
		}
		const wait = least.advance();
		if (wait !== undefined) await wait;
	}
	await writer.finish(packs);
};
