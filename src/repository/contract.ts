/**
 * What the repository is to the rooms above. On-disk truth: docs/format.md.
 */
import type { Image } from "../image/image.js";
import type { Hold } from "./holds.js";
import type { RetentionPolicy } from "./retention.js";

export type { Hold, RetentionPolicy };

/** How the guest's data was at the moment of the snapshot; never overstated. */
export type Consistency = "application" | "filesystem" | "crash" | "unknown";

export interface PointDisk {
	/** name within the VM, e.g. "disk0"; letters, digits, ".", "_", "-" */
	name: string;
	/** exact bytes of the source disk */
	size: number;
	/** names all of its content: two disks with the same one hold the same; null: nothing but zeros */
	identity: string | null;
}

/** A restore point: always a full. */
export interface Point {
	/** 32 hex digits */
	id: string;
	vm: string;
	/** UTC, ISO 8601, seconds precision: "2026-11-21T01:02:03Z" */
	time: string;
	disks: PointDisk[];
	consistency: Consistency;
	/** bytes added to the repository by this point (records stored) */
	size_new: number;
	/** id of the VM's previous point at backup time, or null */
	parent: string | null;
	/** neutral VM configuration (opaque JSON here; vm/ owns its shape), or null */
	config: unknown;
	/** names and sizes of stored extra files (.vmx, nvram, domain XML); read by Repository.extraFile */
	files: { name: string; size: number }[];
	/** free-form facts recorded by the flow: source kinds, guesses, tool versions */
	facts: Record<string, unknown>;
	/** words given at backup, for retention by tag */
	tags: string[];
}

export interface DiskResult {
	name: string;
	/** bytes of the disk */
	size: number;
	/** bytes read from the source */
	read: number;
	/** plain bytes of blocks that were not in the repository before */
	new: number;
	/** bytes added to packs for them */
	stored: number;
}

/** Errors that a user can act on: print `message` and exit. */
export class RepositoryError extends Error {
	override readonly name = "RepositoryError";
	constructor(
		readonly code:
			| "NOT_FOUND"
			| "NOT_A_REPOSITORY"
			| "EXISTS"
			| "UNKNOWN_POINT"
			| "UNKNOWN_VM"
			| "AMBIGUOUS"
			| "NEWER_FORMAT"
			| "DAMAGED"
			| "LOCKED"
			| "NO_SPACE"
			| "READ_ONLY"
			| "SOURCE"
			| "INTERRUPTED"
			| "IO"
			| "ENCRYPTED"
			| "WRONG_KEY"
			| "UNSUPPORTED",
		message: string,
		options?: ErrorOptions,
	) {
		super(message, options);
	}
}

export interface Progress {
	/** bytes of the work done and, when known, of the whole */
	done: number;
	total: number;
	/** e.g. "disk0" */
	what: string;
	/** what is counted; bytes unless said */
	unit?: "bytes" | "items";
}

/** What a change tracker knows of a disk. Outside of `extents` the disk is what it was in `since`, byte for byte. */
export interface ChangedSince {
	/** id of a restore point that has a disk of this name */
	since: string;
	/** bytes, in any order; may reach beyond the end of the disk */
	extents: readonly { offset: number; length: number }[];
}

/** One disk to store. The writer reads only the data extents of the Image, and only where it changed, if that is known. */
export interface DiskSource {
	name: string;
	image: Image;
	changed?: ChangedSince;
}

export interface BackupRequest {
	vm: string;
	disks: DiskSource[];
	config: unknown;
	files: { name: string; content: Buffer }[];
	consistency: Consistency;
	facts: Record<string, unknown>;
	/** letters, digits, ".", "_", ":", "+", "-" */
	tags?: string[];
	/** injected clock */
	now: () => Date;
	progress?: (p: Progress) => void;
	signal?: AbortSignal;
	/** "none", "lz4", "zstd" or "zstd:LEVEL"; default: the repository's */
	compression?: string;
}

/** Part of every pack: records that begin in [from, from + share), as fractions of the pack; beyond 1 it goes on at 0. */
export interface DataSlice {
	from: number;
	share: number;
}

export interface CheckOptions {
	/** read records and verify their SHA-256: all, those of a slice, or none */
	readData: boolean | DataSlice;
	progress?: (p: Progress) => void;
	signal?: AbortSignal;
}

