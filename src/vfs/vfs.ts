/**
 * The protocol-neutral file system contract. NFS (and later FUSE) adapters sit above it; the datastore
 * implements it. Imports nothing but the types of this folder.
 *
 * Names are byte strings: a JS string in which every char code is one byte (latin1), because NFS names are
 * opaque bytes (RFC 1813 section 3.2) and invalid UTF-8 must survive. `nameFromText`/`nameToText` convert.
 *
 * Operations return a closed Status instead of throwing; a thrown error is a bug and becomes SERVERFAULT at the
 * adapter. Results may be immediate or promised: what is in memory answers without a promise.
 */

export type Maybe<T> = T | Promise<T>;

/** Closed set; adapters map it to NFS3ERR_* or errno. */
export type Status =
	| "PERM"
	| "NOENT"
	| "IO"
	| "ACCES"
	| "EXIST"
	| "XDEV"
	| "NODEV"
	| "NOTDIR"
	| "ISDIR"
	| "INVAL"
	| "FBIG"
	| "NOSPC"
	| "ROFS"
	| "MLINK"
	| "NAMETOOLONG"
	| "NOTEMPTY"
	| "DQUOT"
	| "STALE"
	| "BADHANDLE"
	| "NOT_SYNC"
	| "BAD_COOKIE"
	| "NOTSUPP"
	| "SERVERFAULT"
	| "BADTYPE"
	| "JUKEBOX";

export type FileKind = "file" | "directory" | "symlink" | "block" | "char" | "fifo" | "socket";

/** Nanoseconds since the epoch. */
export type TimeNs = bigint;

export interface Attributes {
	kind: FileKind;
	/** permission bits, 0..0o7777 */
	mode: number;
	nlink: number;
	uid: number;
	gid: number;
	/** bytes */
	size: number;
	/** allocated bytes */
	used: number;
	rdevMajor: number;
	rdevMinor: number;
	/** identifies the file system; the same for every node of one mountd */
	fsid: bigint;
	/** unique in the fsid, never reused, stable across restarts */
	fileid: bigint;
	atime: TimeNs;
	mtime: TimeNs;
	ctime: TimeNs;
}

/** What wcc_attr carries (RFC 1813 section 2.6): the state right before the operation. */
export interface Before {
	size: number;
	mtime: TimeNs;
	ctime: TimeNs;
}

/** True pre- and post-operation attributes of the object that changed. */
export interface Change {
	before?: Before;
	after?: Attributes;
}

/** Who asks, from AUTH_SYS (or nobody). */
export interface Caller {
	uid: number;
	gid: number;
	gids: readonly number[];
	/** peer address without port, for logs and the duplicate request cache */
	address: string;
	/**
	 * Identity of a non-idempotent request (address, XID, procedure, checksum of arguments) so that its result
	 * can be stored durably with its effect and found again after a restart. Absent: not replay-protected.
	 */
	request?: RequestKey;
}

/** 16 opaque bytes as a latin1 string: a digest over address, XID, procedure and argument bytes. */
export type RequestKey = string;

export interface SetAttributes {
	mode?: number;
	uid?: number;
	gid?: number;
	size?: number;
	/** "now" = server time */
	atime?: TimeNs | "now";
	mtime?: TimeNs | "now";
}

export type Failed = { status: Status; change?: Change };

/** Slices of a cache (or fresh buffers) that make up a READ's data; `release` once they have left the socket. */
export interface ReadData {
	status: "OK";
	data: Buffer[];
	/** sum of the lengths of `data` */
	count: number;
	/** true whenever the read reaches the end of the file */
	eof: boolean;
	after?: Attributes;
	release?(): void;
}

export type Stability = "unstable" | "data-sync" | "file-sync";

export interface Written {
	status: "OK";
	count: number;
	committed: Stability;
	change: Change;
}

export type CreateHow =
	| { mode: "unchecked"; attributes: SetAttributes }
	| { mode: "guarded"; attributes: SetAttributes }
	/** RFC 1813 section 3.3.8: the 8-byte verifier is kept durably so that a retry succeeds */
	| { mode: "exclusive"; verifier: Buffer };

export type MakeWhat =
	| { kind: "directory"; attributes: SetAttributes }
	| { kind: "symlink"; target: Buffer; attributes: SetAttributes }
	| { kind: "fifo" | "socket"; attributes: SetAttributes }
	| { kind: "block" | "char"; major: number; minor: number; attributes: SetAttributes };

export interface Made {
	status: "OK";
	node: Node;
	attributes: Attributes;
	/** of the parent directory */
	change: Change;
}

export interface Changed {
	status: "OK";
	change: Change;
}

export interface DirectoryEntry {
	name: string;
	fileid: bigint;
	/** resume after this entry; above 2, monotonic per entry, never reused in its directory. 1 is ".", 2 is ".." */
	cookie: bigint;
	/** only when asked for */
	node?: Node;
}

/** A node has no identity of its own beyond its handle; adapters must not keep one across requests. */
export interface Node {
	readonly kind: FileKind;
	/** At most 56 bytes, deterministic, authenticated, valid across restarts. */
	readonly handle: Buffer;
	attributes(): Attributes;
	/** `guard`: fail with NOT_SYNC unless ctime equals it (RFC 1813 section 3.3.2). */
	setAttributes(caller: Caller, set: SetAttributes, guard?: TimeNs): Maybe<Changed | Failed>;
	/** Bits of ACCESS3_* (RFC 1813 section 3.3.4) that are granted. */
	access(caller: Caller, wanted: number): number;
}

