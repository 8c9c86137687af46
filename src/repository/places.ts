/** Which records were seen, by their places: one bit for each 56 bytes of a pack, because no record is smaller. */
import { RECORD_HEADER_BYTES } from "./layout.js";

const SMALLEST = 1024;

export class Places {
	readonly #packs = new Map<string, Uint8Array>();

	has(pack: string, offset: number): boolean {
		const bit = Math.floor(offset / RECORD_HEADER_BYTES);
		const bits = this.#packs.get(pack);
		return bits !== undefined && bits.length > bit >>> 3 && (bits[bit >>> 3] & (1 << (bit & 7))) !== 0;
	}

	/** True the first time. */
	add(pack: string, offset: number): boolean {
		if (this.has(pack, offset)) return false;
		const bit = Math.floor(offset / RECORD_HEADER_BYTES);
		let bits = this.#packs.get(pack);
		if (bits === undefined || bits.length <= bit >>> 3) {
			const larger = new Uint8Array(Math.max(SMALLEST, 2 ** Math.ceil(Math.log2((bit >>> 3) + 1))));
			if (bits !== undefined) larger.set(bits);
			bits = larger;
			this.#packs.set(pack, bits);
		}
		bits[bit >>> 3] |= 1 << (bit & 7);
		return true;
	}
}
