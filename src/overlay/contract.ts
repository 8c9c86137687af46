/**
 * What a session is to the rooms above: a durable tree of inodes whose file contents may lie over a read-only
 * base Image. Data and namespace share one segment log (docs/overlay-format.md). Operations that change
 * something resolve only when they would survive a power loss, except `write` with `stable: false`, which
 * resolves when they would survive `kill -9`.
 *
 * Names are byte strings (latin1), as in vfs/.
 */
import type { Extent, Image, Loan } from "../image/image.js";
import type { OverlayMemory } from "./memory.js";

export type InodeId = number; // 1 is the root; monotonic, never reused; below 2^48

export type InodeKind = "file" | "directory" | "symlink" | "block" | "char" | "fifo" | "socket";

export interface Inode {
	id: InodeId;
	kind: InodeKind;
	mode: number;
	nlink: number;
	uid: number;
	gid: number;
	/** bytes */
	size: number;
	/** allocated bytes: what the overlay holds plus, for a file over a base, the base's data still visible */
	used: number;
	rdevMajor: number;
	rdevMinor: number;
	/** ns since the epoch; ctime is strictly monotonic per session across restarts and clock steps */
	atime: bigint;
	mtime: bigint;
	ctime: bigint;
	/** exclusive-create verifier while no SETATTR has replaced it */
	verifier?: Buffer;
	/** symlinks */
	target?: Buffer;
	/** index into the session's bases, for disk files */
	base?: number;
}

export interface DirEntry {
	name: string;
	id: InodeId;
	/** above 2, monotonic, never reused in its directory */
	cookie: bigint;
}

export interface InodeChange {
	mode?: number;
	uid?: number;
	gid?: number;
	size?: number;
	atime?: bigint | "now";
	mtime?: bigint | "now";
}

/** State right before an operation, for weak cache consistency. */
export interface Prior {
	size: number;
	mtime: bigint;
	ctime: bigint;
}

export type OverlayErrorCode =
	| "ENOENT"
	| "EEXIST"
	| "ENOTDIR"
	| "EISDIR"
	| "ENOTEMPTY"
	| "EINVAL"
	| "ENOSPC"
	| "EIO"
	| "EFBIG"
	| "EMLINK"
	| "ESTALE"
	| "ENAMETOOLONG"
	/** session files that do not parse; `message` names file and position */
	| "ECORRUPT";

export class OverlayError extends Error {
	override readonly name = "OverlayError";
	constructor(
		readonly code: OverlayErrorCode,
		message: string,
		options?: ErrorOptions,
	) {
		super(message, options);
	}
}

/**
 * Result of a non-idempotent request, stored with its effect so that a replay after a restart gets the same
 * answer. `key` is opaque (16 bytes, latin1); `reply` is opaque to the overlay.
 */
export interface RequestRecord {
	key: string;
	reply: Buffer;
}

export interface CreateSpec {
	kind: InodeKind;
	mode: number;
	uid: number;
	gid: number;
	verifier?: Buffer;
	target?: Buffer;
	rdevMajor?: number;
	rdevMinor?: number;
	/** initial size (sparse) */
	size?: number;
}

/** One disk: the base it lies over and the size it presents (at least the base's; the rest reads as zeros). */
export interface BaseDisk {
	base: Image;
	/** presented size in bytes */
	size: number;
	/** bytes of data in the base, when that is known: for `used` */
	allocated?: number;
}

/** A file or directory put into a new session before it is first served. */
export interface SeedEntry {
	/** path parts below the root */
	path: string[];
	kind: "file" | "directory";
	mode: number;
	/** small content for synthesized files */
	content?: Buffer;
	/** index into bases, for disk files */
	base?: number;
}

export interface CreateSessionOptions {
	/** existing empty directory of this session */
	directory: string;
	/** 16 bytes */
	uuid: Buffer;
	bases: BaseDisk[];
	seed: SeedEntry[];
	uid: number;
	gid: number;
	/** injected clock, ns since the epoch */
	now: () => bigint;
	/** bytes of a segment, filled with zeros ahead; default 16 MiB; fixed when the session is made */
	segmentBytes?: number;
	/** bytes of free space kept for remove, truncate and compaction; default 128 MiB */
	reserveBytes?: number;
	/** what this session and others keep in memory; default: `cacheBytes` of its own */
	memory?: OverlayMemory;
	/** bytes each of content and of index kept in memory; default 32 MiB */
	cacheBytes?: number;
}

