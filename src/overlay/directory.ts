/**
 * The entries of one directory: by name, and in cookie order. Cookies only grow, so new entries go to the end;
 * removed ones leave a gap that is closed now and then.
 */
import type { DirEntry, InodeId } from "./contract.js";

export interface Entry {
	name: string;
	id: InodeId;
	cookie: number;
	gone: boolean;
}

export class Directory {
	readonly #names = new Map<string, Entry>();
	#order: Entry[] = [];
	#gone = 0;

	get size(): number {
		return this.#names.size;
	}

	get(name: string): Entry | undefined {
		return this.#names.get(name);
	}

	at(cookie: number): Entry | undefined {
		const entry = this.#order[this.#after(cookie - 1)];
		return entry?.cookie === cookie && !entry.gone ? entry : undefined;
	}

	put(name: string, id: InodeId, cookie: number): void {
		const entry: Entry = { name, id, cookie, gone: false };
		this.#names.set(name, entry);
		const index = this.#after(cookie - 1);
		const there = this.#order[index];
		if (there?.cookie === cookie) {
			// Only an undone removal brings a cookie back.
			if (there.gone) this.#gone--;
			this.#order[index] = entry;
		} else if (index === this.#order.length) this.#order.push(entry);
		else this.#order.splice(index, 0, entry);
	}

	/** Returns what was removed. */
	delete(cookie: number): Entry | undefined {
		const entry = this.at(cookie);
		if (!entry) return undefined;
		entry.gone = true;
		if (this.#names.get(entry.name) === entry) this.#names.delete(entry.name);
		this.#gone++;
		if (this.#gone > 64 && this.#gone * 2 > this.#order.length) {
			this.#order = this.#order.filter((e) => !e.gone);
			this.#gone = 0;
		}
		return entry;
	}

	list(after: number, limit: number): { entries: DirEntry[]; end: boolean } {
		const entries: DirEntry[] = [];
		let index = this.#after(after);
		for (; index < this.#order.length; index++) {
			const entry = this.#order[index];
			if (entry.gone) continue;
			if (entries.length === limit) return { entries, end: false };
			entries.push({ name: entry.name, id: entry.id, cookie: BigInt(entry.cookie) });
		}
		return { entries, end: true };
	}

	/** Index of the first entry with a cookie above `cookie`. */
	#after(cookie: number): number {
		let low = 0;
		let high = this.#order.length;
		// Appending is the usual case.
		if (high === 0 || this.#order[high - 1].cookie <= cookie) return high;
		while (low < high) {
			const middle = (low + high) >>> 1;
			if (this.#order[middle].cookie > cookie) high = middle;
			else low = middle + 1;
		}
		return low;
	}
}
