/**
 * Runs of several sides in alternation: whatever else the machine does then disturbs all sides alike.
 */

/** Figures of one load, by side, in the order of the pairs. */
export class Series {
	readonly values = new Map<string, number[]>();

	/**
	 * @param load what was done
	 * @param unit of the values, as printed
	 * @param better which values are better
	 * @param goal how many times better than the first peer our side should be; left out: no goal is set
	 */
	constructor(
		readonly load: string,
		readonly unit: string,
		readonly better: "lower" | "higher",
		readonly goal?: number,
	) {}

	add(side: string, value: number): void {
		const values = this.values.get(side);
		if (values) values.push(value);
		else this.values.set(side, [value]);
	}

	of(side: string): number[] {
		return this.values.get(side) ?? [];
	}
}

/**
 * Runs every side once per pair, one after the other. The order is reversed from pair to pair (A B, B A, A B …), so
 * that no side always has the place after the other.
 */
export async function alternate<Side>(
	pairs: number,
	sides: readonly Side[],
	run: (side: Side, pair: number) => Promise<void>,
): Promise<void> {
	for (let pair = 0; pair < pairs; pair++) for (const side of inOrder(sides, pair)) await run(side, pair);
}

/** The sides in the order of this pair. */
export const inOrder = <Side>(sides: readonly Side[], pair: number): Side[] =>
	pair % 2 === 0 ? [...sides] : [...sides].reverse();
