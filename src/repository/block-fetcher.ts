/**
 * Fills cache slots from packs: one fill per block, however many wait for it, a few blocks per native job. One for each
 * repository: the cache is shared by all, but nobody waits for a disk of another one, which may hang.
 */
import { ImageError } from "../image/image.js";
import { TYPE } from "./layout.js";
import type { RecordFault, RecordReader } from "./record-reader.js";
import type { SlotPool } from "./slot-pool.js";
import type { RecordWaiter, Wanted } from "./store.js";

/** A block whose slot is taken and waits for its bytes. */
export interface Fill {
	/** leaf page that names the block at `offset` */
	leaf: Buffer;
	offset: number;
	/** plain bytes */
	rawLength: number;
	slot: number;
}

/** Told once: undefined when the slot is ready, which is pinned meanwhile, else what went wrong. */
export type SlotWaiter = (fault: ImageError | undefined) => void;

/** A slot taken here and not filled yet, and who else waits for it. */
class Filling {
	waiters: SlotWaiter[] | undefined;

	wait(waiter: SlotWaiter): void {
		if (this.waiters === undefined) this.waiters = [waiter];
		else this.waiters.push(waiter);
	}

	tell(fault: ImageError | undefined): void {
		if (this.waiters !== undefined) for (const waiter of this.waiters) waiter(fault);
	}
}

/** The fill of one block without a promise. */
class SingleFill extends Filling implements Wanted, RecordWaiter {
	readonly type = TYPE.block;

	constructor(
		private readonly fetcher: BlockFetcher,
		readonly identity: Buffer,
		readonly offset: number,
		readonly rawLength: number,
		readonly slot: number,
		readonly target: Buffer,
		readonly targetOffset: number,
	) {
		super();
	}

	recordRead(good: boolean): void {
		if (good) this.fetcher.settle(this, undefined);
		else this.fetcher.readSlowly(this);
	}
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
	readonly #filling = new Map<number, Filling>();
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
		if (slot >= 0) this.#filling.set(slot, new Filling());
		return slot;
	}

	/** Settles when a slot is filled or has failed; undefined when it is another repository that fills it. */
	filled(slot: number): Promise<void> | undefined {
		const filling = this.#filling.get(slot);
		return filling && new Promise((resolve) => filling.wait(() => resolve()));
	}

	/** Fills one slot that was taken here. It stays pinned until `waiter` has been told. */
	fetch({ leaf, offset, rawLength, slot }: Fill, waiter: SlotWaiter): void {
		const { pool } = this;
		const fill = new SingleFill(this, leaf, offset, rawLength, slot, pool.slab(slot), pool.start(slot));
		fill.wait(waiter);
		this.#filling.set(slot, fill);
		this.inFlight += 1;
		if (!this.#reader.start(fill, fill)) this.readSlowly(fill);
	}

	/** Looks for the record wherever it may be. */
	readSlowly(fill: SingleFill): void {
		void this.#reader.read([fill]).then(([fault]) => this.settle(fill, fault));
	}

	settle(fill: SingleFill, fault: RecordFault | undefined): void {
		const { pool } = this;
		const { slot } = fill;
		this.inFlight -= 1;
		this.#filling.delete(slot);
		if (fault !== undefined) {
			pool.fail(slot);
			fill.tell(new ImageError(fault.code, fault.message, 0, 0));
			return;
		}
		pool.ready(slot);
		fill.tell(undefined);
		pool.unpin(slot);
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
		return work.then((faults) => {
			this.inFlight -= fills.length;
			return fills.map(({ slot }, n) => {
				const filling = this.#filling.get(slot);
				this.#filling.delete(slot);
				const fault = faults[n] && new ImageError(faults[n].code, faults[n].message, 0, 0);
				if (fault === undefined) pool.ready(slot);
				else pool.fail(slot);
				filling?.tell(fault);
				return fault;
			});
		});
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
