/**
 * Reads all records of packs back and compares their content with their identity. Several batches are under way at
 * once, each in a buffer of its own: reading and decoding run on the store's threads, hashing on one thread per core.
 */
import { availableParallelism } from "node:os";
import { createLane, type Lane } from "../../native/index.js";
import { ENTRY_BYTES } from "./identity-table.js";
import type { Keyring } from "./keyring.js";
import { IDENTITY_BYTES, OBJECT_MAX_BYTES, packName, TYPE } from "./layout.js";
import { MAP_PAGE_BYTES } from "./map-geometry.js";
import { PackSeals } from "./pack-seals.js";
import type { Store, StoreRead } from "./store.js";

/** Plain bytes that are verified as one batch. */
const BATCH_BYTES = 1024 * 1024;

/** One record that was read back. */
export interface Verified {
	type: number;
	identity: Buffer;
	/** of the record's header in the pack, bytes */
	position: number;
	/** bytes, header included */
	length: number;
	/** why it must not be served */
	fault?: string;
	/** the plain bytes of a good record; valid until `visit` settles */
	plain: Buffer;
}

/** Gets the records of one batch, in file order. They are of one type, each at the start of a slot of `slotBytes` in `buffer`. */
export type Visit = (records: Verified[], buffer: Buffer, slotBytes: number) => void | Promise<void>;

export class RecordVerifier {
	readonly #lane: Lane = createLane("repository-check", availableParallelism());
	readonly #free: Buffer[];
	readonly #waiting: ((buffer: Buffer) => void)[] = [];
	readonly #slots: Record<number, number>;
	readonly #seals: PackSeals;
	#failure: { error: unknown } | undefined;
	readonly #running = new Set<Promise<void>>();

	constructor(
		private readonly store: Store,
		private readonly keyring: Keyring,
		blockSize: number,
	) {
		this.#seals = new PackSeals(store, keyring);
		const buffers = availableParallelism() * 2;
		this.#free = Array.from({ length: buffers }, () => Buffer.allocUnsafeSlow(BATCH_BYTES));
		this.#slots = { [TYPE.block]: blockSize, [TYPE.page]: MAP_PAGE_BYTES, [TYPE.object]: OBJECT_MAX_BYTES };
	}

	/**
	 * Begins to verify the records that `entries` (48 bytes each, unchanged until `drain`) name. Resolves when the last
	 * batch has begun: `visit` may be called later. What fails, but for bad records, is thrown here or by `drain`.
	 */
	async verify(pack: string, entries: Buffer, visit: Visit): Promise<void> {
		for (let first = 0; first < entries.length; ) {
			const type = entries[first + 47];
			const slot = this.#slots[type] ?? BATCH_BYTES;
			let last = first + ENTRY_BYTES;
			const most = Math.max(1, Math.floor(BATCH_BYTES / slot));
			while (last < entries.length && entries[last + 47] === type && last - first < most * ENTRY_BYTES)
				last += ENTRY_BYTES;
			const buffer = this.#free.pop() ?? (await new Promise<Buffer>((resolve) => this.#waiting.push(resolve)));
			const work = this.#batch(pack, entries.subarray(first, last), slot, buffer, visit)
				.catch((error) => {
					this.#failure ??= { error };
				})
				.finally(() => {
					this.#running.delete(work);
					const next = this.#waiting.shift();
					if (next === undefined) this.#free.push(buffer);
					else next(buffer);
				});
			this.#running.add(work);
			if (this.#failure !== undefined) throw this.#failure.error;
			first = last;
		}
	}

	/** Settles when everything that was begun has been visited. */
	async drain(): Promise<void> {
		await Promise.all(this.#running);
		if (this.#failure !== undefined) throw this.#failure.error;
	}

	async #batch(pack: string, entries: Buffer, slot: number, buffer: Buffer, visit: Visit): Promise<void> {
		const file = packName(pack);
		await this.#seals.load([pack]);
		const seal = this.#seals.of(pack);
		const records: Verified[] = [];
		const reads: StoreRead[] = [];
		for (let at = 0, start = 0; at < entries.length; at += ENTRY_BYTES, start += slot) {
			const type = entries[at + 47];
			const rawLength = entries.readUInt32LE(at + 44) & 0xffffff;
			const identity = entries.subarray(at, at + IDENTITY_BYTES);
			const position = entries.readUInt32LE(at + 36);
			const length = entries.readUInt32LE(at + 40);
			const known = this.#slots[type] !== undefined;
			const fault = !known ? "its type is unknown" : rawLength > slot ? "its length is impossible" : undefined;
			const plain = buffer.subarray(start, start + rawLength);
			records.push({ type, identity, position, length, plain, ...(fault && { fault }) });
			if (fault === undefined)
				reads.push({ file, identity, position, length, type, rawLength, target: buffer, targetOffset: start, seal });
		}
		const statuses = reads.length === 0 ? [] : await this.store.readRecords(reads);
		// The last of a batch may be short for its slot; others that are get hashed by themselves below.
		const end = (records.length - 1) * slot + (records.at(-1)?.plain.length ?? 0);
		const hashed =
			reads.length === 0
				? undefined
				: await this.#lane.hashBlocks(buffer.subarray(0, end), slot, this.keyring.identityKey);
		let next = 0;
		records.forEach((record, n) => {
			if (record.fault !== undefined) return;
			const status = statuses[next++];
			if (status !== "ok") {
				record.fault = `record is damaged (${status})`;
				return;
			}
			const whole = record.plain.length === slot || n === records.length - 1;
			const actual =
				hashed !== undefined && whole && hashed.zero[n] === 0
					? hashed.identities.subarray(n * IDENTITY_BYTES, (n + 1) * IDENTITY_BYTES)
					: this.keyring.identityOf(record.plain);
			if (!actual.equals(record.identity)) record.fault = "content differs from its SHA-256";
		});
		await visit(records, buffer, slot);
	}

	async close(): Promise<void> {
		await Promise.all(this.#running);
		await this.#lane.close();
	}
}
