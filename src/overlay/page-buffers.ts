/**
 * Buffers for log pages on their way from the disk, used again: made anew for each read, they are memory outside V8's
 * heap that piles up to a full garbage collection several times a second.
 */

/** Bytes kept for use again. */
const KEPT_BYTES = 4 * 1024 * 1024;

export class PageBuffers {
	/** free buffers by length */
	readonly #free = new Map<number, Buffer[]>();
	#kept = 0;

	/** `length` bytes of whatever content. */
	take(length: number): Buffer {
		const free = this.#free.get(length)?.pop();
		if (free === undefined) return Buffer.allocUnsafeSlow(length);
		this.#kept -= length;
		return free;
	}

	/** Takes back what `take` gave, once. */
	give(buffer: Buffer): void {
		if (this.#kept + buffer.length > KEPT_BYTES) return;
		const list = this.#free.get(buffer.length);
		if (list) list.push(buffer);
		else this.#free.set(buffer.length, [buffer]);
		this.#kept += buffer.length;
	}
}
