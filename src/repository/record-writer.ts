/**
 * Stores records that are not in the repository yet: data blocks, map pages and objects, in packs of its own. What is new it
 * shares with the other backups of the process; a checkpoint makes it durable (docs/format.md, 10.1).
 */
import { encodeRecord, type Lane } from "../../native/index.js";
import type { Compression } from "./compression.js";
import type { Index, Locator } from "./index-set.js";
import type { Keyring } from "./keyring.js";
import { CODEC, IDENTITY_BYTES, type Random, TYPE } from "./layout.js";
import type { MapPage } from "./map-builder.js";
import { type Member, NewRecords } from "./new-records.js";
import { PACK_KIND } from "./pack-format.js";
import { type FinishedPack, PackWriter, type RecordFacts } from "./pack-writer.js";
import type { Store } from "./store.js";

/** Map pages and objects are appended in batches of this many bytes. */
const BATCH_BYTES = 256 * 1024;

export interface StoredBytes {
	/** plain bytes of records that were new */
	plain: number;
	/** bytes of those records */
	stored: number;
}

export interface RecordWriterOptions {
	keyring: Keyring;
	/** of data blocks */
	compression: Compression;
	random: Random;
	/** new records after which a checkpoint is due */
	checkpointRecords: number;
	/** packs that are about to be deleted: what is only in them counts as absent */
	condemned: ReadonlySet<string>;
	/** of the backups that run at once in this process; default: of this one alone */
	records?: NewRecords;
}

export class RecordWriter implements Member {
	readonly #index: Index;
	readonly #lane: Lane;
	readonly keyring: Keyring;
	readonly #compression: Compression;
	readonly #checkpointRecords: number;
	readonly #condemned: ReadonlySet<string>;
	readonly #data: PackWriter;
	readonly #meta: PackWriter;
	readonly #records: NewRecords;
	#batch: { bytes: Buffer; facts: RecordFacts; entry: number }[] = [];
	#batchBytes = 0;
	/** settles when the batch before has been encoded and its place is known */
	#lastAppend: Promise<unknown> = Promise.resolve();
	/** bytes of all records stored */
	recordBytes = 0;

	constructor(store: Store, index: Index, lane: Lane, options: RecordWriterOptions) {
		const { keyring, random } = options;
		this.#checkpointRecords = options.checkpointRecords;
		this.#compression = options.compression;
		this.#condemned = options.condemned;
		this.keyring = keyring;
		this.#index = index;
		this.#lane = lane;
		this.#data = new PackWriter(store, keyring, PACK_KIND.data, random, lane);
		this.#meta = new PackWriter(store, keyring, PACK_KIND.meta, random, lane);
		this.#records = options.records ?? new NewRecords(store, index);
		this.#records.join(this);
	}

	/** Whether enough is new that `checkpoint` should be called. */
	get checkpointDue(): boolean {
		return this.#records.count >= this.#checkpointRecords;
	}

	/** Runs look-ups and claims that no checkpoint may come between; what was claimed is being stored when it returns. */
	claiming<T>(work: () => T | Promise<T>): Promise<T> {
		return this.#records.claiming(work);
	}

