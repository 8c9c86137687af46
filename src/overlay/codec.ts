/**
 * Little-endian cursor over a buffer, for operations and records. 64-bit fields are safe integers except where a
 * bigint is asked for (timestamps, checksums).
 */

const HIGH = 0x1_0000_0000;

export const getU64 = (b: Buffer, at: number): number => b.readUInt32LE(at) + b.readUInt32LE(at + 4) * HIGH;

export const putU64 = (b: Buffer, at: number, value: number): void => {
	const high = Math.floor(value / HIGH);
	b.writeUInt32LE(value - high * HIGH, at);
	b.writeUInt32LE(high, at + 4);
};

export class Writer {
	constructor(
		readonly buffer: Buffer,
		public at = 0,
	) {}
	u8(v: number): this {
		this.buffer[this.at++] = v;
		return this;
	}
	u16(v: number): this {
		this.at = this.buffer.writeUInt16LE(v, this.at);
		return this;
	}
	u32(v: number): this {
		this.at = this.buffer.writeUInt32LE(v, this.at);
		return this;
	}
	i32(v: number): this {
		this.at = this.buffer.writeInt32LE(v, this.at);
		return this;
	}
	u64(v: number): this {
		putU64(this.buffer, this.at, v);
		this.at += 8;
		return this;
	}
	big(v: bigint): this {
		this.at = this.buffer.writeBigInt64LE(v, this.at);
		return this;
	}
	hash(v: bigint): this {
		this.at = this.buffer.writeBigUInt64LE(v, this.at);
		return this;
	}
	bytes(v: Uint8Array): this {
		this.buffer.set(v, this.at);
		this.at += v.length;
		return this;
	}
}

export class Reader {
	constructor(
		readonly buffer: Buffer,
		public at = 0,
	) {}
	u8(): number {
		return this.buffer.readUInt8(this.at++);
	}
	u16(): number {
		this.at += 2;
		return this.buffer.readUInt16LE(this.at - 2);
	}
	u32(): number {
		this.at += 4;
		return this.buffer.readUInt32LE(this.at - 4);
	}
	i32(): number {
		this.at += 4;
		return this.buffer.readInt32LE(this.at - 4);
	}
	u64(): number {
		this.at += 8;
		return getU64(this.buffer, this.at - 8);
	}
	big(): bigint {
		this.at += 8;
		return this.buffer.readBigInt64LE(this.at - 8);
	}
	hash(): bigint {
		this.at += 8;
		return this.buffer.readBigUInt64LE(this.at - 8);
	}
	/** A copy. */
	bytes(length: number): Buffer {
		if (length < 0 || this.at + length > this.buffer.length) throw new RangeError("record too short");
		this.at += length;
		return Buffer.from(this.buffer.subarray(this.at - length, this.at));
	}
}
