/**
 * Large buffers that are used again: fresh ones cost page faults. A slab is counted: the connection that fills it
 * holds it once, and so does every request in flight whose arguments lie in it.
 */

export const SMALL_SLAB = 128 * 1024;

export class Slab {
	readonly buffer: Buffer;
	readonly view: DataView;
	holders = 1;
	readonly #pool: SlabPool;

	constructor(size: number, pool: SlabPool) {
		this.buffer = Buffer.allocUnsafeSlow(size);
		this.view = new DataView(this.buffer.buffer);
		this.#pool = pool;
	}

	hold(): void {
		this.holders++;
	}

	drop(): void {
		if (--this.holders === 0) this.#pool.giveBack(this);
	}
}

export class SlabPool {
	readonly #free = new Map<number, Slab[]>();
	readonly #keepBytes: number;
	#kept = 0;

	/** Keeps at most `keepBytes` of unused slabs. */
	constructor(keepBytes: number) {
		this.#keepBytes = keepBytes;
	}

	/** A slab of at least `size` bytes (a power of two), held once. */
	take(size: number): Slab {
		let rounded = SMALL_SLAB;
		while (rounded < size) rounded *= 2;
		const slab = this.#free.get(rounded)?.pop();
		if (slab === undefined) return new Slab(rounded, this);
		this.#kept -= rounded;
		slab.holders = 1;
		return slab;
	}

	giveBack(slab: Slab): void {
		const size = slab.buffer.length;
		if (this.#kept + size > this.#keepBytes) return;
		this.#kept += size;
		const list = this.#free.get(size);
		if (list === undefined) this.#free.set(size, [slab]);
		else list.push(slab);
	}
}
