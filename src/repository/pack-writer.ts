/**
 * Streams records of one kind into packs. A pack that is full is sealed in the background, so syncing it overlaps with
 * whatever goes on; `drain` waits for all of it. Names are given by the caller at a checkpoint.
 */
import { ENTRY_BYTES, writeEntry } from "./identity-table.js";
import { newId, PACK_TARGET_BYTES, type Random } from "./layout.js";
import { encodePackHeader, encodePackTrailer } from "./pack-format.js";
import type { Store, Upload } from "./store.js";

export interface FinishedPack {
	id: string;
	upload: Upload;
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
	readonly #repository: string;
	readonly #kind: number;
	readonly #random: Random;
	#current: { id: string; upload: Upload; footer: Buffer[] } | undefined;
	#finished: FinishedPack[] = [];
	readonly #work = new Set<Promise<unknown>>();
	#failure: unknown;

	constructor(store: Store, repository: string, kind: number, random: Random) {
		this.#store = store;
		this.#repository = repository;
		this.#kind = kind;
		this.#random = random;
	}

	/**
	 * Appends records that lie back to back in `bytes`. Returns the pack and the position of the first at once, and a
	 * promise for when `bytes` is free again.
	 */
	append(bytes: Buffer, records: RecordFacts[]): { pack: string; position: number; written: Promise<void> } {
		if (this.#failure !== undefined) throw this.#failure;
		this.#current ??= this.#begin();
		const { id, upload, footer } = this.#current;
		const position = upload.length;
		const entries = Buffer.alloc(records.length * ENTRY_BYTES);
		let at = position;
		for (let n = 0; n < records.length; n++) {
			const { identity, type, rawLength, length } = records[n];
			writeEntry(entries, n * ENTRY_BYTES, identity, 0, at, length, type, rawLength);
			at += length;
		}
		footer.push(entries);
		const written = this.#track(upload.append([bytes]));
		if (upload.length >= PACK_TARGET_BYTES) this.#finish();
		return { pack: id, position, written };
	}

	#begin(): { id: string; upload: Upload; footer: Buffer[] } {
		const id = newId(this.#random);
		const upload = this.#store.upload();
		this.#current = { id, upload, footer: [] };
		this.#track(upload.append([encodePackHeader(this.#kind, id, this.#repository)]));
		return this.#current;
	}

	#finish(): void {
		const pack = this.#current;
		if (pack === undefined) return;
		this.#current = undefined;
		const footer = Buffer.concat(pack.footer);
		this.#track(pack.upload.append([footer, encodePackTrailer(pack.id, pack.upload.length, footer)]));
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
