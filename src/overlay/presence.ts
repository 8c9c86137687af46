/**
 * Where a file may have content of its own: one bit per 256 KiB. Lets a read that only concerns the base skip
 * every index. Bits are set by writes and stay until the file goes.
 */
import { REGION, REGIONS_PER_CHUNK } from "./geometry.js";

const CHUNK_BYTES = REGIONS_PER_CHUNK / 8;

export class Presence {
	/** chunk number (1 GiB each) → bitmap */
	readonly chunks = new Map<number, Buffer>();
	readonly dirty = new Set<number>();

	mark(start: number, end: number): void {
		const last = Math.floor((end - 1) / REGION);
		for (let region = Math.floor(start / REGION); region <= last; region++) {
			const number = Math.floor(region / REGIONS_PER_CHUNK);
			let chunk = this.chunks.get(number);
			if (!chunk) {
				chunk = Buffer.alloc(CHUNK_BYTES);
				this.chunks.set(number, chunk);
			}
			const bit = region % REGIONS_PER_CHUNK;
			if ((chunk[bit >> 3] & (1 << (bit & 7))) !== 0) continue;
			chunk[bit >> 3] |= 1 << (bit & 7);
			this.dirty.add(number);
		}
	}

	/** False: certainly nothing of this file's own in [start, end). */
	any(start: number, end: number): boolean {
		if (this.chunks.size === 0) return false;
		const last = Math.floor((end - 1) / REGION);
		for (let region = Math.floor(start / REGION); region <= last; region++) {
			const chunk = this.chunks.get(Math.floor(region / REGIONS_PER_CHUNK));
			if (!chunk) {
				region += REGIONS_PER_CHUNK - 1 - (region % REGIONS_PER_CHUNK);
				continue;
			}
			const bit = region % REGIONS_PER_CHUNK;
			if ((chunk[bit >> 3] & (1 << (bit & 7))) !== 0) return true;
		}
		return false;
	}
}
