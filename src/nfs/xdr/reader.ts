/** XDR decoding (RFC 4506) in place over a receive buffer: no copies, no allocation for numbers. */

/** Arguments that do not parse; the RPC layer answers GARBAGE_ARGS. */
export class XdrError extends Error {
	override readonly name = "XdrError";
}

const TWO_32 = 0x1_0000_0000;

export class XdrReader {
	buffer!: Buffer;
	view!: DataView;
	position = 0;
	end = 0;

	/** Points the reader at bytes `position`..`end` of `buffer`; `view` must cover the same bytes as `buffer`. */
	attach(buffer: Buffer, view: DataView, position: number, end: number): this {
		this.buffer = buffer;
		this.view = view;
		this.position = position;
		this.end = end;
		return this;
	}

	static over(buffer: Buffer): XdrReader {
		const view = new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength);
		return new XdrReader().attach(buffer, view, 0, buffer.byteLength);
	}

	get remaining(): number {
		return this.end - this.position;
	}

	/** Claims `length` bytes and returns where they start. */
	skip(length: number): number {
		const at = this.position;
		if (length > this.end - at) throw new XdrError(`${length} bytes wanted, ${this.end - at} left`);
		this.position = at + length;
		return at;
	}

	u32(): number {
		return this.view.getUint32(this.skip(4));
	}

	/** An unsigned hyper as a number: exact up to 2^53-1, beyond that only good for comparing. */
	u64(): number {
		const at = this.skip(8);
		return this.view.getUint32(at) * TWO_32 + this.view.getUint32(at + 4);
	}

	u64Big(): bigint {
		return this.view.getBigUint64(this.skip(8));
	}

	bool(): boolean {
		const value = this.u32();
		if (value > 1) throw new XdrError(`boolean ${value}`);
		return value === 1;
	}

	/** Fixed-length opaque: a slice of the receive buffer. */
	fixed(length: number): Buffer {
		const at = this.skip((length + 3) & ~3);
		return this.buffer.subarray(at, at + length);
	}

	/** Length of a variable opaque of at most `max` bytes, checked against what is there. */
	length(max: number): number {
		const length = this.u32();
		if (length > max || length > this.end - this.position) throw new XdrError(`opaque of ${length} bytes`);
		return length;
	}

	/** Variable-length opaque: a slice of the receive buffer. */
	opaque(max: number): Buffer {
		return this.fixed(this.length(max));
	}

	/** A string as bytes (latin1), which is how names travel (see vfs). */
	string(max: number): string {
		const length = this.length(max);
		const at = this.skip((length + 3) & ~3);
		return this.buffer.toString("latin1", at, at + length);
	}
}
