/** Reads one disk's block map: the leaf of a block, and the runs of data and zeros. */
import type { Extent } from "../image/image.js";
import { IDENTITY_BYTES, isAbsent, ZERO_IDENTITY } from "./layout.js";
import { blockCount, FAN_OUT, levelsFor } from "./map-geometry.js";
import type { PageStore } from "./page-store.js";

/** Leaves remembered per disk: 2 MiB at most. */
const REMEMBERED_LEAVES = 1024;
/** So many leaves in a row that were asked for by `page` mean that the next ones will be, too. */
const IN_A_ROW = 3;

export class MapReader {
	readonly blocks: number;
	readonly levels: number;
	readonly #pages: PageStore;
	/** identity of the root page; all zeros for an all-zero disk */
	readonly root: Buffer;
	readonly #leafNumbers = new Float64Array(REMEMBERED_LEAVES).fill(-1);
	readonly #leaves: (Buffer | null)[] = new Array(REMEMBERED_LEAVES).fill(null);
	/** the leaf that `page` was asked for last, and how many came before it one after the other */
	#last = -1;
	#row = 0;

	/** `root` null: the disk is all zeros. */
	constructor(
		pages: PageStore,
		root: Buffer | null,
		readonly size: number,
		readonly blockSize: number,
	) {
		this.#pages = pages;
		this.root = root ?? ZERO_IDENTITY;
		this.blocks = blockCount(size, blockSize);
		this.levels = levelsFor(this.blocks);
	}

	/** The leaf page with number `leaf` (block / 64): null when all its blocks are zero; a promise when pages must be read. */
	leaf(leaf: number): Buffer | null | Promise<Buffer | null> {
		const page = this.peek(leaf);
		return page === undefined ? this.#leafSlow(leaf) : page;
	}

	/** As `leaf`, but undefined when pages must be read, and reads none. */
	peek(leaf: number): Buffer | null | undefined {
		const slot = leaf % REMEMBERED_LEAVES;
		if (this.#leafNumbers[slot] === leaf) return this.#leaves[slot];
		let identities = this.root;
		let offset = 0;
		for (let level = this.levels - 1; ; level--) {
			if (isAbsent(identities, offset)) return this.#remember(leaf, null);
			const page = this.#pages.peek(identities, offset);
			if (page === undefined) return undefined;
			if (level === 0) return this.#remember(leaf, page);
			identities = page;
			offset = this.#childOffset(leaf, level);
		}
	}

	async #leafSlow(leaf: number): Promise<Buffer | null> {
		let identities = this.root;
		let offset = 0;
		for (let level = this.levels - 1; ; level--) {
			if (isAbsent(identities, offset)) return this.#remember(leaf, null);
			const page = await this.#pages.get(identities, offset);
			if (level === 0) return this.#remember(leaf, page);
			identities = page;
			offset = this.#childOffset(leaf, level);
		}
	}

	/** Where the page of `level` on the way to `leaf` names its child. */
	#childOffset(leaf: number, level: number): number {
		return (Math.floor(leaf / FAN_OUT ** (level - 1)) % FAN_OUT) * IDENTITY_BYTES;
	}

	#remember(leaf: number, page: Buffer | null): Buffer | null {
		const slot = leaf % REMEMBERED_LEAVES;
		this.#leafNumbers[slot] = leaf;
		this.#leaves[slot] = page;
		return page;
	}

	/**
	 * The page with this number on this level (0: leaves), null when all of its blocks are zero or beyond the end. For those
	 * who go from change to change: pages beside it are read along only where one change adjoins the other.
	 */
	async page(level: number, number: number): Promise<Buffer | null> {
		if (level >= this.levels || number * FAN_OUT ** (level + 1) >= this.blocks) return null;
		if (level === 0 && number !== this.#last) {
			this.#row = number === this.#last + 1 ? this.#row + 1 : 0;
			this.#last = number;
		}
		const alone = this.#row < IN_A_ROW;
		let identities = this.root;
		let offset = 0;
		for (let at = this.levels - 1; ; at--) {
			if (isAbsent(identities, offset)) return null;
			const page = await this.#pages.get(identities, offset, alone);
			if (at === level) return page;
			identities = page;
			offset = (Math.floor(number / FAN_OUT ** (at - 1 - level)) % FAN_OUT) * IDENTITY_BYTES;
		}
	}

	/** Reads the root, so that a damaged map fails at opening; nothing to do for an all-zero disk. */
	async open(): Promise<void> {
		if (!isAbsent(this.root, 0)) await this.#pages.get(this.root, 0);
	}

	/**
	 * Runs that cover the range; absent subtrees are skipped whole. An absent block takes no space here, and is to take none
	 * where it is copied to: QEMU copies zeros that take space.
	 */
	async extents(offset: number, length: number): Promise<Extent[]> {
		const runs: Extent[] = [];
		if (length === 0) return runs;
		const end = offset + length;
		const add = (from: number, to: number, kind: "data" | "unallocated") => {
			const start = Math.max(from, offset);
			const stop = Math.min(to, end);
			if (stop <= start) return;
			const last = runs.at(-1);
			if (last?.kind === kind) last.length += stop - start;
			else runs.push({ offset: start, length: stop - start, kind });
		};
		const walk = async (identities: Buffer, at: number, level: number, number: number): Promise<void> => {
			const span = this.blockSize * FAN_OUT ** (level + 1);
			const base = number * span;
			if (isAbsent(identities, at)) return add(base, base + span, "unallocated");
			const page = await this.#pages.get(identities, at);
			const child = span / FAN_OUT;
			const first = Math.max(0, Math.floor((offset - base) / child));
			const stop = Math.min(FAN_OUT, Math.ceil((end - base) / child));
			for (let n = first; n < stop; n++) {
				if (level > 0) await walk(page, n * IDENTITY_BYTES, level - 1, number * FAN_OUT + n);
				else add(base + n * child, base + (n + 1) * child, isAbsent(page, n * IDENTITY_BYTES) ? "unallocated" : "data");
			}
		};
		await walk(this.root, 0, this.levels - 1, 0);
		return runs;
	}
}
