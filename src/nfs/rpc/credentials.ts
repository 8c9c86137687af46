/** AUTH_SYS credentials (RFC 5531 appendix A), remembered per connection because they rarely change. */
import { XdrError, XdrReader } from "../xdr/reader.js";
import * as rpc from "./protocol.js";

export interface Identity {
	readonly uid: number;
	readonly gid: number;
	readonly gids: readonly number[];
}

/** What AUTH_NONE is: the customary "nobody". */
const NOBODY: Identity = { uid: 65534, gid: 65534, gids: [] };
const MACHINE_NAME_MAX = 255;
const GIDS_MAX = 16;

export class Credentials {
	#identity: Identity = NOBODY;
	/** the AUTH_SYS body that `#known` was read from */
	#body: Buffer = Buffer.alloc(0);
	#known: Identity | undefined;

	get identity(): Identity {
		return this.#identity;
	}

	/** Reads the credential at the reader; false when it is malformed or of a flavor that is not served. */
	read(reader: XdrReader): boolean {
		const flavor = reader.u32();
		const length = reader.length(rpc.AUTH_MAX);
		const at = reader.skip((length + 3) & ~3);
		if (flavor === rpc.AUTH_SYS) {
			if (this.#known !== undefined && this.#same(reader.buffer, at, length)) {
				this.#identity = this.#known;
				return true;
			}
			return this.#parse(reader.buffer.subarray(at, at + length));
		}
		this.#identity = NOBODY;
		return flavor === rpc.AUTH_NONE;
	}

	#same(buffer: Buffer, at: number, length: number): boolean {
		const body = this.#body;
		if (body.length !== length) return false;
		for (let index = 0; index < length; index++) if (buffer[at + index] !== body[index]) return false;
		return true;
	}

	#parse(body: Buffer): boolean {
		const reader = XdrReader.over(body);
		try {
			reader.u32(); // stamp
			reader.string(MACHINE_NAME_MAX);
			const uid = reader.u32();
			const gid = reader.u32();
			const count = reader.u32();
			if (count > GIDS_MAX) return false;
			const gids = Array.from({ length: count }, () => reader.u32());
			this.#known = { uid, gid, gids };
		} catch (error) {
			if (error instanceof XdrError) return false;
			throw error;
		}
		this.#body = Buffer.from(body);
		this.#identity = this.#known;
		return true;
	}
}
