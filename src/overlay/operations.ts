/**
 * The operations of a batch (docs/overlay-format.md, "Operations"): encoding and parsing. They record effects;
 * what they do is in state.ts.
 */
import { Reader, type Writer } from "./codec.js";
import { PAGE } from "./geometry.js";
import { inodeSize, type Node, readInode, writeInode } from "./inode.js";

export const WRITE = 1;
export const ZERO = 2;
export const MOVE = 3;
export const PUT_INODE = 4;
export const DELETE_INODE = 5;
export const PUT_ENTRY = 6;
export const DELETE_ENTRY = 7;
export const TRUNCATE = 8;
export const REQUEST = 9;

/** Header and fixed body of WRITE, ZERO and MOVE. */
export const WRITE_SIZE = 56;

export interface Content {
	type: typeof WRITE | typeof ZERO | typeof MOVE;
	id: number;
	offset: number;
	length: number;
	epoch: number;
	time: bigint;
	/** of the payload */
	checksum: bigint;
	/** payload's offset from the batch's start; 0 for ZERO */
	payload: number;
}

export type Operation =
	| Content
	| { type: typeof PUT_INODE; node: Node }
	| { type: typeof DELETE_INODE; id: number }
	| { type: typeof PUT_ENTRY; directory: number; cookie: number; id: number; name: string }
	| { type: typeof DELETE_ENTRY; directory: number; cookie: number }
	| { type: typeof TRUNCATE; id: number; size: number; epoch: number; time: bigint }
	| { type: typeof REQUEST; key: string; reply: Buffer };

const up8 = (n: number): number => (n + 7) & ~7;

/** Bytes an operation takes, inline payload apart. */
export const operationSize = (op: Operation): number => {
	switch (op.type) {
		case PUT_INODE:
			return up8(8 + inodeSize(op.node, true));
		case DELETE_INODE:
			return 16;
		case PUT_ENTRY:
			return up8(8 + 26 + op.name.length);
		case DELETE_ENTRY:
			return 24;
		case TRUNCATE:
			return 40;
		case REQUEST:
			return up8(8 + 20 + op.reply.length);
		default:
			return WRITE_SIZE;
	}
};

/** Appends `op` (and `inline` after it) at the writer's place; the buffer must be zero-filled. */
export const encodeOperation = (w: Writer, op: Operation, inline?: Uint8Array): void => {
	const start = w.at;
	const length = up8(operationSize(op) + (inline?.length ?? 0));
	w.u8(op.type)
		.u8(inline ? 1 : 0)
		.u16(0)
		.u32(length);
	switch (op.type) {
		case PUT_INODE:
			writeInode(w, op.node, true);
			break;
		case DELETE_INODE:
			w.u64(op.id);
			break;
		case PUT_ENTRY:
			w.u64(op.directory).u64(op.cookie).u64(op.id).u16(op.name.length).bytes(Buffer.from(op.name, "latin1"));
			break;
		case DELETE_ENTRY:
			w.u64(op.directory).u64(op.cookie);
			break;
		case TRUNCATE:
			w.u64(op.id).u64(op.size).u32(op.epoch).u32(0).big(op.time);
			break;
		case REQUEST:
			w.bytes(Buffer.from(op.key.padEnd(16, "\0"), "latin1"))
				.u32(op.reply.length)
				.bytes(op.reply);
			break;
		default:
			w.u64(op.id).u64(op.offset).u32(op.length).u32(op.epoch).big(op.time).hash(op.checksum);
			w.u32(op.payload).u32(0);
			if (inline) w.bytes(inline);
	}
	w.at = start + length;
};

/** Parses one operation; throws RangeError when it cannot be one. */
export const decodeOperation = (r: Reader, end: number): Operation => {
	const start = r.at;
	if (start + 8 > end) throw new RangeError("operation cut short");
	const type = r.u8();
	r.u8();
	r.u16();
	const length = r.u32();
	if (length < 16 || length % 8 !== 0 || start + length > end) throw new RangeError("bad operation length");
	const body = new Reader(r.buffer.subarray(0, start + length), start + 8);
	r.at = start + length;
	switch (type) {
		case PUT_INODE:
			return { type, node: readInode(body) };
		case DELETE_INODE:
			return { type, id: body.u64() };
		case PUT_ENTRY: {
			const directory = body.u64();
			const cookie = body.u64();
			const id = body.u64();
			return { type, directory, cookie, id, name: body.bytes(body.u16()).toString("latin1") };
		}
		case DELETE_ENTRY:
			return { type, directory: body.u64(), cookie: body.u64() };
		case TRUNCATE: {
			const id = body.u64();
			const size = body.u64();
			const epoch = body.u32();
			body.u32();
			return { type, id, size, epoch, time: body.big() };
		}
		case REQUEST:
			return { type, key: body.bytes(16).toString("latin1"), reply: body.bytes(body.u32()) };
		case WRITE:
		case ZERO:
		case MOVE:
			return {
				type,
				id: body.u64(),
				offset: body.u64(),
				length: body.u32(),
				epoch: body.u32(),
				time: body.big(),
				checksum: body.hash(),
				payload: body.u32(),
			};
		default:
			throw new RangeError("unknown operation");
	}
};

/** Upper bound of what a namespace change logs besides names, target and reply. */
export const NAMESPACE_META = PAGE / 2;
