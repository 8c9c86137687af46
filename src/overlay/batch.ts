/**
 * Batches, the records of the log (docs/overlay-format.md, "Batch"): built while operations are applied, and
 * parsed at replay and by compaction.
 */
import { xxh3 } from "../../native/index.js";
import { Reader, Writer } from "./codec.js";
import { alignUp, INLINE_MAX, PAGE, SECTOR } from "./geometry.js";
import {
	type Content,
	decodeOperation,
	encodeOperation,
	MOVE,
	type Operation,
	operationSize,
	WRITE,
} from "./operations.js";

export const BATCH_HEADER = 64;
const MAGIC = 0x314c4253; // "SBL1"

/** What ties a batch to its session, generation and place. */
export interface BatchIdentity {
	/** seedOf(secret, generation) */
	seed: bigint;
	generation: number;
}

export const seedOf = (secret: bigint, generation: number): bigint =>
	xxh3(new Writer(Buffer.alloc(8)).u64(generation).buffer, secret);

/** Bytes of meta that `op` with `length` bytes of payload needs. */
export const metaOf = (op: Operation, length: number): number =>
	operationSize(op) + (length <= INLINE_MAX ? alignUp(length, 8) : 0);

/** Bytes of the payload area that `length` bytes need. */
export const payloadOf = (length: number): number => (length <= INLINE_MAX ? 0 : alignUp(length, SECTOR));

/**
 * Builds one batch at `position`. The room for operations is fixed first, so that every payload knows its place
 * when its operation is applied.
 */
export class BatchBuilder {
	readonly #meta: Buffer;
	readonly #writer: Writer;
	readonly #payloads: { at: number; data: Uint8Array }[] = [];
	#end: number;
	operations = 0;
	/** content lies among the operations */
	inline = false;

	constructor(
		readonly position: number,
		metaBound: number,
	) {
		this.#meta = Buffer.alloc(alignUp(BATCH_HEADER + metaBound, PAGE));
		this.#writer = new Writer(this.#meta, BATCH_HEADER);
		this.#end = this.#meta.length;
	}

	/** Bytes of a batch with this much meta and payload. */
	static sizeOf(metaBound: number, payload: number): number {
		return alignUp(BATCH_HEADER + metaBound, PAGE) + alignUp(payload, PAGE);
	}

