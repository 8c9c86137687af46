/** A window of another Image. */
import type { Extent, Image } from "./image.js";
import { checkRange } from "./range.js";

/** `size` bytes of `inner` from `start`. Owns `inner`: closing it closes it. */
export class SliceImage implements Image {
	constructor(
		private readonly inner: Image,
		private readonly start: number,
		readonly size: number,
	) {
		checkRange(inner.size, start, size);
	}

	read(offset: number, target: Buffer): void | Promise<void> {
		checkRange(this.size, offset, target.length);
		return this.inner.read(this.start + offset, target);
	}

	extents(offset: number, length: number): Extent[] | Promise<Extent[]> {
		checkRange(this.size, offset, length);
		const shift = (list: Extent[]) => list.map((run) => ({ ...run, offset: run.offset - this.start }));
		const list = this.inner.extents(this.start + offset, length);
		return list instanceof Promise ? list.then(shift) : shift(list);
	}

	close(): Promise<void> {
		return this.inner.close();
	}
}
