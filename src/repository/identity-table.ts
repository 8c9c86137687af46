/**
 * A hash table from (type, identity) to 48-byte entries (docs/format.md, 6.3), in typed arrays: 80 bytes per entry
 * and no objects, so a backup can remember hundreds of thousands of new records. Identities are SHA-256, so their own bits are the hash.
 */
import { IDENTITY_BYTES } from "./layout.js";

export const ENTRY_BYTES = 48;

/** Order of the index: identity bytes, then type (big 32-bit word at 44 sorts by type first). */
export const compareEntries = (a: Buffer, aOffset: number, b: Buffer, bOffset: number): number =>
	a.compare(b, bOffset, bOffset + IDENTITY_BYTES, aOffset, aOffset + IDENTITY_BYTES) ||
	a[aOffset + 47] - b[bOffset + 47];

/** Writes one entry. `pack` is a row number or 0. */
export const writeEntry = (
	target: Buffer,
	at: number,
	identity: Uint8Array,
	pack: number,
	offset: number,
	length: number,
	type: number,
	rawLength: number,
): void => {
	target.set(identity, at);
	target.writeUInt32LE(pack, at + 32);
	target.writeUInt32LE(offset, at + 36);
	target.writeUInt32LE(length, at + 40);
	target.writeUInt32LE(type * 0x1000000 + rawLength, at + 44);
};

export class IdentityTable {
	#slots = new Int32Array(2048).fill(-1);
	#mask = 2047;
	/** entries back to back; only the first `count × 48` bytes are used */
	entries = Buffer.alloc(1024 * ENTRY_BYTES);
	count = 0;

	/** Number of the entry, or -1. */
	find(identity: Buffer, offset: number, type: number): number {
		let slot = identity.readUInt32LE(offset) & this.#mask;
		for (;;) {
			const entry = this.#slots[slot];
			if (entry < 0) return -1;
			const at = entry * ENTRY_BYTES;
			if (
				this.entries[at + 47] === type &&
				this.entries.compare(identity, offset, offset + IDENTITY_BYTES, at, at + IDENTITY_BYTES) === 0
			)
				return entry;
			slot = (slot + 1) & this.#mask;
		}
	}

	/** Adds an entry that is not there yet, its place still unknown; returns its number. */
	add(identity: Buffer, offset: number, type: number, rawLength: number): number {
		const entry = this.count;
		if ((entry + 1) * ENTRY_BYTES > this.entries.length) this.#grow();
		writeEntry(
			this.entries,
			entry * ENTRY_BYTES,
			identity.subarray(offset, offset + IDENTITY_BYTES),
			0,
			0,
			0,
			type,
			rawLength,
		);
		this.count += 1;
		this.#insert(entry);
		return entry;
	}

	/** Says where the record of an entry is. */
	place(entry: number, pack: number, offset: number, length: number): void {
		const at = entry * ENTRY_BYTES;
		this.entries.writeUInt32LE(pack, at + 32);
		this.entries.writeUInt32LE(offset, at + 36);
		this.entries.writeUInt32LE(length, at + 40);
	}

	clear(): void {
		this.#slots.fill(-1);
		this.count = 0;
	}

	#insert(entry: number): void {
		let slot = this.entries.readUInt32LE(entry * ENTRY_BYTES) & this.#mask;
		while (this.#slots[slot] >= 0) slot = (slot + 1) & this.#mask;
		this.#slots[slot] = entry;
	}

	#grow(): void {
		const larger = Buffer.alloc(this.entries.length * 2);
		this.entries.copy(larger);
		this.entries = larger;
		// Twice as many slots as entries keeps probes short.
		this.#slots = new Int32Array((larger.length / ENTRY_BYTES) * 2).fill(-1);
		this.#mask = this.#slots.length - 1;
		for (let entry = 0; entry < this.count; entry++) this.#insert(entry);
	}
}

/** Sorted copy of the first `count` entries. */
export const sortEntries = (entries: Buffer, count: number): Buffer => {
	const order = new Uint32Array(count);
	const prefix = new Uint32Array(count);
	for (let n = 0; n < count; n++) {
		order[n] = n;
		prefix[n] = entries.readUInt32BE(n * ENTRY_BYTES);
	}
	order.sort((a, b) => prefix[a] - prefix[b] || compareEntries(entries, a * ENTRY_BYTES, entries, b * ENTRY_BYTES));
	const sorted = Buffer.allocUnsafe(count * ENTRY_BYTES);
	for (let n = 0; n < count; n++)
		entries.copy(sorted, n * ENTRY_BYTES, order[n] * ENTRY_BYTES, (order[n] + 1) * ENTRY_BYTES);
	return sorted;
};
