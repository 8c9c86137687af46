/**
 * The Image contract: a disk's content as bytes. Everything is an Image: a repository disk, an overlay, an NBD
 * export, a raw file. Images compose (throttle, read-ahead, fault injection are Images around Images).
 *
 * Offsets and sizes are bytes and safe integers (below 2^53).
 */

/** What a run of bytes is: stored data, known zeros, or never allocated (reads as zeros). */
export type ExtentKind = "data" | "zero" | "unallocated";

export interface Extent {
	offset: number;
	length: number;
	kind: ExtentKind;
}

/**
 * Bytes lent by a cache. `data` must not be changed, and stays valid until `release` is called exactly once
 * (for a reply: after the socket write's callback).
 */
export interface Loan {
	data: Buffer;
	release(): void;
}

export interface Image {
	/** bytes; fixed for the life of a read-only Image */
	readonly size: number;
	/**
	 * Fills the whole of `target` from `offset`. Returns undefined when it was done at once (cache hit), else a
	 * promise. Reading past `size` throws RangeError. A failed read rejects with ImageError.
	 */
	read(offset: number, target: Buffer): void | Promise<void>;
	/**
	 * Lends `length` bytes at `offset` as consecutive slices without copying and without waiting, or returns
	 * undefined when any of it is not in memory (the caller then uses `read`).
	 */
	borrow?(offset: number, length: number): Loan[] | undefined;
	/** Runs covering [offset, offset + length) in order, adjoining, clipped to the range. */
	extents(offset: number, length: number): Extent[] | Promise<Extent[]>;
	close(): Promise<void>;
}

export interface WritableImage extends Image {
	/** Resolves when the kernel has the bytes; they survive the process, not yet a power loss. */
	write(offset: number, data: Buffer): Promise<void>;
	/** Resolves when everything acknowledged so far survives a power loss. */
	flush(): Promise<void>;
	/** As `write`, but resolves when the bytes survive a power loss: sooner than `write` and `flush` would. */
	writeStable?(offset: number, data: Buffer): Promise<void>;
	/** Makes a range read as zeros, at a cost that hardly depends on its length. Resolves as `write` does. */
	zero?(offset: number, length: number): Promise<void>;
}

/** A read or write that failed. `code` is stable; `offset` and `length` say where. */
export class ImageError extends Error {
	override readonly name = "ImageError";
	constructor(
		readonly code: "EIO" | "ENOSPC" | "ECLOSED" | "ECORRUPT",
		message: string,
		readonly offset: number,
		readonly length: number,
		options?: ErrorOptions,
	) {
		super(message, options);
	}
}
