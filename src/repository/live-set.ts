/**
 * A set of records by 24-bit fingerprints, open addressing, below 4 bytes per record (60 MB per TB of unique data): all that
 * points need, as prune sees it, and all that can be had, as check sees it. A record that was added is always found. One that
 * was not is found with a chance of about two in a million: then prune keeps what nobody needs. Two that were may look like
 * one: whoever counts on `meet` proves by other means that a record is stored twice before it deletes one.
 */

/** Share of slots in use at which another table is begun. */
const FULL = 0.88;
const SMALLEST = 4096;

class Table {
	/** 3 bytes per slot, 0: free */
	readonly prints: Uint8Array;
	/** bit per slot: met in a pack already */
	readonly met: Uint8Array;
	count = 0;

	constructor(readonly slots: number) {
		this.prints = new Uint8Array(slots * 3);
		this.met = new Uint8Array(Math.ceil(slots / 8));
	}

	/** The slot of a fingerprint, or minus the free slot where it would go, minus one. */
	slot(first: number, print: number): number {
		for (let slot = Math.floor((first / 2 ** 32) * this.slots); ; slot = slot + 1 === this.slots ? 0 : slot + 1) {
			const at = slot * 3;
			const found = this.prints[at] | (this.prints[at + 1] << 8) | (this.prints[at + 2] << 16);
			if (found === print) return slot;
			if (found === 0) return -slot - 1;
		}
	}

	put(slot: number, print: number): void {
		const at = slot * 3;
		this.prints[at] = print;
		this.prints[at + 1] = print >>> 8;
		this.prints[at + 2] = print >>> 16;
		this.count += 1;
	}
}

const printOf = (identity: Buffer, offset: number, type: number): number =>
	(identity.readUInt32LE(offset + 12) ^ Math.imul(type, 0x9e3779b1)) >>> 8 || 1;

export class LiveSet {
	readonly #tables: Table[];
	/** records added, twins of fingerprints aside */
	count = 0;

	/** `expected`: how many records there will be, roughly; more than that cost another table. */
	constructor(expected: number) {
		this.#tables = [new Table(Math.max(SMALLEST, Math.ceil(expected / FULL)))];
	}

	add(identity: Buffer, offset: number, type: number): void {
		const first = identity.readUInt32BE(offset);
		const print = printOf(identity, offset, type);
		let table = this.#tables[0];
		let slot = 0;
		for (table of this.#tables) {
			slot = table.slot(first, print);
			if (slot >= 0) return;
		}
		if (table.count >= table.slots * FULL) {
			table = new Table(table.slots * 2);
			this.#tables.push(table);
			slot = table.slot(first, print);
		}
		table.put(-slot - 1, print);
		this.count += 1;
	}

	has(identity: Buffer, offset: number, type: number): boolean {
		const first = identity.readUInt32BE(offset);
		const print = printOf(identity, offset, type);
		return this.#tables.some((table) => table.slot(first, print) >= 0);
	}

	/** As if `meet` had not been asked about anything. */
	meetAgain(): void {
		for (const { met } of this.#tables) met.fill(0);
	}

	/** True when the record is in the set and `meet` was not asked about it before. */
	meet(identity: Buffer, offset: number, type: number): boolean {
		const first = identity.readUInt32BE(offset);
		const print = printOf(identity, offset, type);
		for (const table of this.#tables) {
			const slot = table.slot(first, print);
			if (slot < 0) continue;
			const bit = 1 << (slot & 7);
			if ((table.met[slot >>> 3] & bit) !== 0) return false;
			table.met[slot >>> 3] |= bit;
			return true;
		}
		return false;
	}
}
