/**
 * Typed wrapper of the C++ addon: the contract of everything native.
 *
 * In: paths, file descriptors, buffers. Out: bytes on disk, hashes, decoded blocks.
 * Mechanism lives in `src/*.cc`; policy (what to read, when to sync) belongs to the rooms that call this.
 * Every system call made here goes through the fault layer (`faults`), so the code under crash test is the
 * code that ships. Nothing here uses libuv's thread pool: a `Lane` owns its threads.
 *
 * Every failing call throws (or rejects with) a `SystemError`: `code` ("ENOSPC"), `errno` (positive),
 * `syscall` and `path` when known.
 */
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
// From build/native/index.js the addon is two levels up, in native/build/Release.
const addon = require("../../native/build/Release/springback.node") as Addon;

export interface SystemError extends Error {
	code: string;
	errno: number;
	syscall: string;
	path?: string;
}

export interface FileStat {
	/** bytes */
	size: number;
	/** allocated bytes */
	allocated: number;
	dev: number;
	ino: number;
	mode: number;
	/** ns since the epoch */
	mtimeNs: bigint;
}

export interface FsStat {
	/** bytes */
	total: number;
	free: number;
	/** bytes available to an unprivileged user */
	available: number;
	files: number;
	filesFree: number;
	/** `f_type` of statfs(2), for telling network file systems */
	type: number;
}

/** Synchronous system calls. `pread`/`pwrite` loop over short transfers; pread returns fewer bytes only at EOF. */
export interface Sys {
	/** `flags` as in node:fs constants (O_CLOEXEC is always added). */
	open(path: string, flags: number, mode?: number): number;
	close(fd: number): void;
	pread(fd: number, target: Uint8Array, position: number): number;
	pwrite(fd: number, data: Uint8Array, position: number): void;
	pwritev(fd: number, parts: Uint8Array[], position: number): void;
	fsync(fd: number): void;
	fdatasync(fd: number): void;
	/** Opens the directory, syncs it, closes it. */
	fsyncDirectory(path: string): void;
	ftruncate(fd: number, length: number): void;
	/** mode: fallocate(2) bits; 0 allocates, 3 punches a hole keeping the size. */
	fallocate(fd: number, mode: number, offset: number, length: number): void;
	rename(from: string, to: string): void;
	/** renameat2 with RENAME_NOREPLACE: EEXIST when `to` exists. */
	renameNoReplace(from: string, to: string): void;
	link(from: string, to: string): void;
	unlink(path: string): void;
	mkdir(path: string, mode: number): void;
	rmdir(path: string): void;
	fstat(fd: number): FileStat;
	statfs(path: string): FsStat;
	/** lseek SEEK_DATA / SEEK_HOLE from `offset`; -1 where there is none (ENXIO). */
	seekData(fd: number, offset: number): number;
	seekHole(fd: number, offset: number): number;
	/** Open-file-description lock (F_OFD_SETLK) on a byte range; false when another holder has it. */
	lock(fd: number, kind: "shared" | "exclusive", offset: number, length: number): boolean;
	unlock(fd: number, offset: number, length: number): void;
}

/** One stored record to fetch and decode; see docs/format.md, "Record". All sizes in bytes. */
export interface RecordRead {
	fd: number;
	/** where the record header starts */
	position: number;
	/** header + stored bytes */
	length: number;
	/** 32 bytes: what the caller expects to find */
	identity: Uint8Array;
	/** expected record type (header byte 4) */
	type: number;
	/** plain length; must equal the header's */
	rawLength: number;
	/** where the plain bytes go */
	target: Uint8Array;
	targetOffset: number;
	/** the record must be encrypted with this: key (32 bytes), repository id (16), pack or point id (16) */
	seal?: Uint8Array;
}

/** Per record: "ok", or why it must not be served. */
export type RecordStatus =
	| "ok"
	| "short"
	| "magic"
	| "type"
	| "length"
	| "checksum"
	| "identity"
	| "decode"
	| "encrypted"
	| "plain"
	| "tag"
	| "content"
	| `E${string}`;

/** Reads of single records on a lane, without a promise for each. */
export interface RecordQueue {
	/**
	 * Queues one read per target; `requests` holds them in the layout of RecordRequests (native/record-requests.ts) and is
	 * free again at once. Targets must stay untouched until their request has been told of. False: the lane is closed, and
	 * nothing was queued.
	 */
	submit(requests: Uint8Array, targets: Uint8Array[]): boolean;
}

/** The starts of files, in the order asked for. */
export interface FilesRead {
	/** back to back */
	bytes: Buffer;
	/** bytes of each; 0 for one that could not be read */
	lengths: Int32Array;
	/** "ENOENT", "EIO", … at the places of those that could not be read */
	errors: (string | undefined)[];
}

export interface HashedBlocks {
	/** 32 bytes per block: SHA-256 of the plain block, or HMAC-SHA-256 under a key; zeros where `zero` is 1 (not computed) */
	identities: Buffer;
	/** 1 where the block is all zero bytes */
	zero: Uint8Array;
}

