/**
 * File handles: 42 bytes, deterministic, authenticated, valid across restarts (ESXi accepts at most 56).
 *
 *   0  1  version (1)
 *   1  1  scope: 0 mounted at /springback, 1 mounted at /springback/NAME (".." stops at the session's root)
 *   2  16 session UUID (zeros: the /springback directory itself)
 *   18 8  inode, big endian
 *   26 16 HMAC-SHA256 over bytes 0..25, truncated
 *
 * A session made again under an old name has a new UUID, so its old handles are stale, not aliases.
 */
import { timingSafeEqual } from "node:crypto";
import { hmacSha256 } from "../../native/index.js";

export const HANDLE_LENGTH = 42;
const SIGNED = 26;
const VERSION = 1;

export type Scope = "all" | "session";

export interface HandleFields {
	scope: Scope;
	/** 16 bytes */
	uuid: Buffer;
	inode: number;
}

export class HandleCodec {
	/** `key`: 32 secret bytes, kept with the sessions */
	constructor(private readonly key: Buffer) {}

	encode(fields: HandleFields): Buffer {
		const handle = Buffer.alloc(HANDLE_LENGTH);
		handle[0] = VERSION;
		handle[1] = fields.scope === "session" ? 1 : 0;
		fields.uuid.copy(handle, 2, 0, 16);
		handle.writeBigUInt64BE(BigInt(fields.inode), 18);
		hmacSha256(this.key, handle.subarray(0, SIGNED)).copy(handle, SIGNED, 0, HANDLE_LENGTH - SIGNED);
		return handle;
	}

	/** undefined: malformed or forged. */
	decode(handle: Buffer): HandleFields | undefined {
		if (handle.length !== HANDLE_LENGTH || handle[0] !== VERSION || handle[1] > 1) return undefined;
		const mac = hmacSha256(this.key, handle.subarray(0, SIGNED)).subarray(0, HANDLE_LENGTH - SIGNED);
		if (!timingSafeEqual(mac, handle.subarray(SIGNED))) return undefined;
		return {
			scope: handle[1] === 1 ? "session" : "all",
			uuid: Buffer.from(handle.subarray(2, 18)),
			inode: Number(handle.readBigUInt64BE(18)),
		};
	}
}
