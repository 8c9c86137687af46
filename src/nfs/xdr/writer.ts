/** XDR encoding (RFC 4506) into a buffer that grows when it must. */

const TWO_32 = 0x1_0000_0000;

export class XdrWriter {
	buffer: Buffer;
	view: DataView;
	position = 0;

	constructor(capacity = 512) {
		this.buffer = Buffer.allocUnsafeSlow(capacity);
		this.view = new DataView(this.buffer.buffer);
	}

	/** Makes room for `length` bytes at `position`. */
	ensure(length: number): void {
		if (this.position + length > this.buffer.length) this.grow(length);
	}

	/** Called when `length` more bytes do not fit. */
	protected grow(length: number): void {
		const larger = Buffer.allocUnsafeSlow(Math.max(this.buffer.length * 2, this.position + length));
		this.buffer.copy(larger, 0, 0, this.position);
		this.use(larger);
	}

	protected use(buffer: Buffer): void {
		this.buffer = buffer;
		this.view = new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength);
	}

	u32(value: number): void {
		this.ensure(4);
		this.view.setUint32(this.position, value);
		this.position += 4;
	}

	/** A safe integer as an unsigned hyper. */
	u64(value: number): void {
		this.ensure(8);
		const high = Math.floor(value / TWO_32);
		this.view.setUint32(this.position, high);
		this.view.setUint32(this.position + 4, value - high * TWO_32);
		this.position += 8;
	}

	u64Big(value: bigint): void {
		this.ensure(8);
		this.view.setBigUint64(this.position, value);
		this.position += 8;
	}

	bool(value: boolean): void {
		this.u32(value ? 1 : 0);
	}

	fixed(bytes: Uint8Array): void {
		const padded = (bytes.length + 3) & ~3;
		this.ensure(padded);
		this.buffer.fill(0, this.position + bytes.length, this.position + padded);
		this.buffer.set(bytes, this.position);
		this.position += padded;
	}

	opaque(bytes: Uint8Array): void {
		this.u32(bytes.length);
		this.fixed(bytes);
	}

	/** A byte string (latin1). */
	string(text: string): void {
		const padded = (text.length + 3) & ~3;
		this.ensure(4 + padded);
		this.view.setUint32(this.position, text.length);
		const at = this.position + 4;
		this.buffer.write(text, at, text.length, "latin1");
		this.buffer.fill(0, at + text.length, at + padded);
		this.position = at + padded;
	}

	bytes(): Buffer {
		return this.buffer.subarray(0, this.position);
	}
}
