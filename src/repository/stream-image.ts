/**
 * One disk of a restore point for whoever reads each byte once: export and copy. Blocks are decoded where the reader wants
 * them; nothing is kept, so nothing is copied and the cache stays as it is.
 */
import { type Extent, type Image, ImageError } from "../image/image.js";
import type { DiskImageParts } from "./disk-image.js";
import { IDENTITY_BYTES, isAbsent, TYPE } from "./layout.js";
import { blockLength, FAN_OUT } from "./map-geometry.js";
import type { MapReader } from "./map-reader.js";
import type { RecordReader, Wanted } from "./record-reader.js";

/** Blocks per native job: enough to spare calls, few enough that one read keeps several threads busy. */
const BLOCKS_PER_JOB = 8;

export interface StreamImageParts extends Pick<DiskImageParts, "map" | "label" | "onClose"> {
	records: RecordReader;
}

/** A block that is wanted, and where. */
interface Piece extends Wanted {
	/** bytes of the disk */
	at: number;
	/** of a block that is wanted in part: it is decoded beside, and this is what is wanted of it */
	part?: { from: number; to: number; targetOffset: number };
}

export class StreamImage implements Image {
	readonly size: number;
	readonly #map: MapReader;
	readonly #records: RecordReader;
	readonly #label: string;
	readonly #onClose: () => void;
	readonly #work = new Set<Promise<unknown>>();
	#closed = false;

	constructor({ map, records, label, onClose }: StreamImageParts) {
		this.size = map.size;
		this.#map = map;
		this.#records = records;
		this.#label = label;
		this.#onClose = onClose;
	}

	async read(offset: number, target: Buffer): Promise<void> {
		this.#checkRange(offset, target.length);
		if (this.#closed) throw new ImageError("ECLOSED", `${this.#label} is closed`, offset, target.length);
		const work = this.#read(offset, target);
		this.#work.add(work);
		try {
			await work;
		} finally {
			this.#work.delete(work);
		}
	}

	async #read(offset: number, target: Buffer): Promise<void> {
		const pieces = await this.#pieces(offset, target);
		const jobs: Promise<void>[] = [];
		for (let n = 0; n < pieces.length; n += BLOCKS_PER_JOB)
			jobs.push(this.#job(pieces.slice(n, n + BLOCKS_PER_JOB), target));
		// All have ended when this settles: `target` is the caller's again.
		for (const result of await Promise.allSettled(jobs)) if (result.status === "rejected") throw result.reason;
	}

	/** The blocks that are stored; what is not is filled with zeros. */
	async #pieces(offset: number, target: Buffer): Promise<Piece[]> {
		const { blockSize } = this.#map;
		const end = offset + target.length;
		const pieces: Piece[] = [];
		for (let block = Math.floor(offset / blockSize); block * blockSize < end; block++) {
			const leaf = this.#map.peek(Math.floor(block / FAN_OUT)) ?? (await this.#map.leaf(Math.floor(block / FAN_OUT)));
			const start = block * blockSize;
			const rawLength = blockLength(this.size, blockSize, block);
			const from = Math.max(offset, start);
			const to = Math.min(end, start + rawLength);
			const identityAt = (block % FAN_OUT) * IDENTITY_BYTES;
			if (leaf === null || isAbsent(leaf, identityAt)) {
				target.fill(0, from - offset, to - offset);
				continue;
			}
			const wanted = { identity: leaf, offset: identityAt, type: TYPE.block, rawLength, at: start };
			if (to - from === rawLength) pieces.push({ ...wanted, target, targetOffset: from - offset });
			else {
				const part = { from: from - start, to: to - start, targetOffset: from - offset };
				pieces.push({ ...wanted, target: Buffer.allocUnsafe(rawLength), targetOffset: 0, part });
			}
		}
		return pieces;
	}

	async #job(pieces: Piece[], target: Buffer): Promise<void> {
		const faults = await this.#records.read(pieces);
		pieces.forEach(({ at, rawLength, part, target: decoded }, n) => {
			const fault = faults[n];
			if (fault !== undefined)
				throw new ImageError(fault.code, `${this.#label} at offset ${at}: ${fault.message}`, at, rawLength);
			if (part !== undefined) target.set(decoded.subarray(part.from, part.to), part.targetOffset);
		});
	}

	#checkRange(offset: number, length: number): void {
		if (!(offset >= 0 && offset + length <= this.size))
			throw new RangeError(`${this.#label}: ${length} bytes at ${offset} are beyond its ${this.size} bytes`);
	}

	extents(offset: number, length: number): Promise<Extent[]> {
		this.#checkRange(offset, length);
		return this.#map.extents(offset, length);
	}

	async close(): Promise<void> {
		if (this.#closed) return;
		this.#closed = true;
		await Promise.allSettled(this.#work);
		this.#onClose();
	}
}
