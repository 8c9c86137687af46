/** The keys of a repository that is open (docs/format.md, 11); of a plain one only its name. */
import { hkdfSync } from "node:crypto";
import { hmacSha256, sha256 } from "../../native/index.js";

export const MASTER_KEY_BYTES = 32;

declare const named: unique symbol;
/** 32 bytes that a keyring made: plain SHA-256 in an encrypted repository would tell what is in it. */
export type Identity = Buffer & { readonly [named]: true };

export class Keyring {
	readonly #master: Buffer | undefined;
	readonly #id: Buffer;
	/** names blocks, pages and objects; undefined where SHA-256 does */
	readonly identityKey: Buffer | undefined;

	/** `repository`: its id. Without `master` the repository is not encrypted. */
	constructor(
		readonly repository: string,
		master?: Buffer,
	) {
		this.#master = master;
		this.#id = Buffer.from(repository, "hex");
		// The dedupe domain, so far always the empty one, would follow the words.
		this.identityKey = master && this.#derive(Buffer.alloc(0), Buffer.from("springback identity v1"));
	}

	get encrypted(): boolean {
		return this.#master !== undefined;
	}

	/** Identity of plain bytes: SHA-256, or HMAC-SHA-256 under the identity key. */
	identityOf(bytes: Uint8Array): Identity {
		const identity = this.identityKey === undefined ? sha256(bytes) : hmacSha256(this.identityKey, bytes);
		return identity as Identity;
	}

	/** What the native addon seals and opens a pack's records with; only of an encrypted repository. */
	packSeal(pack: string, salt: Uint8Array): Buffer {
		const id = Buffer.from(pack, "hex");
		return this.#seal(this.#derive(salt, Buffer.concat([Buffer.from("springback pack v1"), this.#id, id])), id);
	}

	/** The same for a file that is one object: a restore point. */
	objectSeal(object: string): Buffer {
		const id = Buffer.from(object, "hex");
		return this.#seal(this.#derive(id, Buffer.concat([Buffer.from("springback point v1"), this.#id])), id);
	}

	#seal(key: Buffer, file: Buffer): Buffer {
		return Buffer.concat([key, this.#id, file]);
	}

	#derive(salt: Uint8Array, info: Buffer): Buffer {
		if (this.#master === undefined) throw new Error("a repository without encryption has no keys");
		return Buffer.from(hkdfSync("sha256", this.#master, salt, info, MASTER_KEY_BYTES));
	}
}
