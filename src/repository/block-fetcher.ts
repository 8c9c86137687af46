/** Fills cache slots from packs: one fill per block, however many wait for it, a few blocks per native job. */
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

export class BlockFetcher {
	readonly #reader: RecordReader;
	#direct = 0;
	readonly #waiting: (() => void)[] = [];
	/** fills under way */
	inFlight = 0;

	constructor(
		reader: RecordReader,
		readonly pool: SlotPool,
	) {
		this.#reader = reader;
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
		for (const { slot } of fills) pool.setFill(slot, done);
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
