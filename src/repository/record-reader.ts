/**
 * Fetches records by identity: index lookup, then one native job that reads, verifies and decodes them into their
 * targets. A record that fails is tried once more from every other place that the index knows.
 */
import type { RecordStatus } from "../../native/index.js";
import { causeOf } from "./errors.js";
import type { Index, Locator } from "./index-set.js";
import { IDENTITY_BYTES, packName } from "./layout.js";
import { PackSeals } from "./pack-seals.js";
import { type Neighbour, PackTables } from "./pack-tables.js";
import type { RecordWaiter, Store, StoreRead, Wanted } from "./store.js";

export type { Wanted } from "./store.js";

export interface RecordFault {
	code: "ECORRUPT" | "EIO";
	message: string;
}

const REASON: Partial<Record<RecordStatus, string>> = {
	short: "the pack is cut short",
	magic: "no record there",
	type: "a record of another type",
	length: "its length differs",
	checksum: "checksum differs",
	identity: "another block's record",
	decode: "cannot be decompressed",
	encrypted: "it is encrypted",
	plain: "it is not encrypted",
	tag: "it is not authentic",
	content: "content differs from its SHA-256",
	ENOENT: "the pack is missing",
};

/** The record is not where it was said to be. */
const MISPLACED: ReadonlySet<RecordStatus> = new Set([
	"short",
	"magic",
	"type",
	"length",
	"identity",
	"ENOENT",
] as const);

export class RecordReader {
	readonly tables: PackTables;
	readonly #seals: PackSeals;

	constructor(
		readonly store: Store,
		readonly index: Index,
	) {
		this.#seals = new PackSeals(store, index.keyring);
		this.tables = new PackTables(store, this.#seals);
	}

	/** Reads all; per record undefined when its target is filled, else what is wrong. Never rejects. */
	async read(wanted: Wanted[]): Promise<(RecordFault | undefined)[]> {
		try {
			const found = wanted.map((one) => this.locate(one.identity, one.offset, one.type));
			const places = found.some((place) => place instanceof Promise)
				? await Promise.all(found)
				: (found as (Locator | null)[]);
			const result: (RecordFault | undefined)[] = new Array(wanted.length);
			if (this.index.keyring.encrypted) await this.#seals.load(places.flatMap((place) => place?.pack ?? []));
			const reads: StoreRead[] = [];
			const numbers: number[] = [];
			places.forEach((place, n) => {
				if (place === null || place.rawLength !== wanted[n].rawLength) return;
				if (place.packSize !== undefined) this.tables.reading(place.pack, place.packSize);
				reads.push(this.#toRead(wanted[n], place));
				numbers.push(n);
			});
			const statuses = reads.length === 0 ? [] : await this.store.readRecords(reads);
			const good = new Set<number>();
			statuses.forEach((status, n) => {
				if (status === "ok") good.add(numbers[n]);
				else this.#failed(places[numbers[n]]!, status);
			});
			for (let n = 0; n < wanted.length; n++) if (!good.has(n)) result[n] = await this.#retry(wanted[n]);
			return result;
		} catch (error) {
			return wanted.map(() => ({ code: "EIO", message: `${this.store.place}: ${causeOf(error)}` }));
		}
	}

	/**
	 * Begins one read without a promise; false when it takes waiting to find the place or to open the pack, and nothing was
	 * begun. A read that turns out bad is one for `read`, which looks everywhere and says what is wrong.
	 */
	start(wanted: Wanted, waiter: RecordWaiter): boolean {
		const { identity, offset, type } = wanted;
		// The tables are quicker to ask than the index, and a place in either is only a hint.
		const place = this.tables.find(identity, offset, type) ?? this.index.peek(identity, offset, type);
		if (!place || place.rawLength !== wanted.rawLength) return false;
		if (this.index.keyring.encrypted && this.#seals.load([place.pack]) !== undefined) return false;
		if (place.packSize !== undefined) this.tables.reading(place.pack, place.packSize);
		const seal = this.#seals.of(place.pack);
		return this.store.startRecord(packName(place.pack), place.offset, place.length, seal, wanted, waiter);
	}

	/** Where a record is said to be: asks memory first. */
	locate(identity: Buffer, offset: number, type: number): Locator | null | Promise<Locator | null> {
		const known = this.index.peek(identity, offset, type);
		if (known !== undefined) return known;
		return this.tables.find(identity, offset, type) ?? this.index.find(identity, offset, type);
	}

	/** The records of `type` that begin in the same `window` bytes of a pack as this one, once the pack's table is there. */
	async around(identity: Buffer, offset: number, type: number, window: number): Promise<Neighbour[]> {
		const place = this.tables.find(identity, offset, type) ?? this.index.peek(identity, offset, type);
		if (!place) return [];
		await this.tables.loaded(place.pack);
		return this.tables.around(place, type, window);
	}

	/** Reads records whose places are known: true where the target is filled. Never rejects, looks nowhere else. */
	async readAt(wanted: (Wanted & { place: Locator })[]): Promise<boolean[]> {
		try {
			await this.#seals.load(wanted.map(({ place }) => place.pack));
			const statuses = await this.store.readRecords(wanted.map((one) => this.#toRead(one, one.place)));
			return statuses.map((status) => status === "ok");
		} catch {
			return wanted.map(() => false);
		}
	}

	#failed({ pack }: Locator, status: RecordStatus): void {
		if (MISPLACED.has(status)) this.tables.reject(pack);
	}

	async #retry(wanted: Wanted): Promise<RecordFault | undefined> {
		const { identity, offset, type } = wanted;
		const name = identity.toString("hex", offset, offset + IDENTITY_BYTES);
		let fault: RecordFault = {
			code: "ECORRUPT",
			message: `${this.store.place}: record ${name} is in no pack: run springback check`,
		};
		// Again: the index may be behind the packs, or ahead of them; and prune may move a record while it is looked for.
		for (let round = 0; round < 3; round++) {
			if (round > 0) await this.index.reload();
			for await (const place of this.index.findAll(identity, offset, type)) {
				await this.#seals.load([place.pack]);
				const [status] = await this.store.readRecords([this.#toRead(wanted, place)]);
				if (status === "ok") return undefined;
				this.#failed(place, status);
				fault = {
					code: status.startsWith("E") && status !== "ENOENT" ? "EIO" : "ECORRUPT",
					message: `${this.store.place}/${packName(place.pack)} at offset ${place.offset}: ${REASON[status] ?? status}`,
				};
			}
		}
		return fault;
	}

	#toRead(wanted: Wanted, place: Locator): StoreRead {
		return {
			file: packName(place.pack),
			position: place.offset,
			length: place.length,
			identity: wanted.identity.subarray(wanted.offset, wanted.offset + IDENTITY_BYTES),
			type: wanted.type,
			rawLength: wanted.rawLength,
			target: wanted.target,
			targetOffset: wanted.targetOffset,
			seal: this.#seals.of(place.pack),
		};
	}
}