export interface FileNode extends Node {
	readonly kind: "file";
	read(offset: number, count: number): Maybe<ReadData | Failed>;
	/**
	 * `data` lies in the adapter's receive buffer: it stays as it is until the result is there (until the promise
	 * settles, when there is one) and is overwritten afterwards; copy what must live longer.
	 */
	write(offset: number, data: Buffer, stability: Stability): Maybe<Written | Failed>;
	commit(): Maybe<Changed | Failed>;
}

export interface SymlinkNode extends Node {
	readonly kind: "symlink";
	target(): Buffer;
}

export interface DirectoryNode extends Node {
	readonly kind: "directory";
	/** "." and ".." included; ".." of the mounted root is the root itself. */
	lookup(name: string): Maybe<Node | Failed>;
	create(caller: Caller, name: string, how: CreateHow): Maybe<Made | Failed>;
	make(caller: Caller, name: string, what: MakeWhat): Maybe<Made | Failed>;
	/** A file, symlink or special; ISDIR for a directory. */
	remove(caller: Caller, name: string): Maybe<Changed | Failed>;
	removeDirectory(caller: Caller, name: string): Maybe<Changed | Failed>;
	rename(
		caller: Caller,
		name: string,
		to: DirectoryNode,
		toName: string,
	): Maybe<{ status: "OK"; from: Change; to: Change } | (Failed & { from?: Change; to?: Change })>;
	/** Makes `name` here a hard link to `target`; `after` are the target's attributes. */
	link(
		caller: Caller,
		target: Node,
		name: string,
	): Maybe<{ status: "OK"; after: Attributes; change: Change } | (Failed & { after?: Attributes })>;
	/** At most `limit` entries after `cookie` (0 = start, "." and ".." included), in cookie order. */
	entries(
		cookie: bigint,
		limit: number,
		withNodes: boolean,
	): Maybe<{ status: "OK"; entries: DirectoryEntry[]; end: boolean } | Failed>;
}

export interface FileSystemStatus {
	/** bytes */
	totalBytes: number;
	freeBytes: number;
	availableBytes: number;
	totalFiles: number;
	freeFiles: number;
}

/** What became of a request that was carried out before a restart. */
export interface Replayed {
	/** what a create, make or link made, while it still exists */
	node?: Node;
}

/**
 * A part of the tree whose requests adapters count apart. The same object for all its nodes while it is served, and
 * a small one: adapters may hold on to it.
 */
export interface Volume {
	readonly name: string;
}

export interface FileSystem {
	/** Changes at every start and after every failed sync; 8 bytes (RFC 1813 section 3.3.7). */
	writeVerifier(handle: Buffer): Buffer;
	/**
	 * Resolves a handle; STALE for a session that is gone, BADHANDLE for a forged or malformed one. `handle` lies in
	 * the adapter's receive buffer: copy it to keep it.
	 */
	resolve(handle: Buffer): Node | Failed;
	/** The root of an export path, already normalized ("/springback", "/springback/NAME"); NOENT when unknown. */
	exportRoot(path: string): DirectoryNode | Failed;
	/** The same objects while nothing changes: admissions are cached by their identity. */
	exports(): ExportEntry[];
	status(node: Node): FileSystemStatus;
	/**
	 * The stored success of an earlier request with this key on the node that its first handle names (a session
	 * keeps the keys with the effects, so they survive restarts); undefined when it was never carried out, or
	 * too long ago. The adapter then answers success again with current attributes and repeats nothing. Failures
	 * need no storing: they had no effect. Absent: replays are recognized only while the adapter lives.
	 */
	replayed?(at: Node, request: RequestKey): Replayed | undefined;
	/**
	 * The exports through which `node` can be reached: a caller that none of them admits is answered ACCES, and
	 * one that only read-only exports admit ROFS. The same objects as `exports()` gives. Absent: `exports()` governs every node.
	 */
	exportsOf?(node: Node): readonly ExportEntry[];
	/**
	 * `connection` names `node` in a request; and is gone. So an implementation knows whether a part of its tree is
	 * in use. `using` is called once per batch and handle, so it must be cheap.
	 */
	using?(node: Node, connection: object): void;
	left?(connection: object): void;
	/** The volume that `node` belongs to, if any. Called once per batch and handle, so it must be cheap. */
	volume?(node: Node): Volume | undefined;
}

export interface ExportEntry {
	path: string;
	/** addresses or CIDR networks that may mount it */
	clients: readonly string[];
	readOnly: boolean;
	/** only from ports below 1024, which on the client's machine only its root may use */
	privilegedPorts?: boolean;
	/** on loopback the peer socket's owner must be root or this uid */
	ownerUid: number;
}

export const nameFromText = (text: string): string => Buffer.from(text, "utf8").toString("latin1");
export const nameToText = (name: string): string => Buffer.from(name, "latin1").toString("utf8");
/** PATHCONF name_max and what ESXi expects. */
export const NAME_MAX = 255;
