/**
 * One inode in memory and as the record of docs/overlay-format.md (log and index alike).
 */
import { Reader, Writer } from "./codec.js";
import type { InodeId, InodeKind } from "./contract.js";
import { SHRINKS_MAX } from "./geometry.js";

export const KINDS: InodeKind[] = ["file", "directory", "symlink", "block", "char", "fifo", "socket"];

export interface Shrink {
	epoch: number;
	size: number;
}

export interface Node {
	id: InodeId;
	kind: InodeKind;
	mode: number;
	nlink: number;
	uid: number;
	gid: number;
	rdevMajor: number;
	rdevMinor: number;
	size: number;
	atime: bigint;
	mtime: bigint;
	ctime: bigint;
	/** −1: none */
	base: number;
	/** the base is visible below this only */
	baseLimit: number;
	/** directories: the one that holds it; the root's is itself */
	parent: InodeId;
	/** directories */
	nextCookie: number;
	/** content bytes in the index at the last checkpoint */
	held: number;
	verifier?: Buffer;
	target?: Buffer;
	shrinks: Shrink[];
}

const FIXED = 112;

export const inodeSize = (node: Node, withTarget: boolean): number =>
	FIXED + 16 * node.shrinks.length + (withTarget ? (node.target?.length ?? 0) : 0);

/** Where `held` is in the record: the checkpoint fills it in when the merge knows it. */
export const HELD_AT = 96;

export const writeInode = (w: Writer, node: Node, withTarget: boolean): void => {
	const target = withTarget ? node.target : undefined;
	w.u64(node.id).u8(KINDS.indexOf(node.kind));
	w.u8(node.verifier ? 1 : 0)
		.u16(node.mode)
		.u32(node.nlink);
	w.u32(node.uid).u32(node.gid).u32(node.rdevMajor).u32(node.rdevMinor).u64(node.size);
	w.big(node.atime).big(node.mtime).big(node.ctime);
	w.i32(node.base)
		.u16(target?.length ?? 0)
		.u16(node.shrinks.length);
	w.u64(node.baseLimit).u64(node.parent).u64(node.nextCookie);
	w.u64(withTarget ? 0 : node.held).bytes(node.verifier ?? Buffer.alloc(8));
	for (const { epoch, size } of node.shrinks) w.u32(epoch).u32(0).u64(size);
	if (target) w.bytes(target);
};

export const readInode = (r: Reader): Node => {
	const id = r.u64();
	const kind = KINDS[r.u8()];
	if (!kind) throw new RangeError("unknown inode kind");
	const flags = r.u8();
	const node: Node = {
		id,
		kind,
		mode: r.u16(),
		nlink: r.u32(),
		uid: r.u32(),
		gid: r.u32(),
		rdevMajor: r.u32(),
		rdevMinor: r.u32(),
		size: r.u64(),
		atime: r.big(),
		mtime: r.big(),
		ctime: r.big(),
		base: r.i32(),
		baseLimit: 0,
		parent: 0,
		nextCookie: 0,
		held: 0,
		shrinks: [],
	};
	const targetLength = r.u16();
	const shrinkCount = r.u16();
	node.baseLimit = r.u64();
	node.parent = r.u64();
	node.nextCookie = r.u64();
	node.held = r.u64();
	const verifier = r.bytes(8);
	if (flags & 1) node.verifier = verifier;
	for (let i = 0; i < shrinkCount; i++) {
		const epoch = r.u32();
		r.u32();
		node.shrinks.push({ epoch, size: r.u64() });
	}
	if (targetLength > 0) node.target = r.bytes(targetLength);
	return node;
};

export const encodeInode = (node: Node, withTarget: boolean): Buffer => {
	const w = new Writer(Buffer.alloc(inodeSize(node, withTarget)));
	writeInode(w, node, withTarget);
	return w.buffer;
};

export const decodeInode = (bytes: Buffer): Node => readInode(new Reader(bytes));

/** Notes that `size` cut something off in `epoch`. Entries that a later, lower one covers go. */
export const noteShrink = (shrinks: Shrink[], epoch: number, size: number): Shrink[] => {
	const low = shrinks.reduce((l, s) => (s.epoch === epoch ? Math.min(l, s.size) : l), size);
	const kept = shrinks.filter((s) => s.epoch < epoch && s.size < low);
	kept.push({ epoch, size: low });
	while (kept.length > SHRINKS_MAX) {
		const [older, newer] = kept.splice(0, 2);
		kept.unshift({ epoch: newer.epoch, size: Math.min(older.size, newer.size) });
	}
	return kept;
};
