/**
 * A large disk that nobody has to store: its content follows from the number of a block and the point in which it
 * last changed. Blocks differ from each other and compress to almost nothing, so that ten million of them fit a small
 * disk while every record, map page and index entry of the repository is a real one.
 */
import type { Extent, Image } from "../../src/image/image.js";
import { Random } from "./random.js";

export const BLOCK_SIZE = 65_536;
/** 10 TB, and a bit: whole blocks */
export const DISK_SIZE = Math.ceil(10e12 / BLOCK_SIZE) * BLOCK_SIZE;
/** Data lies in regions of this many blocks, 1 GiB, spread evenly over the disk. */
const REGION_BLOCKS = 16_384;
/** Changes come in runs of 1 to this many blocks. */
const LONGEST_RUN = 7;
const FILLER = 0x5b;

export interface Run {
	/** bytes */
	offset: number;
	length: number;
}

export class SyntheticDisk implements Image {
	readonly size = DISK_SIZE;
	readonly #stride: number;

	/**
	 * @param populated blocks that hold data
	 * @param most what `populated` will ever be: fixes where the regions are
	 * @param point of which every block that is read has its content
	 */
	constructor(
		readonly populated: number,
		most: number,
		readonly point: number,
	) {
		const regions = Math.ceil(most / REGION_BLOCKS);
		this.#stride = Math.floor(DISK_SIZE / BLOCK_SIZE / regions);
		if (this.#stride < REGION_BLOCKS) throw new Error(`${most} blocks do not fit a disk of ${DISK_SIZE} bytes`);
	}

	/** The place on the disk of the `n`th block that holds data. */
	#place(n: number): number {
		return Math.floor(n / REGION_BLOCKS) * this.#stride + (n % REGION_BLOCKS);
	}

	/** Bytes of the blocks from the `from`th to the `to`th that hold data. */
	runs(from: number, to: number): Run[] {
		const runs: Run[] = [];
		for (let n = from; n < to; ) {
			const length = Math.min(to - n, REGION_BLOCKS - (n % REGION_BLOCKS));
			runs.push({ offset: this.#place(n) * BLOCK_SIZE, length: length * BLOCK_SIZE });
			n += length;
		}
		return runs;
	}

	/** What changed in this point: about `blocks` blocks, in short runs, anywhere in the data; the same in every run. */
	changes(blocks: number): Run[] {
		const random = new Random(this.point * 2_654_435_761);
		const first = new Map<number, number>();
		for (let left = blocks; left > 0; ) {
			const length = Math.min(left, 1 + random.below(LONGEST_RUN));
			first.set(random.below(this.populated - LONGEST_RUN), length);
			left -= length;
		}
		return [...first].flatMap(([n, length]) => this.runs(n, n + length));
	}

	read(offset: number, target: Buffer): void {
		target.fill(FILLER);
		for (let at = 0; at < target.length; at += BLOCK_SIZE) {
			target.writeDoubleLE((offset + at) / BLOCK_SIZE, at);
			target.writeUInt32LE(this.point, at + 8);
		}
	}

	extents(offset: number, length: number): Extent[] {
		const extents: Extent[] = [];
		let at = offset;
		for (const run of this.runs(0, this.populated)) {
			const start = Math.max(run.offset, offset);
			const stop = Math.min(run.offset + run.length, offset + length);
			if (stop <= start) continue;
			if (start > at) extents.push({ offset: at, length: start - at, kind: "unallocated" });
			extents.push({ offset: start, length: stop - start, kind: "data" });
			at = stop;
		}
		if (at < offset + length) extents.push({ offset: at, length: offset + length - at, kind: "unallocated" });
		return extents;
	}

	async close(): Promise<void> {}
}