	add(op: Operation): void {
		encodeOperation(this.#writer, op);
		this.operations++;
	}

	/** Adds content with its payload; returns the payload's position in the log. */
	addContent(op: Content, data: Uint8Array): number {
		if (data.length <= INLINE_MAX) {
			this.inline = true;
			op.payload = this.#writer.at + operationSize(op);
			encodeOperation(this.#writer, op, data);
		} else {
			op.payload = this.#end;
			encodeOperation(this.#writer, op);
			this.#payloads.push({ at: this.#end, data });
			this.#end += alignUp(data.length, SECTOR);
		}
		this.operations++;
		return this.position + op.payload;
	}

	/** Where the log goes on after this batch. */
	get end(): number {
		return this.position + alignUp(this.#end, PAGE);
	}

	/** The finished batch as parts for one vectored write. */
	finish(identity: BatchIdentity, sequence: number, synced: number, clock: bigint): Uint8Array[] {
		const metaLength = this.#writer.at;
		const pages = alignUp(this.#end, PAGE) / PAGE;
		const h = new Writer(this.#meta);
		h.u32(MAGIC).u32(metaLength).u64(identity.generation).u64(sequence).u64(synced);
		h.u32(pages).u32(this.operations).big(clock).u64(0).u64(0);
		this.#meta.writeBigUInt64LE(xxh3(this.#meta.subarray(0, metaLength), identity.seed), 56);
		const parts: Uint8Array[] = [this.#meta];
		let at = this.#meta.length;
		for (const payload of this.#payloads) {
			if (payload.at > at) parts.push(ZERO_PAGE.subarray(0, payload.at - at));
			parts.push(payload.data);
			at = payload.at + payload.data.length;
		}
		if (pages * PAGE > at) parts.push(ZERO_PAGE.subarray(0, pages * PAGE - at));
		return parts;
	}

	/** Fills `target` with log bytes from `position` if they are payload of this batch. */
	copy(position: number, target: Buffer): boolean {
		const start = position - this.position;
		const end = start + target.length;
		if (start < 0 || start >= this.#end) return false;
		if (start < this.#meta.length) {
			this.#meta.copy(target, 0, start, end);
			return true;
		}
		// Payloads that follow each other without a gap may be read as one.
		let done = start;
		for (const { at, data } of this.#payloads) {
			if (at + data.length <= done || at > done) continue;
			const part = data.subarray(done - at, Math.min(data.length, end - at));
			target.set(part, done - start);
			done += part.length;
			if (done === end) break;
		}
		return true;
	}
}

const ZERO_PAGE = Buffer.alloc(PAGE);

export interface BatchInfo {
	generation: number;
	sequence: number;
	synced: number;
	/** bytes of the whole batch */
	length: number;
	metaLength: number;
	clock: bigint;
	count: number;
}

/** Reads a header; undefined when it is none. Nothing is verified but form. */
export const peekBatch = (bytes: Buffer): BatchInfo | undefined => {
	if (bytes.length < BATCH_HEADER || bytes.readUInt32LE(0) !== MAGIC) return undefined;
	const r = new Reader(bytes, 4);
	const metaLength = r.u32();
	const generation = r.u64();
	const sequence = r.u64();
	const synced = r.u64();
	const length = r.u32() * PAGE;
	const count = r.u32();
	const clock = r.big();
	if (metaLength < BATCH_HEADER || metaLength > length || count < 1) return undefined;
	return { generation, sequence, synced, length, metaLength, clock, count };
};

/** The operations, when the meta bytes are whole and belong to `identity`; else undefined. Payloads are not looked at. */
export const parseMeta = (meta: Buffer, info: BatchInfo, identity: BatchIdentity): Operation[] | undefined => {
	if (meta.length < info.metaLength || info.generation !== identity.generation) return undefined;
	const copy = Buffer.from(meta.subarray(0, info.metaLength));
	const checksum = copy.readBigUInt64LE(56);
	copy.fill(0, 56, 64);
	if (xxh3(copy, identity.seed) !== checksum) return undefined;
	const reader = new Reader(copy, BATCH_HEADER);
	const operations: Operation[] = [];
	try {
		for (let i = 0; i < info.count; i++) operations.push(decodeOperation(reader, info.metaLength));
	} catch {
		return undefined;
	}
	return operations;
};

/** True when every payload is in the batch and has its checksum. */
export const payloadsIntact = (batch: Buffer, operations: Operation[], seed: bigint): boolean =>
	operations.every((op) => {
		if (op.type !== WRITE && op.type !== MOVE) return true;
		const data = batch.subarray(op.payload, op.payload + op.length);
		return data.length === op.length && xxh3(data, seed) === op.checksum;
	});

/** Gives a whole batch a new identity in place: recovery writes it again elsewhere. Payload checksums are redone. */
export const reidentify = (batch: Buffer, info: BatchInfo, identity: BatchIdentity, synced: number): void => {
	const reader = new Reader(batch, BATCH_HEADER);
	for (let i = 0; i < info.count; i++) {
		const at = reader.at;
		const op = decodeOperation(reader, info.metaLength);
		if (op.type !== WRITE && op.type !== MOVE) continue;
		batch.writeBigUInt64LE(xxh3(batch.subarray(op.payload, op.payload + op.length), identity.seed), at + 40);
	}
	new Writer(batch, 8).u64(identity.generation).u64(info.sequence).u64(synced);
	batch.fill(0, 56, 64);
	batch.writeBigUInt64LE(xxh3(batch.subarray(0, info.metaLength), identity.seed), 56);
};
