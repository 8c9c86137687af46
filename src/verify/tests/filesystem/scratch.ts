/**
 * An Image that can be written and leaves what is below alone: what a checker changes (it replays a journal) lies in a
 * file that has no name any more and goes with us.
 */
import { closeSync, ftruncateSync, openSync, unlinkSync } from "node:fs";
import {
	checkRange,
	type Extent,
	type Image,
	ImageError,
	openRaw,
	type RawImage,
	type WritableImage,
} from "../../../image/index.js";

const BLOCK = 4096;

export class Scratch implements WritableImage {
	readonly size: number;
	/** bytes read of what is below */
	bytesRead = 0;
	/** the first read of it that failed */
	failure: Error | undefined;
	readonly #base: Image;
	readonly #limit: number;
	readonly #top: RawImage;
	readonly #written = new Set<number>();
	#last: Promise<void> = Promise.resolve();

	/** `path`: a file that is made, and removed at once. `limit`: bytes that may be written. The base stays its owner's. */
	constructor(base: Image, path: string, limit: number) {
		this.#base = base;
		this.size = base.size;
		this.#limit = limit;
		const fd = openSync(path, "wx", 0o600);
		try {
			ftruncateSync(fd, base.size);
			this.#top = openRaw(path, { writable: true });
		} finally {
			unlinkSync(path);
			closeSync(fd);
		}
	}

	async read(offset: number, target: Buffer): Promise<void> {
		checkRange(this.size, offset, target.length);
		for (let at = 0; at < target.length; ) {
			const top = this.#has(offset + at);
			let end = this.#blockEnd(offset + at);
			while (end < offset + target.length && this.#has(end) === top) end = this.#blockEnd(end);
			const piece = target.subarray(at, Math.min(end - offset, target.length));
			if (top) await this.#top.read(offset + at, piece);
			else await this.#below(offset + at, piece);
			at += piece.length;
		}
	}

	extents(offset: number, length: number): Extent[] | Promise<Extent[]> {
		if (this.#written.size === 0) return this.#base.extents(offset, length);
		return length === 0 ? [] : [{ offset, length, kind: "data" }];
	}

	/** One after the other: two that share a block must not take each other's halves. */
	write(offset: number, data: Buffer): Promise<void> {
		checkRange(this.size, offset, data.length);
		const done = this.#last.then(() => this.#put(offset, data));
		this.#last = done.catch(() => {});
		return done;
	}

	/** Nothing of it has to outlive us. */
	async flush(): Promise<void> {
		await this.#last;
	}

	async close(): Promise<void> {
		await this.#last;
		await this.#top.close();
	}

	async #put(offset: number, data: Buffer): Promise<void> {
		const start = offset - (offset % BLOCK);
		const end = Math.min(this.#blockEnd(offset + data.length - 1), this.size);
		if (this.#written.size * BLOCK + data.length > this.#limit)
			throw new ImageError("ENOSPC", `a check may write ${this.#limit} bytes and wants more`, offset, data.length);
		let whole = data;
		if (start !== offset || end !== offset + data.length) {
			whole = Buffer.alloc(end - start);
			await this.read(start, whole);
			data.copy(whole, offset - start);
		}
		await this.#top.write(start, whole);
		for (let at = start; at < end; at += BLOCK) this.#written.add(at / BLOCK);
	}

	async #below(offset: number, target: Buffer): Promise<void> {
		this.bytesRead += target.length;
		try {
			await this.#base.read(offset, target);
		} catch (error) {
			this.failure ??= error as Error;
			throw error;
		}
	}

	#has(offset: number): boolean {
		return this.#written.has(Math.floor(offset / BLOCK));
	}

	#blockEnd(offset: number): number {
		return (Math.floor(offset / BLOCK) + 1) * BLOCK;
	}
}
