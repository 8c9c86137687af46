/**
 * Tables of contents of the packs that are being read. A disk's records lie together in packs, so one footer names
 * the places of all that is likely to be wanted next: thousands of index look-ups for one sequential read. Only a
 * hint: what is read at a place is verified there, and a wrong place costs a look-up in the index.
 */
import { ENTRY_BYTES } from "./identity-table.js";
import type { Locator } from "./index-set.js";
import { packName, sameIdentity } from "./layout.js";
import { decodeFooter, decodePackTrailer, PACK_TRAILER_BYTES } from "./pack-format.js";
import type { PackSeals } from "./pack-seals.js";
import type { Store } from "./store.js";

/** Bytes of all tables together. */
const BUDGET_BYTES = 16 * 1024 * 1024;
/** A pack that may not fit is loaded at its second use; so many packs are remembered for that. */
const REMEMBERED_PACKS = 1024;
/** The first read of a pack's end: the footers of most packs are in it whole. */
const TAIL_BYTES = 128 * 1024;

class PackTable {
	readonly #slots: Int32Array;
	readonly #mask: number;

	constructor(
		readonly pack: string,
		/** 48-byte entries in file order, tiling the pack (docs/format.md, 6.3) */
		readonly entries: Buffer,
	) {
		const count = entries.length / ENTRY_BYTES;
		this.#mask = 2 ** Math.ceil(Math.log2(Math.max(8, count * 1.5))) - 1;
		this.#slots = new Int32Array(this.#mask + 1).fill(-1);
		for (let entry = 0; entry < count; entry++) {
			let slot = entries.readUInt32LE(entry * ENTRY_BYTES) & this.#mask;
			while (this.#slots[slot] >= 0) slot = (slot + 1) & this.#mask;
			this.#slots[slot] = entry;
		}
	}

	get bytes(): number {
		return this.entries.length + this.#slots.byteLength;
	}

	/** Position of the entry in `entries`, or -1. */
	find(identity: Buffer, offset: number, type: number): number {
		const word = identity.readUInt32LE(offset);
		for (let slot = word & this.#mask; ; slot = (slot + 1) & this.#mask) {
			const entry = this.#slots[slot];
			if (entry < 0) return -1;
			const at = entry * ENTRY_BYTES;
			if (
				this.entries.readUInt32LE(at) === word &&
				this.entries[at + 47] === type &&
				sameIdentity(this.entries, at, identity, offset)
			)
				return at;
		}
	}

	locator(at: number): Locator {
		return {
			pack: this.pack,
			offset: this.entries.readUInt32LE(at + 36),
			length: this.entries.readUInt32LE(at + 40),
			rawLength: this.entries.readUInt32LE(at + 44) & 0xffffff,
		};
	}
}

/** A record and its place. */
export interface Neighbour {
	/** holds the identity at `offset` */
	identity: Buffer;
	offset: number;
	place: Locator;
}

export class PackTables {
	readonly #store: Store;
	readonly #seals: PackSeals;
	readonly #budget: number;
	readonly #tables = new Map<string, PackTable>();
	/** the same, most recently used first */
	readonly #order: PackTable[] = [];
	readonly #loading = new Map<string, Promise<void>>();
	/** packs that were used once while there was no room */
	readonly #once = new Set<string>();
	/** packs whose table cannot be had */
	readonly #bad = new Set<string>();
	bytes = 0;

	constructor(store: Store, seals: PackSeals, budget = BUDGET_BYTES) {
		this.#store = store;
		this.#seals = seals;
		this.#budget = budget;
	}

	/** Where the record is, as far as the tables in memory know. */
	find(identity: Buffer, offset: number, type: number): Locator | undefined {
		const order = this.#order;
		for (let n = 0; n < order.length; n++) {
			const table = order[n];
			const at = table.find(identity, offset, type);
			if (at < 0) continue;
			if (n > 0) {
				order.copyWithin(1, 0, n);
				order[0] = table;
			}
			return table.locator(at);
		}
		return undefined;
	}