/** What a fault takes away: bytes of a disk, or an extra file. */
export interface CheckHit {
	vm: string;
	point: string;
	disk?: string;
	/** bytes of the disk */
	offset?: number;
	length?: number;
	/** name of an extra file */
	file?: string;
}

export interface CheckFault {
	/** stable word: "missing-pack", "truncated-pack", "bad-record", "bad-page", "bad-index", "bad-point", … */
	kind: string;
	/** file in the repository, relative */
	file: string;
	message: string;
	/** damaged records within the file, bytes, where known */
	ranges?: { offset: number; length: number }[];
	/** what it hits, where known */
	hits: CheckHit[];
}

export interface CheckReport {
	points: number;
	blocks: number;
	packs: number;
	/** stored bytes read (0 without read-data) */
	bytesRead: number;
	faults: CheckFault[];
}

export interface RepairOptions {
	/** only tell what would be done */
	dryRun?: boolean;
	/** injected clock, for the reports in `quarantine/` */
	now?: () => Date;
	progress?: (p: Progress) => void;
	signal?: AbortSignal;
}

/** A pack that was moved aside, or would be. */
export interface QuarantinedPack {
	pack: string;
	/** where it is now (dry run: where it is still), relative */
	file: string;
	why: string;
	/** good records in it */
	good: number;
	/** of these, records that were stored again because the repository has no other copy */
	rewritten: number;
	/** damaged records; null where the pack's table is lost, so that nobody can count */
	bad: number | null;
}

/** A restore point that was moved aside, or would be: it is lost unless its file comes back from a copy. */
export interface QuarantinedPoint {
	point: string;
	/** where it is now (dry run: where it is still), relative */
	file: string;
	why: string;
	/** whose point it was, where that can still be told */
	vm: string | null;
	/** when the file was written: about when the backup ended; UTC */
	written: string | null;
}

export interface RepairReport {
	dryRun: boolean;
	/** whether the index was (or would be) rebuilt from packs */
	indexRebuilt: boolean;
	quarantined: QuarantinedPack[];
	/** damaged restore points that were (or would be) moved aside */
	points: QuarantinedPoint[];
	/** stored bytes read */
	bytesRead: number;
	/** what stays damaged, and what it hits */
	remaining: CheckFault[];
}

export interface RebuildReport {
	packs: number;
	records: number;
	/** index segments, now */
	segments: number;
	/** packs whose table had to be read record by record, or cannot be read */
	faults: CheckFault[];
}

export interface RepositoryStats {
	points: number;
	packs: number;
	/** stored bytes of packs and indexes */
	storedBytes: number;
	/** plain bytes of unique blocks */
	uniqueBytes: number;
	/** bytes of all disks of all points */
	logicalBytes: number;
}

export interface ForgetOptions {
	/** a policy for the newest point backwards, of some VMs and tags or (none named) of all; or points named one by one */
	what: { policy: RetentionPolicy; vms: string[]; tags: string[] } | { specs: string[] };
	/** points that something outside of the repository is known to use, and what */
	inUse?: Map<string, string>;
	/** also where the policy has doubts, and a VM's last point when it is named */
	force?: boolean;
	dryRun?: boolean;
	/** injected clock */
	now: () => Date;
	signal?: AbortSignal;
}

/** One point that was looked at. */
export interface Forgotten {
	id: string;
	vm: string;
	/** UTC */
	time: string;
	keep: boolean;
	/** why it stays */
	reasons: string[];
	removed: boolean;
}

export interface ForgetReport {
	dryRun: boolean;
	/** by VM, oldest first */
	points: Forgotten[];
	removed: number;
	/** VMs for which `force` is wanted, and why; `forced`: it was given */
	refused: { vm: string; doubts: string[]; forced: boolean }[];
}

export interface PruneOptions {
	/** bound of what is copied out of packs that are mostly dead, or small: bytes, or a share of all stored; default: the larger of 0.1 and 1 GiB */
	maxRewrite?: { bytes: number } | { share: number };
	/** says what would be done, and changes nothing */
	dryRun?: boolean;
	/** injected clock */
	now: () => Date;
	progress?: (p: Progress) => void;
	signal?: AbortSignal;
}

