/** Bytes of an index segment (docs/format.md, 8). */
import { xxh3 } from "../../native/index.js";
import { ENTRY_BYTES } from "./identity-table.js";

export const SEGMENT_HEADER_BYTES = 32;
export const SEGMENT_TRAILER_BYTES = 128;
export const PAGE_BYTES = 4096;
export const ENTRIES_PER_PAGE = 85;
export const PACK_ROW_BYTES = 32;

const HEADER_MAGIC = Buffer.from("SBINDEX1");
const TRAILER_MAGIC = Buffer.from("SBIXEND1");

/** A pack as a segment knows it. */
export interface PackRow {
	id: string;
	/** bytes of the file */
	size: number;
}

export interface SegmentTrailer {
	entries: number;
	pages: number;
	filterBlocks: number;
	packs: number;
	/** sum of raw lengths of data blocks, bytes */
	rawBytes: number;
	/** sum of record lengths, bytes */
	recordBytes: number;
	fencesChecksum: bigint;
	filterChecksum: bigint;
	packsChecksum: bigint;
}

export const encodeSegmentHeader = (segment: string): Buffer => {
	const bytes = Buffer.alloc(SEGMENT_HEADER_BYTES);
	HEADER_MAGIC.copy(bytes);
	bytes.write(segment, 8, "hex");
	bytes.writeBigUInt64LE(xxh3(bytes.subarray(0, 24)), 24);
	return bytes;
};

export const segmentHeaderIsGood = (bytes: Buffer, segment: string): boolean =>
	bytes.equals(encodeSegmentHeader(segment));

/** Completes a page in place; entries are already there. */
export const finishIndexPage = (page: Buffer, used: number, number: number): void => {
	page.fill(0, used * ENTRY_BYTES, ENTRIES_PER_PAGE * ENTRY_BYTES);
	page.writeUInt32LE(used, 4080);
	page.writeUInt32LE(number, 4084);
	page.writeBigUInt64LE(xxh3(page.subarray(0, 4088)), 4088);
};

export const indexPageIsGood = (page: Buffer, number: number): boolean =>
	page.length === PAGE_BYTES &&
	page.readUInt32LE(4084) === number &&
	page.readUInt32LE(4080) <= ENTRIES_PER_PAGE &&
	page.readBigUInt64LE(4088) === xxh3(page.subarray(0, 4088));

/** Entries used in a page. */
export const pageCount = (page: Buffer): number => page.readUInt32LE(4080);

export const encodePackRows = (rows: PackRow[]): Buffer => {
	const bytes = Buffer.alloc(rows.length * PACK_ROW_BYTES);
	rows.forEach(({ id, size }, n) => {
		bytes.write(id, n * PACK_ROW_BYTES, "hex");
		bytes.writeBigUInt64LE(BigInt(size), n * PACK_ROW_BYTES + 16);
	});
	return bytes;
};

export const decodePackRows = (bytes: Buffer): PackRow[] => {
	const rows: PackRow[] = [];
	for (let at = 0; at < bytes.length; at += PACK_ROW_BYTES)
		rows.push({ id: bytes.toString("hex", at, at + 16), size: Number(bytes.readBigUInt64LE(at + 16)) });
	return rows;
};

export const encodeSegmentTrailer = (segment: string, t: SegmentTrailer): Buffer => {
	const bytes = Buffer.alloc(SEGMENT_TRAILER_BYTES);
	TRAILER_MAGIC.copy(bytes);
	bytes.writeBigUInt64LE(BigInt(t.entries), 8);
	bytes.writeUInt32LE(t.pages, 16);
	bytes.writeUInt32LE(t.filterBlocks, 20);
	bytes.writeUInt32LE(t.packs, 24);
	bytes.writeUInt32LE(PAGE_BYTES, 28);
	bytes.writeBigUInt64LE(BigInt(t.rawBytes), 32);
	bytes.writeBigUInt64LE(BigInt(t.recordBytes), 40);
	bytes.writeBigUInt64LE(t.fencesChecksum, 48);
	bytes.writeBigUInt64LE(t.filterChecksum, 56);
	bytes.writeBigUInt64LE(t.packsChecksum, 64);
	bytes.write(segment, 72, "hex");
	bytes.writeBigUInt64LE(xxh3(bytes.subarray(0, 120)), 120);
	return bytes;
};

/** Verifies and parses the trailer of a segment file of `size` bytes; a string says what is wrong. */
export const decodeSegmentTrailer = (bytes: Buffer, segment: string, size: number): SegmentTrailer | string => {
	if (bytes.length !== SEGMENT_TRAILER_BYTES || bytes.compare(TRAILER_MAGIC, 0, 8, 0, 8) !== 0) return "cut short";
	if (bytes.readBigUInt64LE(120) !== xxh3(bytes.subarray(0, 120))) return "trailer checksum differs";
	if (bytes.toString("hex", 72, 88) !== segment) return "holds another segment";
	const t: SegmentTrailer = {
		entries: Number(bytes.readBigUInt64LE(8)),
		pages: bytes.readUInt32LE(16),
		filterBlocks: bytes.readUInt32LE(20),
		packs: bytes.readUInt32LE(24),
		rawBytes: Number(bytes.readBigUInt64LE(32)),
		recordBytes: Number(bytes.readBigUInt64LE(40)),
		fencesChecksum: bytes.readBigUInt64LE(48),
		filterChecksum: bytes.readBigUInt64LE(56),
		packsChecksum: bytes.readBigUInt64LE(64),
	};
	const expected =
		SEGMENT_HEADER_BYTES +
		t.pages * (PAGE_BYTES + 8) +
		t.filterBlocks * 64 +
		t.packs * PACK_ROW_BYTES +
		SEGMENT_TRAILER_BYTES;
	if (expected !== size || bytes.readUInt32LE(28) !== PAGE_BYTES) return "size differs from its trailer";
	if (t.pages !== Math.ceil(t.entries / ENTRIES_PER_PAGE)) return "entry count is wrong";
	return t;
};
