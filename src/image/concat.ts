/**
 * Images one after the other, as one: the extents of a flat VMDK, a disk with a padded tail.
 */
import type { Extent, Image } from "./image.js";
import { checkRange, pushExtent } from "./range.js";

interface Part {
	image: Image;
	start: number;
}

/** Owns its parts: closing it closes them. */
export class ConcatImage implements Image {
	readonly size: number;
	private readonly parts: Part[] = [];

	constructor(images: Image[]) {
		let start = 0;
		for (const image of images) {
			if (image.size > 0) this.parts.push({ image, start });
			start += image.size;
		}
		this.size = start;
	}

	read(offset: number, target: Buffer): void | Promise<void> {
		checkRange(this.size, offset, target.length);
		const waits: Promise<void>[] = [];
		for (const { image, from, length, at } of this.pieces(offset, target.length)) {
			const result = image.read(from, target.subarray(at, at + length));
			if (result !== undefined) waits.push(result);
		}
		if (waits.length === 1) return waits[0];
		// Settled, not raced: nobody may write into `target` after this promise ends.
		if (waits.length > 1)
			return Promise.allSettled(waits).then((results) => {
				for (const result of results) if (result.status === "rejected") throw result.reason;
			});
	}

	extents(offset: number, length: number): Extent[] | Promise<Extent[]> {
		checkRange(this.size, offset, length);
		const pieces = this.pieces(offset, length);
		const results = pieces.map((piece) => piece.image.extents(piece.from, piece.length));
		const join = (lists: Extent[][]): Extent[] => {
			const all: Extent[] = [];
			for (const [i, list] of lists.entries()) {
				const shift = offset + pieces[i].at - pieces[i].from;
				for (const run of list) pushExtent(all, run.offset + shift, run.length, run.kind);
			}
			return all;
		};
		if (results.some((result) => result instanceof Promise)) return Promise.all(results).then(join);
		return join(results as Extent[][]);
	}

	async close(): Promise<void> {
		for (const part of this.parts) await part.image.close();
	}

	/** The parts that [offset, offset + length) touches; `at` counts from `offset`. */
	private pieces(offset: number, length: number): { image: Image; from: number; length: number; at: number }[] {
		const list = [];
		const end = offset + length;
		let low = 0;
		let high = this.parts.length - 1;
		while (low < high) {
			const middle = (low + high + 1) >> 1;
			if (this.parts[middle].start <= offset) low = middle;
			else high = middle - 1;
		}
		for (let i = low; i < this.parts.length && this.parts[i].start < end; i++) {
			const { image, start } = this.parts[i];
			const from = Math.max(offset, start);
			const to = Math.min(end, start + image.size);
			if (to > from) list.push({ image, from: from - start, length: to - from, at: from - offset });
		}
		return list;
	}
}
