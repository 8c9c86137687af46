/**
 * Builds a block map out of an older one and the blocks that changed since. Only pages on the way to a change are
 * read and made anew, so the work grows with the change and not with the disk; every other page is shared.
 */
import type { BlockRange } from "./block-ranges.js";
import type { Keyring } from "./keyring.js";
import { IDENTITY_BYTES, isAbsent, ZERO_IDENTITY } from "./layout.js";
import type { MapPage } from "./map-builder.js";
import { FAN_OUT, levelsFor, MAP_PAGE_BYTES } from "./map-geometry.js";

/** The older map; `MapReader` is one. */
export interface BaseMap {
	readonly blocks: number;
	readonly levels: number;
	/** The page with this number on this level (0: leaves), null when all of its blocks are zero. */
	page(level: number, number: number): Promise<Buffer | null>;
	/** identity of the root page; all zeros for an all-zero disk */
	readonly root: Buffer;
}

interface Open {
	bytes: Buffer;
	/** -1: none yet */
	number: number;
}

export class DerivedMapBuilder {
	readonly #levels: Open[];
	readonly #base: BaseMap;
	readonly #blocks: number;
	readonly #ranges: readonly BlockRange[];
	readonly #keyring: Keyring;
	readonly #emit: (page: MapPage) => void;
	/** the first range that is not forgotten whole, and the block up to which it is */
	#range = 0;
	#forgotten = 0;
	#root: Buffer | undefined;

	/** `blocks`: of the new disk. `ranges`: in order, merged, within it; zero unless `set`. */
	constructor(
		base: BaseMap,
		blocks: number,
		ranges: readonly BlockRange[],
		keyring: Keyring,
		emit: (page: MapPage) => void,
	) {
		this.#base = base;
		this.#blocks = blocks;
		this.#ranges = ranges;
		this.#keyring = keyring;
		this.#emit = emit;
		this.#levels = Array.from({ length: levelsFor(blocks) }, () => ({
			bytes: Buffer.alloc(MAP_PAGE_BYTES),
			number: -1,
		}));
	}

	/** Names the content of block `n`, which lies in a range. Ascending order; the next call after this one has resolved. */
	async set(n: number, identities: Buffer, offset: number): Promise<void> {
		await this.#forget(n + 1);
		await this.#leafOf(n);
		identities.copy(this.#levels[0].bytes, (n % FAN_OUT) * IDENTITY_BYTES, offset, offset + IDENTITY_BYTES);
	}

	/** Makes the blocks of ranges zero that lie before `end`. */
	async #forget(end: number): Promise<void> {
		for (; this.#range < this.#ranges.length; this.#range++) {
			const { from, to } = this.#ranges[this.#range];
			let at = Math.max(from, this.#forgotten);
			const stop = Math.min(to, end);
			while (at < stop) {
				const next = Math.min(stop, (Math.floor(at / FAN_OUT) + 1) * FAN_OUT);
				await this.#leafOf(at);
				const first = at % FAN_OUT;
				this.#levels[0].bytes.fill(0, first * IDENTITY_BYTES, (first + next - at) * IDENTITY_BYTES);
				at = next;
			}
			this.#forgotten = Math.max(this.#forgotten, at);
			if (to > end) return;
		}
	}

	async #leafOf(block: number): Promise<void> {
		const number = Math.floor(block / FAN_OUT);
		if (this.#levels[0].number !== number) await this.#open(0, number);
	}

	/** Makes a page the open one of its level, as the base has it. */
	async #open(level: number, number: number): Promise<void> {
		await this.#close(level);
		const page = this.#levels[level];
		const before = await this.#basePage(level, number);
		if (before === null) page.bytes.fill(0);
		else before.copy(page.bytes);
		// What lies beyond the end of a disk that has become smaller is not part of it.
		const span = FAN_OUT ** level;
		const inside = Math.ceil(this.#blocks / span) - number * FAN_OUT;
		if (inside < FAN_OUT) page.bytes.fill(0, Math.max(0, inside) * IDENTITY_BYTES);
		page.number = number;
	}

	/** A page of the base, also above its root, where the disk was smaller. */
	async #basePage(level: number, number: number): Promise<Buffer | null> {
		const base = this.#base;
		if (level < base.levels) return base.page(level, number);
		if (number > 0 || isAbsent(base.root, 0)) return null;
		const page = Buffer.alloc(MAP_PAGE_BYTES);
		let child = base.root;
		for (let above = base.levels; above < level; above++) {
			page.fill(0);
			child.copy(page);
			const identity = this.#keyring.identityOf(page);
			this.#emit({ identity, bytes: Buffer.from(page) });
			child = identity;
		}
		page.fill(0);
		child.copy(page);
		return page;
	}

	async #close(level: number): Promise<void> {
		const page = this.#levels[level];
		if (page.number < 0) return;
		let identity: Buffer = ZERO_IDENTITY;
		if (!isAllZero(page.bytes)) {
			const named = this.#keyring.identityOf(page.bytes);
			this.#emit({ identity: named, bytes: Buffer.from(page.bytes) });
			identity = named;
		}
		const above = this.#levels[level + 1];
		if (above === undefined) {
			this.#root = identity;
			return;
		}
		const number = Math.floor(page.number / FAN_OUT);
		if (above.number !== number) await this.#open(level + 1, number);
		identity.copy(above.bytes, (page.number % FAN_OUT) * IDENTITY_BYTES);
	}

	/** Hands out the remaining pages; returns the root's identity, null when every block is zero. */
	async finish(): Promise<Buffer | null> {
		if (this.#blocks === 0) return null;
		await this.#forget(this.#blocks);
		// Another size: the way to the last block is made anew even if nothing on it changed.
		if (this.#base.blocks !== this.#blocks) await this.#leafOf(this.#blocks - 1);
		for (let level = 0; level < this.#levels.length; level++) await this.#close(level);
		const root = this.#root ?? this.#base.root;
		return isAbsent(root, 0) ? null : root;
	}
}

const isAllZero = (bytes: Buffer): boolean => {
	for (let at = 0; at < bytes.length; at += IDENTITY_BYTES) if (!isAbsent(bytes, at)) return false;
	return true;
};