export interface OpenSessionOptions {
	directory: string;
	/** in the order given at creation */
	bases: BaseDisk[];
	now: () => bigint;
	/** ignored: a session keeps the size it was made with */
	segmentBytes?: number;
	reserveBytes?: number;
	memory?: OverlayMemory;
	cacheBytes?: number;
}

/** A read-only view of one file at an epoch, and what changed since an earlier epoch. */
export interface EpochSnapshot {
	epoch: number;
	image: Image;
	/** extents of the file written since `epoch` (exclusive), sorted, merged */
	changedSince(epoch: number): Extent[];
	/** The same of a range only: for those who must not wait, nor hold all of it. */
	changes(since: number, offset: number, length: number): Extent[] | Promise<Extent[]>;
	release(): Promise<void>;
}

export interface SessionUsage {
	/** bytes of session files on disk */
	diskBytes: number;
	/** live data bytes held by the overlay */
	liveBytes: number;
	/** ns; 0n when nothing was ever written by a client */
	lastWrite: bigint;
	/** free bytes of the file system under the session, reserve subtracted */
	freeBytes: number;
	totalBytes: number;
	failed: boolean;
	/** why, one line */
	failure?: string;
}

export interface SessionTree {
	readonly uuid: Buffer;
	/** 8 bytes; new at every open and after every failed sync */
	readonly writeVerifier: Buffer;
	readonly root: InodeId;

	/** undefined: no such inode (removed) */
	inode(id: InodeId): Inode | undefined;
	lookup(directory: InodeId, name: string): InodeId | undefined;
	parent(directory: InodeId): InodeId;
	/** at most `limit` entries with a cookie above `after`, in cookie order */
	list(directory: InodeId, after: bigint, limit: number): { entries: DirEntry[]; end: boolean };
	/** A stored result of an earlier request with this key, also from before a restart. */
	request(key: string): Buffer | undefined;

	create(directory: InodeId, name: string, spec: CreateSpec, request?: RequestRecord): Promise<Inode>;
	remove(directory: InodeId, name: string, request?: RequestRecord): Promise<void>;
	removeDirectory(directory: InodeId, name: string, request?: RequestRecord): Promise<void>;
	/** POSIX rename, replacing a compatible target; renaming a hard link onto its twin does nothing */
	rename(from: InodeId, name: string, to: InodeId, toName: string, request?: RequestRecord): Promise<void>;
	link(id: InodeId, directory: InodeId, name: string, request?: RequestRecord): Promise<void>;
	/** Size changes of files included; clears a stored create verifier. */
	change(id: InodeId, change: InodeChange, request?: RequestRecord): Promise<void>;

	/** Fills `target`; past the end is zeros are the caller's business (it clips to size). */
	read(id: InodeId, offset: number, target: Buffer): void | Promise<void>;
	/** As Image.borrow. */
	borrow(id: InodeId, offset: number, length: number): Loan[] | undefined;
	write(id: InodeId, offset: number, data: Buffer, stable: boolean): Promise<{ before: Prior }>;
	/** As a write of `length` zeros, at a cost that does not depend on how many they are. */
	zero(id: InodeId, offset: number, length: number, stable: boolean): Promise<void>;
	commit(id: InodeId): Promise<void>;
	extents(id: InodeId, offset: number, length: number): Extent[] | Promise<Extent[]>;
	/** Extents of a range written since an epoch (exclusive; 0: ever), sorted, merged, as of now. */
	changes(id: InodeId, since: number, offset: number, length: number): Extent[] | Promise<Extent[]>;
	snapshot(id: InodeId): Promise<EpochSnapshot>;
	/** Several files at one moment; each is released by itself. */
	snapshots(ids: InodeId[]): Promise<EpochSnapshot[]>;
	usage(): SessionUsage;
	/** Has `observer` told how long each sync of the log took, the write that it belongs to included. */
	observeSyncs?(observer: (milliseconds: number) => void): void;
	/** Syncs, checkpoints and closes; the session can be opened again. */
	close(): Promise<void>;
}
