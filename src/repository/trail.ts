/**
 * For whoever walks the maps of many points: what was met last in each place of one VM's disks. A point's pages name mostly
 * the children that the pages in their place named one point before, and what is the same needs no second look.
 */

/** Pages above the leaves that are remembered: 32 MiB, those of 4 TiB of data. */
const TRAIL_PAGES = 16_384;

export class Trail<Met> {
	readonly #places = new Map<string, Map<number, Met>>();
	#count = 0;
	#vm: string | undefined;

	constructor(readonly limit = TRAIL_PAGES) {}

	/** Says whose disks come now; those of another VM are forgotten. */
	of(vm: string): void {
		if (this.#vm === vm) return;
		this.#vm = vm;
		this.#places.clear();
		this.#count = 0;
	}

	/** What was met in this place; from now on `met`, where there is room. */
	swap(disk: string, level: number, number: number, met: Met): Met | undefined {
		const key = `${level} ${disk}`;
		let places = this.#places.get(key);
		if (places === undefined) {
			places = new Map();
			this.#places.set(key, places);
		}
		const before = places.get(number);
		// Nothing makes room for anything else: disks are walked in order, so what went would be wanted next.
		if (before === undefined && this.#count >= this.limit) return undefined;
		if (before === undefined) this.#count += 1;
		places.set(number, met);
		return before;
	}
}
