/**
 * Streams records of one kind into packs. A pack that is full is sealed in the background, so syncing it overlaps with
 * whatever goes on; `drain` waits for all of it. Names are given by the caller at a checkpoint.
 */
import { randomBytes } from "node:crypto";
import type { Lane } from "../../native/index.js";
import { ENTRY_BYTES, writeEntry } from "./identity-table.js";
import type { Keyring } from "./keyring.js";
import { newId, PACK_TARGET_BYTES, type Random } from "./layout.js";
import { encodePackEnd, encodePackHeader, SALT_BYTES } from "./pack-format.js";
import type { Store, Upload } from "./store.js";

export interface FinishedPack {
	id: string;
	upload: Upload;
}

interface OpenPack {
	id: string;
	upload: Upload;
	footer: Buffer[];
	/** of an encrypted pack. The salt is new for every pack and a pack is written once, so no nonce comes twice. */
	sealed: { seal: Buffer; salt: Buffer } | undefined;
}

/** One record of a batch: what the footer must say about it. */
export interface RecordFacts {
	identity: Uint8Array;
	type: number;
	rawLength: number;
	/** bytes, header included */
	length: number;
}

export class PackWriter {
	readonly #store: Store;
	readonly #keyring: Keyring;
	readonly #kind: number;
	readonly #random: Random;
	readonly #lane: Lane;
	#current: OpenPack | undefined;
	#finished: FinishedPack[] = [];
	readonly #work = new Set<Promise<unknown>>();
	#failure: unknown;

	/** `lane` encrypts. */
	constructor(store: Store, keyring: Keyring, kind: number, random: Random, lane: Lane) {
		this.#store = store;
		this.#keyring = keyring;
		this.#lane = lane;
		this.#kind = kind;
		this.#random = random;
	}

	/**
	 * Appends records that lie back to back in `bytes`, with room for a tag each where the repository is encrypted.
	 * Returns the pack and the position of the first at once, and a promise for when `bytes` is free again.
	 */
	append(bytes: Buffer, records: RecordFacts[]): { pack: string; position: number; written: Promise<void> } {
		if (this.#failure !== undefined) throw this.#failure;
		this.#current ??= this.#begin();
		const { id, upload, footer, sealed } = this.#current;
		const position = upload.length;
		const entries = Buffer.alloc(records.length * ENTRY_BYTES);
		let at = position;
		for (let n = 0; n < records.length; n++) {
			const { identity, type, rawLength, length } = records[n];
			writeEntry(entries, n * ENTRY_BYTES, identity, 0, at, length, type, rawLength);
			at += length;
		}
		footer.push(entries);
		const lengths = () => Uint32Array.from(records, ({ length }) => length);
		const ready = sealed && this.#lane.sealRecords(bytes, lengths(), position, sealed.seal);
		const written = this.#track(upload.append([bytes], ready));
		if (upload.length >= PACK_TARGET_BYTES) this.#finish();
		return { pack: id, position, written };
	}

	#begin(): OpenPack {
		const id = newId(this.#random);
		const upload = this.#store.upload();
		// Not from the injected source of ids: whatever that is, a salt must never come twice.
		const salt = this.#keyring.encrypted ? randomBytes(SALT_BYTES) : undefined;
		const sealed = salt && { salt, seal: this.#keyring.packSeal(id, salt) };
		this.#current = { id, upload, footer: [], sealed };
		this.#track(upload.append([encodePackHeader(this.#kind, id, this.#keyring.repository, salt)]));
		return this.#current;
	}

	#finish(): void {
		const pack = this.#current;
		if (pack === undefined) return;
		this.#current = undefined;
		const footer = Buffer.concat(pack.footer);
		this.#track(pack.upload.append(encodePackEnd(pack.id, pack.upload.length, footer, pack.sealed)));
		this.#finished.push({ id: pack.id, upload: pack.upload });
		this.#track(pack.upload.seal());
	}

	/** Remembers work in flight and its first failure; the promise is handled either way. */
	#track(work: Promise<void>): Promise<void> {
		this.#work.add(work);
		work.then(
			() => this.#work.delete(work),
			(error) => {
				this.#work.delete(work);
				this.#failure ??= error;
			},
		);
		return work;
	}

	/** Closes the current pack and waits until all are sealed; the caller publishes what it gets. */
	async drain(): Promise<FinishedPack[]> {
		this.#finish();
		await Promise.allSettled(this.#work);
		if (this.#failure !== undefined) throw this.#failure;
		const finished = this.#finished;
		this.#finished = [];
		return finished;
	}

	/** Removes every temporary file. */
	async abandon(): Promise<void> {
		await Promise.allSettled(this.#work);
		if (this.#current !== undefined) await this.#current.upload.abandon();
		for (const { upload } of this.#finished) await upload.abandon();
		this.#current = undefined;
		this.#finished = [];
	}
}