	/** Whether the record is stored already, in a backup that runs here or before. */
	has(identity: Buffer, offset: number, type: number): boolean | Promise<boolean> {
		if (this.#records.has(identity, offset, type)) return true;
		const found = this.#index.find(identity, offset, type);
		if (found instanceof Promise) return found.then((place) => this.#stays(place, identity, offset, type));
		return this.#stays(found, identity, offset, type);
	}

	#stays(place: Locator | null, identity: Buffer, offset: number, type: number): boolean | Promise<boolean> {
		if (place === null) return false;
		return !this.#condemned.has(place.pack) || this.#isElsewhere(identity, offset, type);
	}

	async #isElsewhere(identity: Buffer, offset: number, type: number): Promise<boolean> {
		for await (const { pack } of this.#index.findAll(identity, offset, type))
			if (!this.#condemned.has(pack)) return true;
		return false;
	}

	/** Promises to store a record that `has` denied, so that the next one like it is a duplicate. Returns its number for `storeBlocks`. */
	claim(identity: Buffer, offset: number, type: number, rawLength: number): number {
		// None: a twin was claimed while this one's look-up was under way; storing it there again is harmless but wasteful.
		return this.#records.claim(identity, offset, type, rawLength);
	}

	/**
	 * Encodes and stores blocks that were claimed. `chosen` are block numbers within `data`, `entries` their claims.
	 * Resolves when `data` is free again.
	 */
	async storeBlocks(
		data: Buffer,
		blockSize: number,
		chosen: number[],
		entries: number[],
		identities: Buffer,
	): Promise<StoredBytes> {
		const work = this.#storeBlocks(data, blockSize, chosen, entries, identities);
		this.#records.follow(work);
		return work;
	}

	async #storeBlocks(
		data: Buffer,
		blockSize: number,
		chosen: number[],
		entries: number[],
		identities: Buffer,
	): Promise<StoredBytes> {
		const before = this.#lastAppend;
		const encoding = this.#lane.encodeRecords(
			data,
			blockSize,
			Uint32Array.from(chosen),
			identities,
			TYPE.block,
			this.#compression.codec,
			this.#compression.level,
			this.keyring.encrypted,
		);
		// Encoded side by side, appended in order: packs then hold a disk's blocks as they lie on it, for sequential reading.
		const inOrder = Promise.allSettled([before, encoding]).then(() => {});
		this.#lastAppend = inOrder;
		await inOrder;
		const { bytes, lengths } = await encoding;
		let plain = 0;
		const facts: RecordFacts[] = chosen.map((block, n) => {
			const rawLength = Math.min(blockSize, data.length - block * blockSize);
			plain += rawLength;
			const identity = identities.subarray(block * IDENTITY_BYTES, (block + 1) * IDENTITY_BYTES);
			return { identity, type: TYPE.block, rawLength, length: lengths[n] };
		});
		await this.#append(this.#data, bytes, facts, entries);
		return { plain, stored: bytes.length };
	}

	#append(writer: PackWriter, bytes: Buffer, facts: RecordFacts[], entries: number[]): Promise<void> {
		const { pack, position, written } = writer.append(bytes, facts);
		let at = position;
		for (let n = 0; n < facts.length; n++) {
			this.#records.place(entries[n], pack, at, facts[n].length);
			at += facts[n].length;
		}
		this.recordBytes += bytes.length;
		return written;
	}

	/** Stores map pages that are not there yet. */
	storePages(pages: MapPage[]): Promise<void> {
		return this.claiming(async () => {
			for (const { identity, bytes } of pages) {
				const known = this.has(identity, 0, TYPE.page);
				if (known instanceof Promise ? await known : known) continue;
				await this.#storeSmall(identity, bytes, TYPE.page);
			}
		});
	}

	/** Stores one object of at most 1 MiB; returns its identity. */
	async storeObject(bytes: Buffer): Promise<Buffer> {
		const identity = this.keyring.identityOf(bytes);
		await this.claiming(async () => {
			if (!(await this.has(identity, 0, TYPE.object))) await this.#storeSmall(identity, bytes, TYPE.object);
		});
		return identity;
	}

	async #storeSmall(identity: Buffer, plain: Buffer, type: number): Promise<void> {
		const entry = this.claim(identity, 0, type, plain.length);
		if (entry < 0) return;
		// Pages are digests and objects small: stronger compression would gain nothing.
		const codec = this.#compression.codec === CODEC.raw ? CODEC.raw : CODEC.lz4;
		const bytes = encodeRecord(plain, identity, type, codec, undefined, this.keyring.encrypted);
		this.#batch.push({ bytes, entry, facts: { identity, type, rawLength: plain.length, length: bytes.length } });
		this.#batchBytes += bytes.length;
		if (this.#batchBytes >= BATCH_BYTES) await this.#flushBatch();
	}

	async #flushBatch(): Promise<void> {
		const batch = this.#batch;
		if (batch.length === 0) return;
		this.#batch = [];
		this.#batchBytes = 0;
		const bytes = Buffer.concat(batch.map((record) => record.bytes));
		const work = this.#append(
			this.#meta,
			bytes,
			batch.map(({ facts }) => facts),
			batch.map(({ entry }) => entry),
		);
		this.#records.follow(work);
		await work;
	}

	/** Makes everything stored so far durable and findable, by all who share it. */
	checkpoint(): Promise<void> {
		return this.#records.checkpoint();
	}

	async drain(to: FinishedPack[]): Promise<void> {
		await this.#flushBatch();
		to.push(...(await this.#data.drain()));
		to.push(...(await this.#meta.drain()));
	}

	/** Sees what other backups have made durable since: what they stored need not be stored again. */
	async lookAround(): Promise<void> {
		await this.#index.refresh();
	}

	/** Ends: what is not durable is removed, unless others count on it. Packs of checkpoints stay and will be reused. */
	leave(): Promise<void> {
		return this.#records.leave(this);
	}

	async discard(): Promise<void> {
		await Promise.all([this.#data.abandon(), this.#meta.abandon()]);
	}
}
