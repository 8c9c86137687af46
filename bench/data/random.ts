/**
 * Numbers that look random and are the same in every run: xorshift32 (Marsaglia, "Xorshift RNGs", 2003).
 */
export class Random {
	#state: number;

	constructor(seed: number) {
		this.#state = seed >>> 0 || 1;
	}

	/** An integer from 0 to `limit` - 1. */
	below(limit: number): number {
		let state = this.#state;
		state ^= state << 13;
		state ^= state >>> 17;
		state ^= state << 5;
		this.#state = state >>> 0;
		return this.#state % limit;
	}

	/** `count` different integers below `limit`, ascending. */
	distinct(count: number, limit: number): number[] {
		const chosen = new Set<number>();
		while (chosen.size < Math.min(count, limit)) chosen.add(this.below(limit));
		return [...chosen].sort((a, b) => a - b);
	}
}
