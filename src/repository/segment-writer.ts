/** Writes one index segment from entries that arrive in order; memory is the filter, the fences and one buffer. */
import { xxh3 } from "../../native/index.js";
import { addToFilter, emptyFilter } from "./filter.js";
import { compareEntries, ENTRY_BYTES, sortEntries } from "./identity-table.js";
import {
	ENTRIES_PER_PAGE,
	encodePackRows,
	encodeSegmentHeader,
	encodeSegmentTrailer,
	finishIndexPage,
	PAGE_BYTES,
	type PackRow,
} from "./segment-format.js";

const BUFFER_PAGES = 64;
/** Of an entry's identity, in the fence table. */
const FENCE_BYTES = 8;

/** Where a segment's bytes go: an Upload, or memory. */
export type SegmentSink = (bytes: Buffer) => Promise<void>;

export class SegmentWriter {
	readonly #segment: string;
	readonly #sink: SegmentSink;
	readonly #filter: Buffer;
	readonly #fences: Buffer;
	#buffer = Buffer.alloc(BUFFER_PAGES * PAGE_BYTES);
	#inBuffer = 0;
	#inPage = 0;
	#pages = 0;
	#entries = 0;
	#rawBytes = 0;
	#recordBytes = 0;
	#started = false;

	/** `atMost` bounds the number of entries: it sizes the filter and the fence table. */
	constructor(segment: string, atMost: number, sink: SegmentSink) {
		this.#segment = segment;
		this.#sink = sink;
		this.#filter = emptyFilter(atMost);
		this.#fences = Buffer.alloc(Math.ceil(atMost / ENTRIES_PER_PAGE) * FENCE_BYTES);
	}

	/** Takes the entry at `offset`, its pack column set to `pack`; returns a promise only when a buffer is full. */
	add(entries: Buffer, offset: number, pack: number): Promise<void> | undefined {
		const at = this.#inBuffer * PAGE_BYTES + this.#inPage * ENTRY_BYTES;
		entries.copy(this.#buffer, at, offset, offset + ENTRY_BYTES);
		this.#buffer.writeUInt32LE(pack, at + 32);
		if (this.#inPage === 0) entries.copy(this.#fences, this.#pages * FENCE_BYTES, offset, offset + FENCE_BYTES);
		addToFilter(this.#filter, entries, offset);
		if (entries[offset + 47] === 1) this.#rawBytes += entries.readUInt32LE(offset + 44) & 0xffffff;
		this.#recordBytes += entries.readUInt32LE(offset + 40);
		this.#entries += 1;
		this.#inPage += 1;
		if (this.#inPage < ENTRIES_PER_PAGE) return undefined;
		this.#endPage();
		return this.#inBuffer === BUFFER_PAGES ? this.#flush() : undefined;
	}

	#endPage(): void {
		const start = this.#inBuffer * PAGE_BYTES;
		finishIndexPage(this.#buffer.subarray(start, start + PAGE_BYTES), this.#inPage, this.#pages);
		this.#pages += 1;
		this.#inBuffer += 1;
		this.#inPage = 0;
	}

	async #flush(): Promise<void> {
		if (!this.#started) {
			this.#started = true;
			await this.#sink(encodeSegmentHeader(this.#segment));
		}
		await this.#sink(this.#buffer.subarray(0, this.#inBuffer * PAGE_BYTES));
		this.#inBuffer = 0;
	}

	/** Writes what is left; the sink then has the whole file. */
	async finish(packs: PackRow[]): Promise<void> {
		if (this.#inPage > 0) this.#endPage();
		await this.#flush();
		const fences = this.#fences.subarray(0, this.#pages * FENCE_BYTES);
		const rows = encodePackRows(packs);
		const trailer = encodeSegmentTrailer(this.#segment, {
			entries: this.#entries,
			pages: this.#pages,
			filterBlocks: this.#filter.length / 64,
			packs: packs.length,
			rawBytes: this.#rawBytes,
			recordBytes: this.#recordBytes,
			fencesChecksum: xxh3(fences),
			filterChecksum: xxh3(this.#filter),
			packsChecksum: xxh3(rows),
		});
		// One after the other: together they would be in memory twice.
		if (fences.length > 0) await this.#sink(fences);
		await this.#sink(this.#filter);
		await this.#sink(Buffer.concat([rows, trailer]));
	}
}

/** Writes segment `id` of `count` unsorted entries whose pack column is a row of `packs`. */
export const writeSegment = async (
	id: string,
	entries: Buffer,
	count: number,
	packs: PackRow[],
	sink: (bytes: Buffer) => Promise<void>,
): Promise<void> => {
	const writer = new SegmentWriter(id, count, sink);
	const sorted = sortEntries(entries, count);
	for (let at = 0; at < sorted.length; at += ENTRY_BYTES) {
		// Two packs may have the same record; a segment names one place of each.
		if (at > 0 && compareEntries(sorted, at - ENTRY_BYTES, sorted, at) === 0) continue;
		const wait = writer.add(sorted, at, sorted.readUInt32LE(at + 32));
		if (wait !== undefined) await wait;
	}
	await writer.finish(packs);
};
