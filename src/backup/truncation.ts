/**
 * Finds images that are cut off. QEMU reads what lies past the end of a file as zeros, so a half-copied qcow2 or
 * VMDK would be backed up as a damaged disk without any error. Here the tables are walked before, and every
 * cluster they name must begin inside of the file. (It may end outside: the last one often does.)
 */
import type { Lane } from "../../native/index.js";
import { SourceError } from "./errors.js";
import type { SourceFile } from "./source-files.js";

/** Table bytes read at once. */
const PIECE = 1024 * 1024;
/** QEMU's own limits: 32 MiB of L1 table (32 MiB of grain directory is beyond what QEMU opens). */
const MAX_TABLE = 32 * 1024 * 1024;

export interface Qcow2Tables {
	clusterBits: number;
	l1Offset: number;
	/** entries */
	l1Size: number;
	extendedL2: boolean;
}

/** `data`: the file that clusters lie in, the image itself unless it has a data file. Rejects with SourceError. */
export async function checkQcow2(lane: Lane, file: SourceFile, data: SourceFile, tables: Qcow2Tables): Promise<void> {
	const clusterSize = 2 ** tables.clusterBits;
	const l1Bytes = tables.l1Size * 8;
	if (l1Bytes > MAX_TABLE) throw new SourceError("SOURCE", `${file.path}: qcow2 header with an impossible table`);
	const step = tables.extendedL2 ? 16 : 8;
	const compressedShift = 62 - (tables.clusterBits - 8);
	const compressedHighMask = 2 ** (compressedShift - 32) - 1;
	await eachPiece(lane, file, tables.l1Offset, l1Bytes, async (l1) => {
		for (let i = 0; i < l1.length; i += 8) {
			const l2 = hostOffset(l1, i);
			if (l2 === 0) continue;
			await eachPiece(lane, file, l2, clusterSize, (table) => {
				for (let k = 0; k < table.length; k += step) {
					const high = table.readUInt32BE(k);
					const compressed = (high & 0x40000000) !== 0;
					const at = compressed
						? (high & compressedHighMask) * 2 ** 32 + table.readUInt32BE(k + 4)
						: hostOffset(table, k);
					if (at === 0 || at < (compressed ? file : data).size) continue;
					// A cluster may have a place and yet be defined as zeros; nobody reads it then.
					const unread = tables.extendedL2 ? table.readUInt32BE(k + 12) === 0 : (table[k + 7] & 1) !== 0;
					if (compressed || !unread) throw cutOff(compressed ? file : data, at);
				}
			});
		}
	});
}

/** Bits 9 to 55 of a table entry. */
const hostOffset = (table: Buffer, at: number): number =>
	(table.readUInt32BE(at) & 0xffffff) * 2 ** 32 + ((table.readUInt32BE(at + 4) & 0xfffffe00) >>> 0);

const SECTOR = 512;
const GRAIN_TABLE_ENTRIES = 512;
/** gdOffset of a streamOptimized disk: the directory's place is in the footer, and QEMU demands that one. */
const AT_END = 0xffffffffffffffffn;

/** `header`: the first sector of a hosted sparse extent. Rejects with SourceError. */
export async function checkSparseExtent(lane: Lane, file: SourceFile, header: Buffer): Promise<void> {
	const directory = header.readBigUInt64LE(56);
	if (directory === AT_END) return;
	const capacity = Number(header.readBigUInt64LE(12));
	const grain = Number(header.readBigUInt64LE(20));
	const tables = Math.ceil(capacity / (grain * GRAIN_TABLE_ENTRIES));
	if (!(tables * 4 <= MAX_TABLE) || header.readUInt32LE(44) !== GRAIN_TABLE_ENTRIES)
		throw new SourceError("SOURCE", `${file.path}: VMDK header with impossible tables`);
	await eachPiece(lane, file, Number(directory) * SECTOR, tables * 4, async (list) => {
		for (let i = 0; i < list.length; i += 4) {
			const place = list.readUInt32LE(i) * SECTOR;
			if (place === 0) continue;
			await eachPiece(lane, file, place, GRAIN_TABLE_ENTRIES * 4, (table) => {
				for (let k = 0; k < table.length; k += 4) {
					const at = table.readUInt32LE(k) * SECTOR;
					// 0: not allocated; 1: zeros
					if (at > SECTOR && at >= file.size) throw cutOff(file, at);
				}
			});
		}
	});
}

const cutOff = (file: SourceFile, at: number): SourceError =>
	new SourceError("SOURCE", `${file.path}: is cut off: it has ${file.size} bytes but names data at offset ${at}`);

async function eachPiece(
	lane: Lane,
	file: SourceFile,
	offset: number,
	length: number,
	visit: (bytes: Buffer) => void | Promise<void>,
): Promise<void> {
	for (let at = 0; at < length; at += PIECE) {
		const bytes = Buffer.allocUnsafe(Math.min(PIECE, length - at));
		if (!(offset + at + bytes.length <= file.size)) throw cutOff(file, offset + at);
		const count = await lane.pread(file.fd, bytes, offset + at);
		if (count !== bytes.length) throw cutOff(file, offset + at);
		await visit(bytes);
	}
}
