/**
 * The Store contract: where a repository's files live. `file-store.ts` is plain files; an object store fits the same
 * shape. Files are put once and never modified (docs/format.md, 2). Names are relative, folders separated by `/`.
 *
 * Failing calls throw or reject with the native SystemError (`code` "ENOENT", "ENOSPC", …).
 *
 * What a reader needs is promised, not returned: the disk may hang, and a mount process serves others meanwhile.
 */
import type { RecordRead, RecordStatus } from "../../native/index.js";

/** One record to fetch, verify and decode into `target`; sizes and positions in bytes. */
export interface StoreRead extends Omit<RecordRead, "fd" | "seal"> {
	file: string;
	/** what the record is encrypted with, as native RecordRead has it: PackSeals.of(pack); undefined in a plain repository */
	seal: Uint8Array | undefined;
}

/** A record that somebody wants, wherever it is. */
export interface Wanted {
	/** buffer that holds the identity at `offset`; unchanged until settled */
	identity: Buffer;
	offset: number;
	type: number;
	/** bytes */
	rawLength: number;
	target: Uint8Array;
	targetOffset: number;
}

/** Who started a read of a record. */
export interface RecordWaiter {
	/** Never called before the start has returned. `good`: the target is filled. */
	recordRead(good: boolean): void;
}

/** A file that is being written and has no name yet. */
export interface Upload {
	/** bytes appended so far */
	readonly length: number;
	/**
	 * Appends in call order; resolves when the bytes are with the store and the buffers free again. With `ready` the
	 * bytes have their place at once, and their final content when it resolves.
	 */
	append(parts: Uint8Array[], ready?: Promise<unknown>): Promise<void>;
	/** Makes everything appended durable. Nothing may be appended afterwards. */
	seal(): Promise<void>;
	/** Removes the temporary file; harmless after `publish`. */
	abandon(): Promise<void>;
}

/** A lock that is held until `release` or the death of the process. */
export interface Held {
	release(): void;
}

export interface Store {
	/** for messages: where it is */
	readonly place: string;
	/** Puts a small file atomically and durably; EEXIST when the name is taken. */
	put(name: string, bytes: Uint8Array): Promise<void>;
	/** Starts a file whose name is given later by `publish`. */
	upload(): Upload;
	/** Gives sealed uploads their names, durable when it resolves; EEXIST when one is taken. */
	publish(files: { upload: Upload; name: string }[]): Promise<void>;
	/** Names in a folder, sorted; empty when the folder is not there. */
	list(folder: string): Promise<string[]>;
	/** Bytes of a file, or undefined when it is not there. */
	size(name: string): Promise<number | undefined>;
	/** When a file was last written, ms since 1970 by the store's clock; undefined when it is not there. */
	modified(name: string): Promise<number | undefined>;
	/** Up to `length` bytes from `position`; fewer only at the end of the file. */
	read(name: string, position: number, length: number): Promise<Buffer>;
	/** The starts of many small files, `limit` bytes of each at most, in order; an error's code for one that cannot be read. */
	readStarts(names: string[], limit: number): AsyncGenerator<Buffer | string>;
	/** Reads, verifies and decodes records; one status per read, in order. Never rejects for a bad record. */
	readRecords(reads: StoreRead[]): Promise<RecordStatus[]>;
	/**
	 * Begins to read one record without a promise, together with all others begun in this turn. False when it cannot be begun
	 * without waiting: use `readRecords`, also to learn what was wrong with one that was not good.
	 */
	startRecord(
		file: string,
		position: number,
		length: number,
		seal: Uint8Array | undefined,
		wanted: Wanted,
		waiter: RecordWaiter,
	): boolean;
	/** Removes a file; nothing happens when it is gone. */
	remove(name: string): Promise<void>;
	/** Gives a file another name, durably; EEXIST when it is taken. */
	move(from: string, to: string): Promise<void>;
	/** Makes folders and lock files that a copy of a repository may lack. */
	prepare(): Promise<void>;
	/** Tries to lock one byte of a lock file, which is made if need be; undefined when another holder has it. */
	lock(name: string, byte: number, kind: "shared" | "exclusive"): Promise<Held | undefined>;
	/** Tries to lock byte 0 of a lock file exclusively; undefined when another holder has it or there is no such file. */
	lockExisting(name: string): Promise<Held | undefined>;
	/** Removes temporary files of writers that are gone, and locks of writers and backups that are. */
	sweep(): Promise<void>;
	/** Waits for what is in flight and lets go of threads and descriptors. */
	close(): Promise<void>;
}
