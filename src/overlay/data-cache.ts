/**
 * A bounded cache of log pages, so that what was just written or read comes from memory. Log positions never
 * change their content until their segment is entered anew, so pages need no other invalidation.
 */
import { PAGE } from "./geometry.js";

/** Batches and reads longer than this would only sweep the cache. */
export const CACHEABLE = 256 * 1024;
const SLAB_PAGES = 256;

export class DataCache {
	readonly #slots = new Map<number, number>();
	readonly #slabs: Buffer[] = [];
	readonly #owner: number[] = [];
	readonly #hot: boolean[] = [];
	readonly #capacity: number;
	#hand = 0;

	constructor(budgetBytes: number) {
		this.#capacity = Math.max(16, Math.floor(budgetBytes / PAGE));
	}

	/** Keeps a batch, or whole pages read: `parts` lie back to back from `position`, a multiple of PAGE. */
	keep(position: number, parts: Uint8Array[]): void {
		let length = 0;
		for (const part of parts) length += part.length;
		if (length > CACHEABLE) return;
		let page = position / PAGE;
		let room = 0;
		let target: Buffer | undefined;
		let at = 0;
		for (const part of parts) {
			for (let from = 0; from < part.length; ) {
				if (room === 0) {
					const slot = this.#slot(page++);
					target = this.#slabs[Math.floor(slot / SLAB_PAGES)];
					at = (slot % SLAB_PAGES) * PAGE;
					room = PAGE;
				}
				const n = Math.min(room, part.length - from);
				target!.set(n === part.length ? part : part.subarray(from, from + n), at);
				at += n;
				room -= n;
				from += n;
			}
		}
	}

	/** Fills `target` from `position` if all of it is here. */
	read(position: number, target: Buffer): boolean {
		const first = Math.floor(position / PAGE);
		const last = Math.floor((position + target.length - 1) / PAGE);
		for (let page = first; page <= last; page++) if (!this.#slots.has(page)) return false;
		let done = 0;
		for (let page = first; page <= last; page++) {
			const slot = this.#slots.get(page)!;
			this.#hot[slot] = true;
			const from = position + done - page * PAGE;
			const n = Math.min(PAGE - from, target.length - done);
			const at = (slot % SLAB_PAGES) * PAGE + from;
			this.#slabs[Math.floor(slot / SLAB_PAGES)].copy(target, done, at, at + n);
			done += n;
		}
		return true;
	}

	/** Forgets bytes [start, end) of the log. */
	forget(start: number, end: number): void {
		const first = start / PAGE;
		const last = end / PAGE;
		if (last - first > this.#slots.size) {
			for (const [page, slot] of this.#slots) if (page >= first && page < last) this.#drop(page, slot);
			return;
		}
		for (let page = first; page < last; page++) {
			const slot = this.#slots.get(page);
			if (slot !== undefined) this.#drop(page, slot);
		}
	}

	#drop(page: number, slot: number): void {
		this.#slots.delete(page);
		this.#owner[slot] = -1;
		this.#hot[slot] = false;
	}

	/** A slot for `page`: its own, a new one, or that of a page not used lately. */
	#slot(page: number): number {
		const own = this.#slots.get(page);
		if (own !== undefined) return own;
		let slot = this.#owner.length;
		if (slot < this.#capacity) {
			if (slot % SLAB_PAGES === 0) this.#slabs.push(Buffer.allocUnsafeSlow(SLAB_PAGES * PAGE));
			this.#owner.push(page);
			this.#hot.push(false);
		} else {
			while (this.#hot[this.#hand]) {
				this.#hot[this.#hand] = false;
				this.#hand = (this.#hand + 1) % this.#capacity;
			}
			slot = this.#hand;
			this.#hand = (this.#hand + 1) % this.#capacity;
			if (this.#owner[slot] >= 0) this.#slots.delete(this.#owner[slot]);
			this.#owner[slot] = page;
		}
		this.#slots.set(page, slot);
		return slot;
	}
}
