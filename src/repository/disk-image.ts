/**
 * One disk of a restore point as an Image. A hit is synchronous: block number → hint → slot, checked by the slot's
 * generation; no promise, no hashing, no look-up. Everything else goes through the block map and the cache.
 */
import { type Extent, type Image, ImageError, type Loan } from "../image/image.js";
import type { BlockFetcher, Fill } from "./block-fetcher.js";
import { IDENTITY_BYTES, isAbsent } from "./layout.js";
import { SlotLoan, ZeroLoan } from "./loans.js";
import { blockLength, FAN_OUT } from "./map-geometry.js";
import type { MapReader } from "./map-reader.js";
import { ReadAhead } from "./read-ahead.js";
import { ReadAround } from "./read-around.js";
import type { SlotPool } from "./slot-pool.js";

const ZERO = -1;
const MISS = -2;
/** Blocks handled at once within one large read. */
const PIECE_BLOCKS = 32;
const AHEAD_BYTES = 4 * 1024 * 1024;

export interface DiskImageParts {
	map: MapReader;
	fetcher: BlockFetcher;
	/** for messages: "VM@POINT disk0" */
	label: string;
	/** lets go of the pin */
	onClose: () => void;
}

export class DiskImage implements Image {
	readonly size: number;
	readonly #blockSize: number;
	readonly #map: MapReader;
	readonly #fetcher: BlockFetcher;
	readonly #pool: SlotPool;
	readonly #label: string;
	readonly #onClose: () => void;
	readonly #zeros: Buffer;
	/** direct-mapped hints: block number, its slot (or ZERO), the slot's generation */
	readonly #hintBlock: Float64Array;
	readonly #hintSlot: Int32Array;
	readonly #hintGeneration: Uint32Array;
	readonly #hintMask: number;
	readonly #ahead: ReadAhead;
	readonly #around: ReadAround;
	#last = -1;
	#closed = false;
	readonly #work = new Set<Promise<unknown>>();
	/** reads of single blocks under way, and what `close` waits with */
	#fetches = 0;
	#idle: (() => void) | undefined;