/** All sizes in bytes of the store. */
export interface PruneReport {
	dryRun: boolean;
	points: number;
	/** records that points need, and map pages read to know that */
	liveRecords: number;
	pages: number;
	/** packs looked at: all that were not condemned before */
	packs: number;
	/** packs in which nothing is needed; size of their files */
	dead: { packs: number; bytes: number };
	/** packs chosen to be rewritten; size of their files, and of what is live in them */
	rewrite: { packs: number; bytes: number; live: number };
	/** small packs chosen to be put together; the same */
	merge: { packs: number; bytes: number; live: number };
	/** size of the files deleted, also of what an earlier run condemned; their number */
	freed: number;
	deleted: number;
	/** records copied */
	rewritten: number;
	/** packs that were condemned and turned out to be needed */
	released: number;
	/** packs that are deleted by a later run, because so many backups run that began before they were condemned */
	waiting: { packs: number; backups: number };
	/** dead records that stay, in packs not worth rewriting or beyond the bound */
	left: number;
	/** packs that were left alone because they are damaged */
	damaged: string[];
	markSeconds: number;
	seconds: number;
}

export interface OpenOptions {
	/** bytes of the decoded-block cache shared by every disk opened through this process; see BlockCache */
	cache?: BlockCacheLike;
	/** native read threads of this repository; default 8 */
	readThreads?: number;
	/**
	 * compares every block that is read with its SHA-256 too, not only with its checksum: for whoever passes on what it reads
	 * for good (export, copy). Costs processor time on the read threads.
	 */
	hashContent?: boolean;
	/** what opens an encrypted repository; never asked for a plain one */
	key?: KeySource;
}

/**
 * A passphrase or recovery key as typed, asked for only when it is needed; or the master key that one of them
 * unwrapped, by repository id.
 */
export type KeySource =
	| {
			passphrase: () => Buffer | Promise<Buffer>;
			/** the user gave it for this repository: one that is not encrypted (any more) is then refused */
			expected?: boolean;
	  }
	| { masterOf: (repository: string) => Buffer | undefined };

export interface OpenDiskOptions {
	/** whoever reads does so in large parts and each byte once: what is read goes past the cache, straight to its target */
	once?: boolean;
}

/** The shared decoded-block cache (repository/cache.ts makes it): created once per process. */
export interface BlockCacheLike {
	readonly budgetBytes: number;
}

export interface Repository {
	readonly path: string;
	/** 32 hex digits */
	readonly id: string;
	readonly blockSize: number;
	/** newest last */
	points(vm?: string): Promise<Point[]>;
	/** Resolves "VM", "VM@id-prefix", "VM@latest", "VM@TIME" (newest at or before). */
	resolve(spec: string): Promise<Point>;
	extraFile(point: Point, name: string): Promise<Buffer>;
	/** Opens one disk of a point in O(1) pages; pins the point until closed. */
	openDisk(point: Point, disk: string, options?: OpenDiskOptions): Promise<Image>;
	/**
	 * Where a disk of `to` differs from the one of that name in `from`, by their maps alone, in bytes; undefined when that
	 * cannot be told: then read all of it.
	 */
	changes(from: Point, to: Point, disk: string): Promise<{ offset: number; length: number }[] | undefined>;
	backup(request: BackupRequest): Promise<{ point: Point; disks: DiskResult[] }>;
	check(options: CheckOptions): Promise<CheckReport>;
	/** Moves damaged packs aside, keeps what is good in them, rebuilds the index; needs the repository for itself. */
	repair(options: RepairOptions): Promise<RepairReport>;
	/** Replaces the index by one made from packs alone. */
	rebuild(options: { progress?: (p: Progress) => void; signal?: AbortSignal }): Promise<RebuildReport>;
	stats(): Promise<RepositoryStats>;
	/** Removes restore points; what only they needed is given back by `prune`. */
	forget(options: ForgetOptions): Promise<ForgetReport>;
	/** Everything that keeps points from being removed. */
	holds(): Promise<Hold[]>;
	/** Keeps the point from being removed, durable when it resolves. */
	hold(point: Point, hold: Omit<Hold, "point" | "id"> & { id?: string }): Promise<Hold>;
	/** Takes a hold away. */
	release(hold: Hold): Promise<void>;
	/** Gives back the space of what no point needs. */
	prune(options: PruneOptions): Promise<PruneReport>;
	close(): Promise<void>;
}
