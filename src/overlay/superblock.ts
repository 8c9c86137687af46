/**
 * The two superblocks of `index` (docs/overlay-format.md, "Superblock").
 */
import { sys, xxh3 } from "../../native/index.js";
import { Reader, Writer } from "./codec.js";
import { corrupt } from "./errors.js";
import { SUPERBLOCK } from "./geometry.js";
import type { PageRef } from "./page.js";
import type { Root } from "./tree.js";

const MAGIC = 0x31584253; // "SBX1"
const FIXED = 144;

export interface Superblock {
	uuid: Buffer;
	checkpoint: number;
	generation: number;
	/** the session was closed, nothing follows in the log */
	clean: boolean;
	root: Root;
	epoch: number;
	/** log position where replay starts, and the sequence expected there */
	position: number;
	sequence: number;
	nextInode: number;
	nextRequest: number;
	clock: bigint;
	lastWrite: bigint;
	/** segments the log uses from `position` on */
	plan: number[];
	/** per free map page; undefined where every page is free */
	maps: (PageRef | undefined)[];
	/** pages in `index` */
	pages: number;
	/** segments in `log` */
	segments: number;
}

export const superblockArea = (checkpoint: number): number => (checkpoint % 2) * SUPERBLOCK;

export const encodeSuperblock = (s: Superblock, secret: bigint): Buffer => {
	const length = FIXED + 8 * s.plan.length + 16 * s.maps.length + 8;
	if (length > SUPERBLOCK) throw new RangeError("the index has outgrown its superblock");
	const w = new Writer(Buffer.alloc(length));
	w.u32(MAGIC)
		.u32(length)
		.bytes(s.uuid)
		.u64(s.checkpoint)
		.u64(s.generation)
		.u64(s.clean ? 1 : 0);
	w.u64(s.root.ref.page).hash(s.root.ref.checksum).u32(s.root.levels).u32(s.epoch);
	w.u64(s.position).u64(s.sequence).u64(s.nextInode).u64(s.nextRequest);
	w.big(s.clock).big(s.lastWrite).u32(s.plan.length).u32(s.maps.length).u64(s.pages).u64(s.segments);
	for (const segment of s.plan) w.u64(segment);
	for (const map of s.maps) w.u64(map?.page ?? 0).hash(map?.checksum ?? 0n);
	w.hash(xxh3(w.buffer.subarray(0, w.at), secret));
	return w.buffer;
};

const decodeSuperblock = (area: Buffer, secret: bigint): Superblock | undefined => {
	if (area.length < FIXED || area.readUInt32LE(0) !== MAGIC) return undefined;
	const length = area.readUInt32LE(4);
	if (length < FIXED + 8 || length > area.length) return undefined;
	if (xxh3(area.subarray(0, length - 8), secret) !== area.readBigUInt64LE(length - 8)) return undefined;
	const r = new Reader(area, 8);
	const uuid = r.bytes(16);
	const checkpoint = r.u64();
	const generation = r.u64();
	const clean = r.u64() === 1;
	const ref = { page: r.u64(), checksum: r.hash() };
	const root = { ref, levels: r.u32() };
	const epoch = r.u32();
	const position = r.u64();
	const sequence = r.u64();
	const nextInode = r.u64();
	const nextRequest = r.u64();
	const clock = r.big();
	const lastWrite = r.big();
	const planLength = r.u32();
	const mapLength = r.u32();
	const pages = r.u64();
	const segments = r.u64();
	const plan = Array.from({ length: planLength }, () => r.u64());
	const maps = Array.from({ length: mapLength }, () => {
		const map = { page: r.u64(), checksum: r.hash() };
		return map.page === 0 ? undefined : map;
	});
	return {
		uuid,
		checkpoint,
		generation,
		clean,
		root,
		epoch,
		position,
		sequence,
		nextInode,
		nextRequest,
		clock,
		lastWrite,
		plan,
		maps,
		pages,
		segments,
	};
};

/** The newest valid superblock; throws ECORRUPT when there is none of this session. */
export const readSuperblock = (fd: number, path: string, uuid: Buffer, secret: bigint): Superblock => {
	let newest: Superblock | undefined;
	for (const at of [0, SUPERBLOCK]) {
		const area = Buffer.alloc(SUPERBLOCK);
		const got = sys.pread(fd, area, at);
		const found = decodeSuperblock(area.subarray(0, got), secret);
		if (found?.uuid.equals(uuid) && (!newest || found.checkpoint > newest.checkpoint)) newest = found;
	}
	if (!newest) throw corrupt(path, 0, "no valid superblock");
	return newest;
};
