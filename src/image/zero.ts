/** An Image of zeros. */
import type { Extent, Image } from "./image.js";
import { checkRange } from "./range.js";

/** `size` bytes of zeros, all unallocated. */
export class ZeroImage implements Image {
	constructor(readonly size: number) {}

	read(offset: number, target: Buffer): void {
		checkRange(this.size, offset, target.length);
		target.fill(0);
	}

	extents(offset: number, length: number): Extent[] {
		checkRange(this.size, offset, length);
		return length === 0 ? [] : [{ offset, length, kind: "unallocated" }];
	}

	async close(): Promise<void> {}
}
