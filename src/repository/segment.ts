/** One index segment, open for lookups: fences, filter and pack rows in memory, entry pages on disk. */
import { xxh3 } from "../../native/index.js";
import { filterMayHave } from "./filter.js";
import { ENTRY_BYTES } from "./identity-table.js";
import { IDENTITY_BYTES } from "./layout.js";
import {
	decodePackRows,
	decodeSegmentTrailer,
	indexPageIsGood,
	PACK_ROW_BYTES,
	PAGE_BYTES,
	type PackRow,
	pageCount,
	SEGMENT_HEADER_BYTES,
	SEGMENT_TRAILER_BYTES,
	type SegmentTrailer,
	segmentHeaderIsGood,
} from "./segment-format.js";

/** Byte ranges of a segment: a file in the store, or memory where the store cannot be written. */
export type SegmentSource = (position: number, length: number) => Promise<Buffer>;

/** A segment that must not be used; it can be rebuilt. */
export class BadSegment extends Error {
	override readonly name = "BadSegment";
}

/** Smallest i in [0, count) with prefix(i) >= the 8 bytes at `offset`, or count. */
const firstNotBelow = (fences: Buffer, count: number, identity: Buffer, offset: number): number => {
	let low = 0;
	let high = count;
	while (low < high) {
		const middle = (low + high) >>> 1;
		if (fences.compare(identity, offset, offset + 8, middle * 8, middle * 8 + 8) < 0) low = middle + 1;
		else high = middle;
	}
	return low;
};

export class Segment {
	private constructor(
		readonly id: string,
		/** bytes of the file */
		readonly size: number,
		readonly trailer: SegmentTrailer,
		readonly packs: PackRow[],
		/** 1 for packs that are gone: their entries count as absent */
		readonly gone: Uint8Array,
		readonly inMemory: boolean,
		private readonly fences: Buffer,
		private readonly filter: Buffer,
		private readonly source: SegmentSource,
	) {}

	/** Reads and verifies everything but the entry pages; rejects with BadSegment. */
	static async open(id: string, size: number, inMemory: boolean, source: SegmentSource): Promise<Segment> {
		const bad = (why: string) => new BadSegment(`index/${id}: ${why}`);
		if (size < SEGMENT_HEADER_BYTES + SEGMENT_TRAILER_BYTES) throw bad("cut short");
		if (!segmentHeaderIsGood(await source(0, SEGMENT_HEADER_BYTES), id)) throw bad("header is damaged");
		const t = decodeSegmentTrailer(await source(size - SEGMENT_TRAILER_BYTES, SEGMENT_TRAILER_BYTES), id, size);
		if (typeof t === "string") throw bad(t);
		const start = SEGMENT_HEADER_BYTES + t.pages * PAGE_BYTES;
		const tables = await source(start, size - SEGMENT_TRAILER_BYTES - start);
		const filterAt = t.pages * 8;
		const rowsAt = filterAt + t.filterBlocks * 64;
		const fences = tables.subarray(0, filterAt);
		const filter = tables.subarray(filterAt, rowsAt);
		const rows = tables.subarray(rowsAt, rowsAt + t.packs * PACK_ROW_BYTES);
		if (xxh3(fences) !== t.fencesChecksum) throw bad("fence table is damaged");
		if (xxh3(filter) !== t.filterChecksum) throw bad("filter is damaged");
		if (xxh3(rows) !== t.packsChecksum) throw bad("pack table is damaged");
		return new Segment(id, size, t, decodePackRows(rows), new Uint8Array(t.packs), inMemory, fences, filter, source);
	}

	/** False: certainly not here. */
	mayHave(identity: Buffer, offset: number): boolean {
		return this.trailer.entries > 0 && filterMayHave(this.filter, identity, offset);
	}

	/** First and last page that could hold the identity; first > last when none. */
	pageRange(identity: Buffer, offset: number): [number, number] {
		const first = firstNotBelow(this.fences, this.trailer.pages, identity, offset);
		let last = first;
		// Pages whose fence equals the prefix may hold it too; there is hardly ever one.
		while (last < this.trailer.pages && this.fences.compare(identity, offset, offset + 8, last * 8, last * 8 + 8) === 0)
			last++;
		return [Math.max(0, first - 1), last - 1];
	}

	/** Consecutive entry pages, verified; rejects with BadSegment. */
	async readPages(first: number, count: number): Promise<Buffer> {
		const bytes = await this.source(SEGMENT_HEADER_BYTES + first * PAGE_BYTES, count * PAGE_BYTES);
		for (let n = 0; n < count; n++) {
			if (!indexPageIsGood(bytes.subarray(n * PAGE_BYTES, (n + 1) * PAGE_BYTES), first + n))
				throw new BadSegment(`index/${this.id}: entry page ${first + n} is damaged`);
		}
		return bytes;
	}
}

/** Position of the entry in a page, or -1. */
export const searchPage = (page: Buffer, identity: Buffer, offset: number, type: number): number => {
	let low = 0;
	let high = pageCount(page);
	while (low < high) {
		const middle = (low + high) >>> 1;
		const at = middle * ENTRY_BYTES;
		const order =
			page.compare(identity, offset, offset + IDENTITY_BYTES, at, at + IDENTITY_BYTES) || page[at + 47] - type;
		if (order === 0) return at;
		if (order < 0) low = middle + 1;
		else high = middle;
	}
	return -1;
};
