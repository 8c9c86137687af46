/** Entry pages of index segments in memory: read once, also when several ask at once; a fixed number is kept. */
import type { Segment } from "./segment.js";

/** Most entry pages kept in memory: 16 MiB. */
const CACHED_PAGES = 4096;

export class SegmentPages {
	readonly #pages = new Map<Segment, Map<number, Buffer>>();
	readonly #order: [Segment, number][] = [];
	/** entry pages being read */
	readonly #loading = new Map<string, Promise<Buffer | undefined>>();
	readonly #failed: (segment: Segment, error: unknown) => void;

	/** `failed`: told of each page that cannot be had; what it throws, `get` rejects with. */
	constructor(failed: (segment: Segment, error: unknown) => void) {
		this.#failed = failed;
	}

	/** An entry page that is in memory. */
	peek(segment: Segment, number: number): Buffer | undefined {
		return this.#pages.get(segment)?.get(number);
	}

	/** An entry page; undefined when the segment turns out to be unusable. */
	async get(segment: Segment, number: number): Promise<Buffer | undefined> {
		const cached = this.peek(segment, number);
		if (cached !== undefined) return cached;
		const key = `${segment.id} ${number}`;
		let load = this.#loading.get(key);
		if (load === undefined) {
			load = this.#load(segment, number).finally(() => this.#loading.delete(key));
			this.#loading.set(key, load);
		}
		return load;
	}

	async #load(segment: Segment, number: number): Promise<Buffer | undefined> {
		try {
			const page = await segment.readPages(number, 1);
			this.#remember(segment, number, page);
			return page;
		} catch (error) {
			this.#failed(segment, error);
			return undefined;
		}
	}

	#remember(segment: Segment, number: number, page: Buffer): void {
		let pages = this.#pages.get(segment);
		if (pages === undefined) {
			pages = new Map();
			this.#pages.set(segment, pages);
		}
		if (pages.has(number)) return;
		pages.set(number, page);
		this.#order.push([segment, number]);
		// Lookups are uniformly random, so first in, first out is as good as any order.
		if (this.#order.length >= CACHED_PAGES) this.#trim();
	}

	#trim(): void {
		for (const [segment, number] of this.#order.splice(0, CACHED_PAGES / 2)) this.#pages.get(segment)?.delete(number);
	}

	/** Lets go of a segment's pages. */
	forget(segment: Segment): void {
		this.#pages.delete(segment);
	}
}
