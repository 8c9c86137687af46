/**
 * Latency histogram with log-linear buckets, as HDR histograms have: every power of two is cut into 32 equal
 * buckets, so a quantile is known to about 1.6% whatever its size. Recording is one addition in a typed array.
 */

/** The finest that is told apart is 0.1 µs. */
const UNITS_PER_MS = 10_000;
const SUB_BITS = 5;
/** buckets per power of two; below as many units each bucket is one unit */
const SUB = 1 << SUB_BITS;
/** What takes longer than 2^32 units (7 minutes) counts as that. */
const UNITS_MAX = 2 ** 32 - 1;
export const BUCKETS = (32 - SUB_BITS + 1) * SUB;

/** A histogram at one moment, as it travels. */
export interface LatencySnapshot {
	count: number;
	/** sum and maximum in milliseconds */
	sum: number;
	max: number;
	/** pairs of bucket number and its count, ascending, without empty ones */
	buckets: number[];
}

export const NO_LATENCIES: LatencySnapshot = { count: 0, sum: 0, max: 0, buckets: [] };

export class LatencyHistogram {
	// Doubles count exactly to 2^53; 32 bits would be full within hours.
	readonly #buckets = new Float64Array(BUCKETS);
	count = 0;
	/** milliseconds */
	sum = 0;
	max = 0;

	/** Counts `times` events that took `milliseconds` each. */
	record(milliseconds: number, times = 1): void {
		this.#buckets[bucketOf(milliseconds)] += times;
		this.count += times;
		this.sum += milliseconds * times;
		if (milliseconds > this.max) this.max = milliseconds;
	}

	snapshot(): LatencySnapshot {
		const buckets: number[] = [];
		for (let bucket = 0; bucket < BUCKETS; bucket++) {
			const count = this.#buckets[bucket];
			if (count > 0) buckets.push(bucket, count);
		}
		return { count: this.count, sum: this.sum, max: this.max, buckets };
	}
}

/** The bucket that a latency falls into. */
export function bucketOf(milliseconds: number): number {
	// Also NaN and what is below zero, which only a clock that went wrong could give.
	if (!(milliseconds > 0)) return 0;
	const units = Math.min(UNITS_MAX, Math.floor(milliseconds * UNITS_PER_MS));
	if (units < SUB) return units;
	const power = 31 - Math.clz32(units);
	const shift = power - SUB_BITS;
	return (shift + 1) * SUB + ((units >>> shift) & (SUB - 1));
}

/** Where a bucket begins, in milliseconds; it ends where the next one begins. */
export function bucketStart(bucket: number): number {
	if (bucket < SUB) return bucket / UNITS_PER_MS;
	const shift = Math.floor(bucket / SUB) - 1;
	return (((bucket % SUB) + SUB) * 2 ** shift) / UNITS_PER_MS;
}

/**
 * The latency in milliseconds that the share `q` (0 to 1) of the events did not exceed: the middle of its bucket.
 * 0 when there were none.
 */
export function quantile({ count, max, buckets }: LatencySnapshot, q: number): number {
	let left = Math.max(1, Math.ceil(q * count));
	for (let at = 0; at < buckets.length; at += 2) {
		left -= buckets[at + 1];
		if (left <= 0) return Math.min(max, (bucketStart(buckets[at]) + bucketStart(buckets[at] + 1)) / 2);
	}
	return 0;
}

/** How many events took less than 2^`power` units of 0.1 µs: exact, because buckets end at powers of two. */
export function countBelow({ buckets }: LatencySnapshot, power: number): number {
	const end = power < SUB_BITS ? 2 ** power : (power - SUB_BITS + 1) * SUB;
	let count = 0;
	for (let at = 0; at < buckets.length && buckets[at] < end; at += 2) count += buckets[at + 1];
	return count;
}

/** 2^`power` units in seconds: the bound that belongs to `countBelow`. */
export const secondsAt = (power: number): number => 2 ** power / (UNITS_PER_MS * 1000);

/** All of several histograms in one. */
export function mergeLatencies(parts: readonly LatencySnapshot[]): LatencySnapshot {
	const counts = new Map<number, number>();
	const merged = { count: 0, sum: 0, max: 0 };
	for (const part of parts) {
		merged.count += part.count;
		merged.sum += part.sum;
		merged.max = Math.max(merged.max, part.max);
		addPairs(counts, part.buckets, 1);
	}
	return { ...merged, buckets: pairs(counts) };
}

/** What `later` has more than `earlier`, both of the same histogram. The maximum is that of its highest bucket. */
export function latenciesSince(later: LatencySnapshot, earlier: LatencySnapshot): LatencySnapshot {
	const counts = new Map<number, number>();
	addPairs(counts, later.buckets, 1);
	addPairs(counts, earlier.buckets, -1);
	const buckets = pairs(counts);
	const highest = buckets.at(-2);
	const max = highest === undefined ? 0 : Math.min(later.max, bucketStart(highest + 1));
	return { count: later.count - earlier.count, sum: later.sum - earlier.sum, max, buckets };
}

function addPairs(counts: Map<number, number>, buckets: readonly number[], sign: number): void {
	for (let at = 0; at < buckets.length; at += 2)
		counts.set(buckets[at], (counts.get(buckets[at]) ?? 0) + sign * buckets[at + 1]);
}

function pairs(counts: Map<number, number>): number[] {
	return [...counts]
		.filter(([, count]) => count > 0)
		.sort(([a], [b]) => a - b)
		.flat();
}
