/**
 * One 4 KiB page of the index tree: parsing in place, and building from sorted entries
 * (docs/overlay-format.md, "Tree").
 */
import { Writer } from "./codec.js";
import { alignUp, PAGE } from "./geometry.js";

const MAGIC = 0x31504253; // "SBP1"
const HEADER = 16;
const HIGH = 0x1_0000_0000;

/** Where a page is, and what it must hash to. */
export interface PageRef {
	page: number;
	checksum: bigint;
}

/** A key with its value, the value lying in `source` at [at, at + length). */
export interface Entry {
	a: number;
	b: number;
	source: Uint8Array;
	at: number;
	length: number;
}

export const compareKeys = (a1: number, b1: number, a2: number, b2: number): number => a1 - a2 || b1 - b2;

/** Bytes an entry takes in a page. */
export const entrySize = (valueLength: number): number => 4 + alignUp(16 + valueLength, 8);
export const PAGE_ROOM = PAGE - HEADER;

/** Room for one page. Made once and used for many: checkpoints turn over more pages than the cache holds. */
export class PageMemory {
	readonly bytes: Buffer;
	readonly halves: Uint16Array;
	readonly words: Uint32Array;

	constructor() {
		const memory = new ArrayBuffer(PAGE);
		this.bytes = Buffer.from(memory);
		this.halves = new Uint16Array(memory);
		this.words = new Uint32Array(memory);
	}
}

export class Page {
	/** second-chance mark of the cache */
	hot = true;
	readonly bytes: Buffer;
	readonly level: number;
	readonly count: number;
	readonly #halves: Uint16Array;
	readonly #words: Uint32Array;

	constructor(readonly memory: PageMemory) {
		this.bytes = memory.bytes;
		this.#halves = memory.halves;
		this.#words = memory.words;
		this.level = this.bytes[4];
		this.count = this.#halves[3];
		if (this.#words[0] !== MAGIC) throw new RangeError("not a page of the index");
	}

	a(index: number): number {
		const at = this.#halves[8 + index * 2] >> 2;
		return this.#words[at] + this.#words[at + 1] * HIGH;
	}

	b(index: number): number {
		const at = (this.#halves[8 + index * 2] >> 2) + 2;
		return this.#words[at] + this.#words[at + 1] * HIGH;
	}

	valueAt(index: number): number {
		return this.#halves[8 + index * 2] + 16;
	}

	valueLength(index: number): number {
		return this.#halves[9 + index * 2];
	}

	value(index: number): Buffer {
		const at = this.valueAt(index);
		return this.bytes.subarray(at, at + this.valueLength(index));
	}

	/** First 64-bit number of the value. */
	first(index: number): number {
		const at = this.valueAt(index) >> 2;
		return this.#words[at] + this.#words[at + 1] * HIGH;
	}

	/** Third 32-bit word of the value. */
	third(index: number): number {
		return this.#words[(this.valueAt(index) >> 2) + 2];
	}

	/** Fourth 32-bit word of the value. */
	fourth(index: number): number {
		return this.#words[(this.valueAt(index) >> 2) + 3];
	}

	child(index: number): PageRef {
		const at = this.valueAt(index);
		return { page: this.first(index), checksum: this.bytes.readBigUInt64LE(at + 8) };
	}

	/** Index of the last key not above (a, b); −1 when all are. */
	floor(a: number, b: number): number {
		let low = 0;
		let high = this.count;
		while (low < high) {
			const middle = (low + high) >>> 1;
			const key = this.a(middle);
			if (key < a || (key === a && this.b(middle) <= b)) low = middle + 1;
			else high = middle;
		}
		return low - 1;
	}

	entries(): Entry[] {
		const list: Entry[] = [];
		for (let i = 0; i < this.count; i++) {
			list.push({
				a: this.a(i),
				b: this.b(i),
				source: this.bytes,
				at: this.valueAt(i),
				length: this.valueLength(i),
			});
		}
		return list;
	}
}

/** Builds a page in `memory`; the caller has seen to it that the entries fit. */
export const buildPage = (level: number, entries: Entry[], checkpoint: number, memory: PageMemory): void => {
	const { bytes, halves, words } = memory;
	bytes.fill(0);
	new Writer(bytes).u32(MAGIC).u8(level).u8(0).u16(entries.length).u64(checkpoint);
	let at = alignUp(HEADER + entries.length * 4, 8);
	let slot = HEADER / 2;
	for (const entry of entries) {
		halves[slot++] = at;
		halves[slot++] = entry.length;
		const word = at >> 2;
		const highA = Math.floor(entry.a / HIGH);
		const highB = Math.floor(entry.b / HIGH);
		words[word] = entry.a - highA * HIGH;
		words[word + 1] = highA;
		words[word + 2] = entry.b - highB * HIGH;
		words[word + 3] = highB;
		if (entry.length <= 32) for (let i = 0; i < entry.length; i++) bytes[at + 16 + i] = entry.source[entry.at + i];
		else bytes.set(entry.source.subarray(entry.at, entry.at + entry.length), at + 16);
		at += alignUp(16 + entry.length, 8);
	}
};