	/** `packSize`, bytes: a record of this pack is being read, so its table may soon be worth having. Never fails. */
	reading(pack: string, packSize: number): void {
		if (this.#tables.has(pack) || this.#loading.has(pack) || this.#bad.has(pack)) return;
		// Once the room is used up, scattered reads would replace tables that others need by ones that serve nobody.
		if (this.bytes > this.#budget / 2 && !this.#once.delete(pack)) {
			remember(this.#once, pack);
			return;
		}
		const load = this.#load(pack, packSize).finally(() => this.#loading.delete(pack));
		this.#loading.set(pack, load);
	}

	/** Settles when the pack's table is there or cannot be had. */
	loaded(pack: string): Promise<void> | undefined {
		return this.#loading.get(pack);
	}

	/** The records of `type` that begin in the same `window` bytes of the pack as `place`, in file order. */
	around(place: Locator, type: number, window: number): Neighbour[] {
		const table = this.#tables.get(place.pack);
		if (table === undefined) return [];
		const { entries } = table;
		const from = place.offset - (place.offset % window);
		let low = 0;
		let high = entries.length / ENTRY_BYTES;
		while (low < high) {
			const middle = (low + high) >>> 1;
			if (entries.readUInt32LE(middle * ENTRY_BYTES + 36) < from) low = middle + 1;
			else high = middle;
		}
		const found: Neighbour[] = [];
		for (let at = low * ENTRY_BYTES; at < entries.length; at += ENTRY_BYTES) {
			if (entries.readUInt32LE(at + 36) >= from + window) break;
			if (entries[at + 47] === type) found.push({ identity: entries, offset: at, place: table.locator(at) });
		}
		return found;
	}

	/** The pack is not what its table says, or not there: it is not asked again. */
	reject(pack: string): void {
		this.#forget(pack);
		remember(this.#bad, pack);
	}

	#forget(pack: string): void {
		const table = this.#tables.get(pack);
		if (table === undefined) return;
		this.#tables.delete(pack);
		this.#order.splice(this.#order.indexOf(table), 1);
		this.bytes -= table.bytes;
	}

	async #load(pack: string, packSize: number): Promise<void> {
		try {
			const table = await this.#read(pack, packSize);
			if (table === undefined || table.bytes > this.#budget / 2) remember(this.#bad, pack);
			else this.#add(table);
		} catch {
			// The read that wanted a record of it reports what is wrong.
			remember(this.#bad, pack);
		}
	}

	async #read(pack: string, packSize: number): Promise<PackTable | undefined> {
		const name = packName(pack);
		const tailAt = Math.max(0, packSize - TAIL_BYTES);
		const tail = await this.#store.read(name, tailAt, packSize - tailAt);
		const end = tail.length - PACK_TRAILER_BYTES;
		if (end < 0) return undefined;
		const trailer = decodePackTrailer(tail.subarray(end), pack, packSize);
		if (typeof trailer === "string" || trailer.footerLength > this.#budget) return undefined;
		await this.#seals.load([pack]);
		// A copy: the rest of what was read need not stay.
		const footer =
			trailer.footerOffset >= tailAt
				? Buffer.from(tail.subarray(trailer.footerOffset - tailAt, end))
				: await this.#store.read(name, trailer.footerOffset, trailer.footerLength);
		const entries = decodeFooter(footer, trailer, this.#seals.of(pack));
		return typeof entries === "string" ? undefined : new PackTable(pack, entries);
	}

	#add(table: PackTable): void {
		this.#tables.set(table.pack, table);
		this.#order.unshift(table);
		this.bytes += table.bytes;
		while (this.bytes > this.#budget) this.#forget(this.#order.at(-1)!.pack);
	}
}

const remember = (packs: Set<string>, pack: string): void => {
	if (packs.size >= REMEMBERED_PACKS) packs.delete(packs.values().next().value!);
	packs.add(pack);
};