	constructor({ map, fetcher, label, onClose }: DiskImageParts) {
		this.size = map.size;
		this.#blockSize = map.blockSize;
		this.#map = map;
		this.#fetcher = fetcher;
		this.#pool = fetcher.pool;
		this.#label = label;
		this.#onClose = onClose;
		this.#zeros = Buffer.alloc(this.#blockSize);
		const hints = 2 ** Math.ceil(Math.log2(Math.max(64, Math.min(map.blocks, this.#pool.capacity * 2))));
		this.#hintBlock = new Float64Array(hints).fill(-1);
		this.#hintSlot = new Int32Array(hints);
		this.#hintGeneration = new Uint32Array(hints);
		this.#hintMask = hints - 1;
		this.#around = new ReadAround(this.#blockSize, this.#pool);
		this.#ahead = new ReadAhead(Math.floor(Math.min(AHEAD_BYTES / this.#blockSize, this.#pool.capacity / 8)));
	}

	read(offset: number, target: Buffer): void | Promise<void> {
		this.#checkRange(offset, target.length);
		if (this.#closed)
			return Promise.reject(new ImageError("ECLOSED", `${this.#label} is closed`, offset, target.length));
		let at = 0;
		while (at < target.length) {
			const block = Math.floor((offset + at) / this.#blockSize);
			const within = offset + at - block * this.#blockSize;
			const length = Math.min(target.length - at, this.#blockSize - within);
			const slot = this.#slotOf(block);
			if (slot === MISS) {
				const alone = length === target.length ? this.#readBlock(block, within, target) : undefined;
				return alone ?? this.#follow(this.#readSlow(offset, target, at));
			}
			this.#copy(slot, within, target, at, length);
			at += length;
		}
	}

	borrow(offset: number, length: number): Loan[] | undefined {
		this.#checkRange(offset, length);
		// Replies that nobody takes must not hold all of the cache: beyond a share of it, they get copies.
		if (this.#closed || this.#pool.crowded) return undefined;
		if (length === 0) return [];
		const block = Math.floor(offset / this.#blockSize);
		const within = offset - block * this.#blockSize;
		if (within + length > this.#blockSize) return this.#borrowMany(offset, length);
		const slot = this.#slotOf(block);
		return slot === MISS ? undefined : [this.#lend(slot, within, length)];
	}

	#borrowMany(offset: number, length: number): Loan[] | undefined {
		const loans: Loan[] = [];
		let at = 0;
		while (at < length) {
			const block = Math.floor((offset + at) / this.#blockSize);
			const within = offset + at - block * this.#blockSize;
			const part = Math.min(length - at, this.#blockSize - within);
			const slot = this.#slotOf(block);
			if (slot === MISS) {
				for (const loan of loans) loan.release();
				return undefined;
			}
			loans.push(this.#lend(slot, within, part));
			at += part;
		}
		return loans;
	}

	#lend(slot: number, within: number, length: number): Loan {
		if (slot === ZERO) return new ZeroLoan(this.#zeros.subarray(0, length));
		const start = this.#pool.start(slot) + within;
		this.#pool.pin(slot);
		return new SlotLoan(this.#pool, slot, this.#pool.slab(slot).subarray(start, start + length));
	}

	#copy(slot: number, within: number, target: Buffer, at: number, length: number): void {
		if (slot === ZERO) target.fill(0, at, at + length);
		else {
			const start = this.#pool.start(slot) + within;
			this.#pool.slab(slot).copy(target, at, start, start + length);
		}
	}

	#checkRange(offset: number, length: number): void {
		if (!(offset >= 0 && offset + length <= this.size))
			throw new RangeError(`${this.#label}: ${length} bytes at ${offset} are beyond its ${this.size} bytes`);
	}

	/** The ready slot of a block, ZERO, or MISS when it takes waiting. */
	#slotOf(block: number): number {
		const hint = block & this.#hintMask;
		if (this.#hintBlock[hint] === block) {
			const slot = this.#hintSlot[hint];
			if (slot === ZERO) return ZERO;
			if (this.#pool.generation[slot] === this.#hintGeneration[hint]) {
				if (block !== this.#last) this.#reached(block, slot);
				return slot;
			}
		}
		const leaf = this.#map.peek(Math.floor(block / FAN_OUT));
		if (leaf === undefined) return MISS;
		const offset = (block % FAN_OUT) * IDENTITY_BYTES;
		if (leaf === null || isAbsent(leaf, offset)) {
			this.#hintBlock[hint] = block;
			this.#hintSlot[hint] = ZERO;
			return ZERO;
		}
		const slot = this.#pool.find(leaf, offset);
		if (slot < 0 || !this.#pool.isReady(slot)) return MISS;
		this.#setHint(block, slot);
		if (block !== this.#last) this.#reached(block, slot);
		return slot;
	}

	#setHint(block: number, slot: number): void {
		const hint = block & this.#hintMask;
		this.#hintBlock[hint] = block;
		this.#hintSlot[hint] = slot;
		this.#hintGeneration[hint] = this.#pool.generation[slot];
	}

	/** A read has come to another block than the one before: counts the use, keeps a stream ahead. */
	#reached(block: number, slot: number): void {
		this.#last = block;
		if (slot >= 0) this.#pool.touch(slot);
		const count = this.#ahead.observe(block);
		if (count > 0) void this.#follow(this.#readAhead(this.#ahead.from, count));
	}

	/** Remembers work that `close` must wait for. */
	#follow<T>(work: Promise<T>): Promise<T> {
		this.#work.add(work);
		const done = () => this.#work.delete(work);
		work.then(done, done);
		return work;
	}

	/** Fetches the blocks of [from, from + count) that are not in the cache. Never rejects. */
	async #readAhead(from: number, count: number, around = false): Promise<void> {
		const stop = Math.min(from + count, this.#map.blocks);
		try {
			const leaves = await this.#leaves(from, stop);
			const fills: Fill[] = [];
			for (let block = from; block < stop && !this.#closed; block++) {
				const leaf = leaves.get(Math.floor(block / FAN_OUT))!;
				const offset = (block % FAN_OUT) * IDENTITY_BYTES;
				if (leaf === null || isAbsent(leaf, offset) || this.#pool.find(leaf, offset) >= 0) continue;
				const slot = this.#fetcher.take(leaf, offset, true);
				if (slot < 0) break;
				if (around) this.#around.fetched(slot);
				fills.push({ leaf, offset, slot, rawLength: blockLength(this.size, this.#blockSize, block) });
			}
			const faults = await this.#fetcher.fill(fills);
			fills.forEach(({ slot }, n) => {
				if (faults[n] === undefined) this.#pool.unpin(slot);
			});
		} catch {
			// Nobody asked for these bytes yet; the read that does reports the fault.
		}
	}

	/** The leaf pages of blocks [from, stop). */
	async #leaves(from: number, stop: number): Promise<Map<number, Buffer | null>> {
		const leaves = new Map<number, Buffer | null>();
		for (let leaf = Math.floor(from / FAN_OUT); leaf * FAN_OUT < stop; leaf++)
			leaves.set(leaf, await this.#map.leaf(leaf));
		return leaves;
	}

	/** Reads within one block that nobody is fetching, with one promise and no more; undefined when it takes more than one fill. */
	#readBlock(block: number, within: number, target: Buffer): Promise<void> | undefined {
		const leaf = this.#map.peek(Math.floor(block / FAN_OUT));
		if (!leaf) return undefined;
		const offset = (block % FAN_OUT) * IDENTITY_BYTES;
		if (this.#pool.find(leaf, offset) >= 0) return undefined;
		const slot = this.#fetcher.take(leaf, offset, false);
		if (slot < 0) return undefined;
		return new Promise((resolve, reject) => {
			this.#fetches += 1;
			const fill = { leaf, offset, slot, rawLength: blockLength(this.size, this.#blockSize, block) };
			this.#fetcher.fetch(fill, (fault) => {
				if (fault === undefined) {
					this.#copy(slot, within, target, 0, target.length);
					this.#setHint(block, slot);
					resolve();
				} else reject(this.#failed(fault, block * this.#blockSize + within, target.length));
				this.#fetches -= 1;
				if (this.#fetches === 0) this.#idle?.();
			});
			if (block !== this.#last) this.#reached(block, ZERO);
			this.#fetchAround(block, block, 1);
		});
	}

	/** Brings the neighbours of blocks that are being fetched along when that is likely to be of use. */
	#fetchAround(first: number, last: number, fills: number): void {
		if (!this.#around.worthwhile(this.#fetcher.inFlight - fills)) return;
		const { group } = this.#around;
		const start = Math.floor(first / group) * group;
		const count = Math.ceil((last + 1) / group) * group - start;
		if (count > fills) void this.#follow(this.#readAhead(start, count, true));
	}

	#failed(cause: ImageError, at: number, length: number): ImageError {
		return new ImageError(cause.code, `${this.#label} at offset ${at}: ${cause.message}`, at, length, { cause });
	}

	async #readSlow(offset: number, target: Buffer, done: number): Promise<void> {
		const end = offset + target.length;
		for (let at = offset + done; at < end; ) {
			const block = Math.floor(at / this.#blockSize);
			const stop = Math.min(end, (block + PIECE_BLOCKS) * this.#blockSize);
			try {
				await this.#readPiece(at, stop, target, at - offset);
			} catch (error) {
				if (!(error instanceof ImageError)) throw error;
				throw this.#failed(error, at, stop - at);
			}
			at = stop;
		}
	}

	/** Reads [from, stop) into `target` at `base`, fetching what is missing in one go. */
	async #readPiece(from: number, stop: number, target: Buffer, base: number): Promise<void> {
		const first = Math.floor(from / this.#blockSize);
		const last = Math.floor((stop - 1) / this.#blockSize);
		const leaves = await this.#leaves(first, last + 1);
		const fills: (Fill & { block: number })[] = [];
		const waits: { block: number; fill: Promise<void> }[] = [];
		const direct: { block: number; bytes: Promise<Buffer> }[] = [];
		const copy = (block: number, source: Buffer, start: number) => {
			const low = Math.max(from, block * this.#blockSize);
			const high = Math.min(stop, (block + 1) * this.#blockSize);
			const within = start + low - block * this.#blockSize;
			source.copy(target, base + low - from, within, within + high - low);
		};
		for (let block = first; block <= last; block++) {
			const leaf = leaves.get(Math.floor(block / FAN_OUT))!;
			const offset = (block % FAN_OUT) * IDENTITY_BYTES;
			if (leaf === null || isAbsent(leaf, offset)) {
				copy(block, this.#zeros, 0);
				continue;
			}
			const found = this.#pool.find(leaf, offset);
			if (found >= 0 && this.#pool.isReady(found)) {
				this.#setHint(block, found);
				if (block !== this.#last) this.#reached(block, found);
				copy(block, this.#pool.slab(found), this.#pool.start(found));
				continue;
			}
			const fill = found >= 0 ? this.#fetcher.filled(found) : undefined;
			if (fill !== undefined) {
				waits.push({ block, fill });
				continue;
			}
			const rawLength = blockLength(this.size, this.#blockSize, block);
			// What another repository is fetching is read past the cache, unless that takes so long that its disk may hang.
			const taken = found >= 0 && !this.#pool.isStuck(found);
			if (found >= 0 && !taken) this.#pool.disown(found);
			const slot = taken ? -1 : this.#fetcher.take(leaf, offset, false);
			if (slot < 0) direct.push({ block, bytes: this.#fetcher.direct(leaf, offset, rawLength) });
			else fills.push({ block, leaf, offset, rawLength, slot });
		}
		const filled = this.#fetcher.fill(fills);
		for (let block = first; block <= last; block++) if (block !== this.#last) this.#reached(block, ZERO);
		if (fills.length > 0) this.#fetchAround(fills[0].block, fills[fills.length - 1].block, fills.length);
		const blocks = await Promise.allSettled(direct.map(({ bytes }) => bytes));
		const faults = await filled;
		let failed: unknown;
		// Every good slot is unpinned before anything is thrown.
		fills.forEach(({ block, slot }, n) => {
			if (faults[n] !== undefined) {
				failed ??= faults[n];
				return;
			}
			copy(block, this.#pool.slab(slot), this.#pool.start(slot));
			this.#setHint(block, slot);
			this.#pool.unpin(slot);
		});
		blocks.forEach((outcome, n) => {
			if (outcome.status === "fulfilled") copy(direct[n].block, outcome.value, 0);
			else failed ??= outcome.reason;
		});
		if (failed !== undefined) throw failed;
		for (const { block, fill } of waits) {
			await fill;
			// Filled by somebody else; gone again, or failed for him, is our own miss now.
			const low = Math.max(from, block * this.#blockSize);
			const high = Math.min(stop, (block + 1) * this.#blockSize);
			await this.#readPiece(low, high, target, base + low - from);
		}
	}

	extents(offset: number, length: number): Promise<Extent[]> {
		this.#checkRange(offset, length);
		return this.#map.extents(offset, length);
	}

	async close(): Promise<void> {
		if (this.#closed) return;
		this.#closed = true;
		await Promise.allSettled(this.#work);
		if (this.#fetches > 0)
			await new Promise<void>((resolve) => {
				this.#idle = resolve;
			});
		this.#onClose();
	}
}
