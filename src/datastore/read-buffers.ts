/**
 * Buffers for reads that cannot be lent from a cache, used again once their bytes have left the socket. Left to the
 * garbage collector, buffers of a megabyte pile up far faster than it sees a reason to run.
 */

/** Bytes kept for use again. */
const KEPT_BYTES = 32 * 1024 * 1024;
/** Smaller ones are cheap to make and come out of Node's own pool. */
const MIN_BYTES = 2 * 1024;

export class ReadBuffers {
	/** free buffers by size, a power of two */
	readonly #free = new Map<number, Buffer[]>();
	#kept = 0;

	/** bytes lying ready */
	get kept(): number {
		return this.#kept;
	}

	/** `length` bytes of whatever content. */
	take(length: number): Buffer {
		if (length < MIN_BYTES) return Buffer.allocUnsafe(length);
		const size = sizeFor(length);
		const free = this.#free.get(size)?.pop();
		if (free === undefined) return Buffer.from(Buffer.allocUnsafeSlow(size).buffer as ArrayBuffer, 0, length);
		this.#kept -= size;
		return free.length === length ? free : Buffer.from(free.buffer as ArrayBuffer, 0, length);
	}

	/** Takes back what `take` gave, once. The caller must not touch it any more. */
	give(buffer: Buffer): void {
		if (buffer.length < MIN_BYTES) return;
		const size = buffer.buffer.byteLength;
		if (this.#kept + size > KEPT_BYTES) return;
		const list = this.#free.get(size);
		if (list) list.push(buffer);
		else this.#free.set(size, [buffer]);
		this.#kept += size;
	}
}

const sizeFor = (length: number): number => 2 ** Math.ceil(Math.log2(length));