export interface EncodedRecords {
	/** the records, header and payload, back to back in the order asked for */
	bytes: Buffer;
	/** length of each record, header included */
	lengths: Uint32Array;
}

/**
 * A group of native threads with one FIFO queue. Jobs of one lane never wait for another lane, so one hung
 * disk stalls nobody else. Buffers handed in must stay untouched until the promise settles.
 */
export interface Lane {
	readonly name: string;
	readonly threads: number;
	/** jobs queued or running */
	readonly pending: number;
	/** As `sys.open`: where the disk under `path` may hang, only this lane waits. Close with `sys.close`. */
	open(path: string, flags: number, mode?: number): Promise<number>;
	pread(fd: number, target: Uint8Array, position: number): Promise<number>;
	/**
	 * One job: reads into each target from its position, in order, and resolves to how many were filled: fewer than all
	 * when the file ends before one of them is full.
	 */
	preadMany(fd: number, targets: Uint8Array[], positions: number[]): Promise<number>;
	/** One job: pwritev of all parts, then fdatasync when `sync`. */
	write(fd: number, parts: Uint8Array[], position: number, sync: boolean): Promise<void>;
	/** Writes `length` zeros, at most 64 MiB; their memory is aligned, so `fd` may have been opened with O_DIRECT. */
	writeZeros(fd: number, position: number, length: number): Promise<void>;
	/** As `sys.fallocate`. */
	fallocate(fd: number, mode: number, offset: number, length: number): Promise<void>;
	fdatasync(fd: number): Promise<void>;
	fsync(fd: number): Promise<void>;
	fsyncDirectory(path: string): Promise<void>;
	/** As the calls of the same names in `sys`. */
	renameNoReplace(from: string, to: string): Promise<void>;
	unlink(path: string): Promise<void>;
	mkdir(path: string, mode: number): Promise<void>;
	/** Reads, verifies (XXH3-64 then identity in the header) and decompresses each record into its target. */
	readRecords(reads: RecordRead[]): Promise<RecordStatus[]>;
	/** One job: opens, reads and closes one file after the other; of each at most `limit` bytes (up to 1 MiB) from its start. */
	readFiles(paths: string[], limit: number): Promise<FilesRead>;
	/**
	 * Makes a queue for such reads one by one. When some have ended, `done(count)` is called: the first `count` elements of
	 * `outcomes` are ticket × 2, plus 1 where the target is filled; it may be called for several in a row.
	 */
	recordQueue(outcomes: Uint32Array, done: (count: number) => void): RecordQueue;
	/**
	 * From the next job on, reads of records also compare the plain content with its identity: SHA-256, or HMAC-SHA-256 with a
	 * `key` of 32 bytes. A record that fails has status "content". The first call counts.
	 */
	hashContent(key?: Uint8Array): void;
	/** Zero detection, then SHA-256 (HMAC-SHA-256 with a `key` of 32 bytes), of consecutive blocks; the last may be short. */
	hashBlocks(data: Uint8Array, blockSize: number, key?: Uint8Array): Promise<HashedBlocks>;
	/**
	 * Compresses and frames the chosen blocks of `data` as records of `type`. `chosen` holds block numbers;
	 * identities as from hashBlocks (32 bytes per block of `data`). codec: 0 raw, 1 LZ4, 2 zstd; a block that
	 * does not shrink is stored raw, for zstd after a cheap probe. `level` is zstd's, 1 to 19, default 3. With
	 * `tagRoom` the records are not whole yet: `sealRecords` must encrypt them.
	 */
	encodeRecords(
		data: Uint8Array,
		blockSize: number,
		chosen: Uint32Array,
		identities: Uint8Array,
		type: number,
		codec: number,
		level?: number,
		tagRoom?: boolean,
	): Promise<EncodedRecords>;
	/**
	 * Encrypts, in place and once, records that were encoded with room for a tag: AES-256-GCM (docs/format.md, 11).
	 * `position` is where the first one will lie in its file; `seal` as in RecordRead.
	 */
	sealRecords(bytes: Uint8Array, lengths: Uint32Array, position: number, seal: Uint8Array): Promise<void>;
	/** Waits for the jobs in flight, then ends the threads. Later jobs are rejected with `code: "ECLOSED"`. */
	close(): Promise<void>;
}

/** A rule of the fault layer: the first matching rule that still has a count acts. */
export interface FaultRule {
	/** operation name as recorded: "pwrite", "pread", "fdatasync", "fsync", "fsyncDirectory", "rename", "unlink", "link", "ftruncate", "fallocate", "open", "mkdir", "rmdir", or "*" */
	op: string;
	/** substring of the path the descriptor was opened with ("" matches all) */
	path?: string;
	/** matching calls to let pass first */
	skip?: number;
	/** matching calls to act on; default 1; -1 for ever */
	count?: number;
	/** error to fail with, e.g. "EIO", "ENOSPC" */
	error?: string;
	/** acts on writes only: write this many bytes, then fail with `error` (or, without one, kill the process) */
	short?: number;
	/**
	 * acts on writes only, which succeed: `error` is what the next sync says, once to each descriptor that is open by
	 * then, as Linux does when a page cannot be written back
	 */
	late?: boolean;
	/** ms to sleep before the call */
	delayMs?: number;
	/** raise SIGKILL instead of the call */
	kill?: boolean;
}

