/** fattr3, post_op_attr, wcc_data and sattr3 (RFC 1813 section 2.6). */
import type { Attributes, Before, Change, FileKind, SetAttributes, TimeNs } from "../../vfs/vfs.js";
import type { XdrReader } from "../xdr/reader.js";
import { XdrError } from "../xdr/reader.js";
import type { XdrWriter } from "../xdr/writer.js";

export const FTYPE: Record<FileKind, number> = {
	file: 1,
	directory: 2,
	block: 3,
	char: 4,
	symlink: 5,
	socket: 6,
	fifo: 7,
};

const SECOND = 1_000_000_000n;
const TWO_32 = 0x1_0000_0000;
const FATTR3_BYTES = 84;

/**
 * Times and ids are bigints, slow to take apart; those encoded last are kept, since busy files come again and
 * again. `words` holds fsid, fileid, atime, mtime, ctime as they appear on the wire.
 */
let lastFsid = -1n;
let lastFileid = -1n;
let lastAtime = -1n;
let lastMtime = -1n;
let lastCtime = -1n;
const words = new DataView(new ArrayBuffer(40));

function putTime(at: number, time: TimeNs): void {
	// nfstime3 has unsigned 32-bit seconds: 1970 to 2106.
	let seconds = time / SECOND;
	let nanoseconds = time % SECOND;
	if (time < 0n) {
		seconds = 0n;
		nanoseconds = 0n;
	} else if (seconds > 0xffff_ffffn) seconds = 0xffff_ffffn;
	words.setUint32(at, Number(seconds));
	words.setUint32(at + 4, Number(nanoseconds));
}

/** nfstime3 */
function encodeTime(writer: XdrWriter, time: TimeNs): void {
	putTime(32, time);
	lastCtime = time;
	writer.u32(words.getUint32(32));
	writer.u32(words.getUint32(36));
}

export function encodeAttributes(writer: XdrWriter, attributes: Attributes): void {
	if (attributes.fsid !== lastFsid) {
		lastFsid = attributes.fsid;
		words.setBigUint64(0, lastFsid);
	}
	if (attributes.fileid !== lastFileid) {
		lastFileid = attributes.fileid;
		words.setBigUint64(8, lastFileid);
	}
	if (attributes.atime !== lastAtime) {
		lastAtime = attributes.atime;
		putTime(16, lastAtime);
	}
	if (attributes.mtime !== lastMtime) {
		lastMtime = attributes.mtime;
		putTime(24, lastMtime);
	}
	if (attributes.ctime !== lastCtime) {
		lastCtime = attributes.ctime;
		putTime(32, lastCtime);
	}
	writer.ensure(FATTR3_BYTES);
	const { view, position: at } = writer;
	view.setUint32(at, FTYPE[attributes.kind]);
	view.setUint32(at + 4, attributes.mode);
	view.setUint32(at + 8, attributes.nlink);
	view.setUint32(at + 12, attributes.uid);
	view.setUint32(at + 16, attributes.gid);
	const sizeHigh = Math.floor(attributes.size / TWO_32);
	view.setUint32(at + 20, sizeHigh);
	view.setUint32(at + 24, attributes.size - sizeHigh * TWO_32);
	const usedHigh = Math.floor(attributes.used / TWO_32);
	view.setUint32(at + 28, usedHigh);
	view.setUint32(at + 32, attributes.used - usedHigh * TWO_32);
	view.setUint32(at + 36, attributes.rdevMajor);
	view.setUint32(at + 40, attributes.rdevMinor);
	for (let word = 0; word < 40; word += 4) view.setUint32(at + 44 + word, words.getUint32(word));
	writer.position = at + FATTR3_BYTES;
}

/** post_op_attr */
export function encodePostOp(writer: XdrWriter, attributes: Attributes | undefined): void {
	if (attributes === undefined) {
		writer.u32(0);
		return;
	}
	writer.u32(1);
	encodeAttributes(writer, attributes);
}

function encodePreOp(writer: XdrWriter, before: Before | undefined): void {
	if (before === undefined) {
		writer.u32(0);
		return;
	}
	writer.u32(1);
	writer.u64(before.size);
	encodeTime(writer, before.mtime);
	encodeTime(writer, before.ctime);
}

/** wcc_data */
export function encodeChange(writer: XdrWriter, change: Change | undefined): void {
	encodePreOp(writer, change?.before);
	encodePostOp(writer, change?.after);
}

function decodeTime(args: XdrReader): TimeNs {
	const seconds = args.u32();
	return BigInt(seconds) * SECOND + BigInt(args.u32());
}

function decodeSetTime(args: XdrReader): TimeNs | "now" | undefined {
	const how = args.u32();
	if (how === 0) return undefined;
	if (how === 1) return "now";
	if (how === 2) return decodeTime(args);
	throw new XdrError(`time_how ${how}`);
}

/** sattr3; `size` may be above 2^53-1, which the caller must refuse. */
export function decodeSetAttributes(args: XdrReader): SetAttributes {
	const set: SetAttributes = {};
	if (args.bool()) set.mode = args.u32() & 0o7777;
	if (args.bool()) set.uid = args.u32();
	if (args.bool()) set.gid = args.u32();
	if (args.bool()) set.size = args.u64();
	const atime = decodeSetTime(args);
	if (atime !== undefined) set.atime = atime;
	const mtime = decodeSetTime(args);
	if (mtime !== undefined) set.mtime = mtime;
	return set;
}

/** Sizes beyond 2^53-1 are answered FBIG. */
export const sizeFits = (set: SetAttributes): boolean => set.size === undefined || Number.isSafeInteger(set.size);

/** The time of a sattrguard3 (RFC 1813 section 3.3.2). */
export function decodeGuard(args: XdrReader): TimeNs | undefined {
	return args.bool() ? decodeTime(args) : undefined;
}
