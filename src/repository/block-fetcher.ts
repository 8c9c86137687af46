/**
 * Fills cache slots from packs: one fill per block, however many wait for it, a few blocks per native job. One for each
 * repository: the cache is shared by all, but nobody waits for a disk of another one, which may hang.
 */
import { ImageError } from "../image/image.js";
import { TYPE } from "./layout.js";
import type { RecordReader } from "./record-reader.js";
import type { SlotPool } from "./slot-pool.js";

/** A block whose slot is taken and waits for its bytes. */
export interface Fill {
	/** leaf page that names the block at `offset` */
	leaf: Buffer;
	offset: number;
	/** plain bytes */
	rawLength: number;
	slot: number;
}

/** Blocks per native job: enough to spare calls, few enough to keep several threads busy. */
const FILLS_PER_JOB = 8;
/** Blocks read past the cache at once, when every slot is pinned. */
const DIRECT_READS = 32;
/** Most of the cache that the fills of one repository may hold. */
const FILLING_SHARE = 1 / 2;

export class BlockFetcher {
	readonly #reader: RecordReader;
	#direct = 0;
	readonly #waiting: (() => void)[] = [];
	/** slots taken here and not filled yet; a promise once the fill has begun */
	readonly #filling = new Map<number, Promise<void> | undefined>();
	/** fills under way */
	inFlight = 0;

	constructor(
		reader: RecordReader,
		readonly pool: SlotPool,
	) {
		this.#reader = reader;
	}

	/** As `SlotPool.take`, for a fill here; -1 also while this repository waits for as much as it may. */
	take(identity: Buffer, offset: number, ahead: boolean): number {
		if (this.#filling.size >= this.pool.capacity * FILLING_SHARE) return -1;
		const slot = this.pool.take(identity, offset, ahead);
		if (slot >= 0) this.#filling.set(slot, undefined);
		return slot;
	}

	/** Settles when a slot is filled or has failed; undefined when it is another repository that fills it. */
	filled(slot: number): Promise<void> | undefined {
		return this.#filling.has(slot) ? (this.#filling.get(slot) ?? Promise.resolve()) : undefined;
	}

	/**
	 * Starts the fills before it returns. Resolves, per fill, with what went wrong or undefined; a good fill's slot is ready and still
	 * pinned by the caller, a failed one is given back.
	 */
	async fill(fills: Fill[]): Promise<(ImageError | undefined)[]> {
		const jobs: Promise<(ImageError | undefined)[]>[] = [];
		for (let n = 0; n < fills.length; n += FILLS_PER_JOB) jobs.push(this.#job(fills.slice(n, n + FILLS_PER_JOB)));
		return (await Promise.all(jobs)).flat();
	}

	#job(fills: Fill[]): Promise<(ImageError | undefined)[]> {
		const { pool } = this;
		const work = this.#reader.read(
			fills.map(({ leaf, offset, rawLength, slot }) => ({
				identity: leaf,
				offset,
				type: TYPE.block,
				rawLength,
				target: pool.slab(slot),
				targetOffset: pool.start(slot),
			})),
		);
		this.inFlight += fills.length;
		const settled = work.then((faults) => {
			this.inFlight -= fills.length;
			return fills.map(({ slot }, n) => {
				this.#filling.delete(slot);
				const fault = faults[n];
				if (fault === undefined) {
					pool.ready(slot);
					return undefined;
				}
				pool.fail(slot);
				return new ImageError(fault.code, fault.message, 0, 0);
			});
		});
		const done = settled.then(() => {});
		for (const { slot } of fills) this.#filling.set(slot, done);
		return settled;
	}

	/** Reads one block past the cache; rejects with ImageError. */
	async direct(leaf: Buffer, offset: number, rawLength: number): Promise<Buffer> {
		if (this.#direct >= DIRECT_READS) await new Promise<void>((resolve) => this.#waiting.push(resolve));
		this.#direct += 1;
		try {
			const target = Buffer.allocUnsafe(rawLength);
			const [fault] = await this.#reader.read([
				{ identity: leaf, offset, type: TYPE.block, rawLength, target, targetOffset: 0 },
			]);
			if (fault !== undefined) throw new ImageError(fault.code, fault.message, 0, 0);
			return target;
		} finally {
			this.#direct -= 1;
			this.#waiting.shift()?.();
		}
	}
}