/**
 * One recorded operation that changes the disk. Only what succeeded is recorded (of a failed write, the part that
 * was written), in the order in which the calls returned; but a sync stands where it began, because it covers only
 * what had returned by then.
 */
export interface TraceEntry {
	op: string;
	path: string;
	/** rename/link target */
	to?: string;
	position?: number;
	/** bytes written, or new length for ftruncate/fallocate */
	length?: number;
	/** copy of the bytes written */
	data?: Buffer;
	/** open: flags */
	flags?: number;
}

/** Tests install rules and read traces here; `SPRINGBACK_FAULTS` (JSON array of FaultRule) arms a child process. */
export interface Faults {
	set(rules: FaultRule[]): void;
	clear(): void;
	startTrace(): void;
	stopTrace(): TraceEntry[];
	/** Puts `{op: "mark", path: label}` into a running trace: "from here on this was acknowledged". */
	mark(label: string): void;
}

interface Addon {
	sys: Sys;
	faults: Faults;
	createLane(name: string, threads: number): Lane;
	sha256(data: Uint8Array): Buffer;
	hmacSha256(key: Uint8Array, data: Uint8Array): Buffer;
	xxh3(data: Uint8Array, seed?: bigint): bigint;
	isZero(data: Uint8Array): boolean;
	lz4Compress(data: Uint8Array, target: Uint8Array): number;
	lz4Decompress(data: Uint8Array, target: Uint8Array): number;
	encodeRecord(
		data: Uint8Array,
		identity: Uint8Array,
		type: number,
		codec: number,
		level?: number,
		tagRoom?: boolean,
	): Buffer;
	sealRecords(bytes: Uint8Array, lengths: Uint32Array, position: number, seal: Uint8Array): void;
	decodeRecord(
		record: Uint8Array,
		identity: Uint8Array | null,
		type: number,
		seal?: Uint8Array,
		position?: number,
	): Buffer;
	socketOwner(
		localAddress: Uint8Array,
		localPort: number,
		remoteAddress: Uint8Array,
		remotePort: number,
	): number | undefined;
}

export const sys: Sys = addon.sys;
export const faults: Faults = addon.faults;
/** Creates a lane of `threads` native threads. */
export const createLane = (name: string, threads: number): Lane => addon.createLane(name, threads);
/** SHA-256 (FIPS 180-4): 32 bytes. */
export const sha256 = (data: Uint8Array): Buffer => addon.sha256(data);
export const hmacSha256 = (key: Uint8Array, data: Uint8Array): Buffer => addon.hmacSha256(key, data);
/** XXH3 64 bit. */
export const xxh3 = (data: Uint8Array, seed?: bigint): bigint => addon.xxh3(data, seed);
export const isZero = (data: Uint8Array): boolean => addon.isZero(data);
/** LZ4 block format; returns bytes written, 0 when `target` is too small. */
export const lz4Compress = (data: Uint8Array, target: Uint8Array): number => addon.lz4Compress(data, target);
/** LZ4 block format; returns bytes written; throws `code: "EDECODE"` on malformed input. */
export const lz4Decompress = (data: Uint8Array, target: Uint8Array): number => addon.lz4Decompress(data, target);
/** One record, header and payload (docs/format.md, "Record"), made synchronously: for pages and small objects. */
export const encodeRecord = (
	data: Uint8Array,
	identity: Uint8Array,
	type: number,
	codec: number,
	level?: number,
	tagRoom?: boolean,
): Buffer => addon.encodeRecord(data, identity, type, codec, level, tagRoom);
/** As Lane.sealRecords, synchronously. */
export const sealRecords = (bytes: Uint8Array, lengths: Uint32Array, position: number, seal: Uint8Array): void =>
	addon.sealRecords(bytes, lengths, position, seal);
/**
 * Verifies and decodes one record, encrypted with `seal` at `position` of its file where that is given; throws an
 * Error whose `code` is "ERECORD" and `reason` a RecordStatus.
 */
export const decodeRecord = (
	record: Uint8Array,
	identity: Uint8Array | null,
	type: number,
	seal?: Uint8Array,
	position?: number,
): Buffer => addon.decodeRecord(record, identity, type, seal, position);

/**
 * uid of the TCP socket of this machine with these two ends, addresses of 4 or 16 bytes; undefined when there is none,
 * or its process has closed it (sock_diag(7)). Throws SystemError where the kernel does not tell.
 */
export const socketOwner = (
	localAddress: Uint8Array,
	localPort: number,
	remoteAddress: Uint8Array,
	remotePort: number,
): number | undefined => addon.socketOwner(localAddress, localPort, remoteAddress, remotePort);
