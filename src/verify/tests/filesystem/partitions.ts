/**
 * Where the partitions of a disk are: GPT (UEFI specification, chapter 5) and MBR with logical partitions. What a table
 * says is not trusted: what lies beyond the disk is a damaged table.
 */
import type { Image } from "../../../image/index.js";
import { TestFailure } from "../contract.js";

export interface Partition {
	number: number;
	/** bytes */
	offset: number;
	size: number;
	/** GPT: GUID in lower case; MBR: "83" */
	type: string;
}

const SECTOR = 512;
const EXTENDED = new Set([0x05, 0x0f, 0x85]);
const PROTECTIVE = 0xee;
const MAX_PARTITIONS = 256;

/** Undefined: the disk has no partition table. Rejects with TestFailure, fault "file-system", when a table is damaged. */
export const readPartitions = async (disk: Image): Promise<Partition[] | undefined> => {
	if (disk.size < 2 * SECTOR) return undefined;
	const first = await bytesAt(disk, 0, SECTOR);
	if (first.readUInt16LE(510) !== 0xaa55) return undefined;
	const entries = mbrEntries(first);
	if (entries.some(({ type }) => type === PROTECTIVE)) return readGpt(disk);
	// A boot sector of a file system has the same mark, and code or text where the table would be.
	if (entries.length === 0 || !looksLikeTable(first)) return undefined;
	const list: Partition[] = [];
	for (const { index, type, start, count } of entries) {
		if (EXTENDED.has(type)) list.push(...(await logical(disk, start)));
		else
			list.push({
				number: index + 1,
				offset: start * SECTOR,
				size: count * SECTOR,
				type: type.toString(16).padStart(2, "0"),
			});
	}
	return checked(disk, list);
};

interface MbrEntry {
	index: number;
	type: number;
	/** sectors */
	start: number;
	count: number;
}

const mbrEntries = (sector: Buffer): MbrEntry[] =>
	[0, 1, 2, 3]
		.map((index) => {
			const at = 446 + index * 16;
			return { index, type: sector[at + 4], start: sector.readUInt32LE(at + 8), count: sector.readUInt32LE(at + 12) };
		})
		.filter(({ type, count }) => type !== 0 && count > 0);

/** The boot flag of an entry is 0 or 0x80. */
const looksLikeTable = (sector: Buffer): boolean => [446, 462, 478, 494].every((at) => (sector[at] & 0x7f) === 0);

/** A chain of tables, each with one partition and a link; both relative. */
const logical = async (disk: Image, extended: number): Promise<Partition[]> => {
	const list: Partition[] = [];
	const seen = new Set<number>();
	for (let at = extended; !seen.has(at) && list.length < MAX_PARTITIONS; ) {
		seen.add(at);
		if ((at + 1) * SECTOR > disk.size) throw damaged("a logical partition lies beyond the end of the disk");
		const sector = await bytesAt(disk, at * SECTOR, SECTOR);
		if (sector.readUInt16LE(510) !== 0xaa55) throw damaged("the chain of logical partitions is broken");
		const entries = mbrEntries(sector);
		const own = entries.find(({ type }) => !EXTENDED.has(type));
		if (own !== undefined)
			list.push({
				number: 5 + list.length,
				offset: (at + own.start) * SECTOR,
				size: own.count * SECTOR,
				type: own.type.toString(16).padStart(2, "0"),
			});
		const next = entries.find(({ type }) => EXTENDED.has(type));
		if (next === undefined) break;
		at = extended + next.start;
	}
	return list;
};

const readGpt = async (disk: Image): Promise<Partition[]> => {
	for (const sector of [512, 4096]) {
		if (disk.size < 2 * sector) continue;
		// The first header, or the copy in the last sector.
		for (const at of [sector, disk.size - sector]) {
			const header = await bytesAt(disk, at, SECTOR);
			if (header.toString("latin1", 0, 8) !== "EFI PART") continue;
			const table = Number(header.readBigUInt64LE(72)) * sector;
			const count = header.readUInt32LE(80);
			const length = header.readUInt32LE(84);
			if (length < 128 || length > 4096 || count > 4096 || table + count * length > disk.size) continue;
			const entries = await bytesAt(disk, table, count * length);
			const list: Partition[] = [];
			for (let i = 0; i < count; i++) {
				const entry = entries.subarray(i * length, (i + 1) * length);
				const type = guid(entry);
				if (type === NONE) continue;
				const begin = Number(entry.readBigUInt64LE(32));
				const last = Number(entry.readBigUInt64LE(40));
				list.push({ number: i + 1, offset: begin * sector, size: (last - begin + 1) * sector, type });
			}
			return checked(disk, list);
		}
	}
	throw damaged("the GUID partition table is gone: neither header can be read");
};

const checked = (disk: Image, list: Partition[]): Partition[] => {
	for (const { number, offset, size } of list)
		if (!Number.isSafeInteger(offset + size) || size <= 0 || offset + size > disk.size)
			throw damaged(`partition ${number} lies beyond the end of the disk`);
	return list;
};

const damaged = (what: string): TestFailure =>
	new TestFailure(`the partition table is damaged: ${what}`, { fault: "file-system" });

const NONE = "00000000-0000-0000-0000-000000000000";

/** The first three fields of a GUID are little endian on disk. */
const guid = (bytes: Buffer): string => {
	const field = (...order: number[]) => order.map((i) => bytes[i].toString(16).padStart(2, "0")).join("");
	return [field(3, 2, 1, 0), field(5, 4), field(7, 6), field(8, 9), field(10, 11, 12, 13, 14, 15)].join("-");
};

const bytesAt = async (disk: Image, offset: number, length: number): Promise<Buffer> => {
	const bytes = Buffer.alloc(length);
	await disk.read(offset, bytes);
	return bytes;
};
