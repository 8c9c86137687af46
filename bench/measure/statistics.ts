/**
 * Medians, ranges and ratios. Medians everywhere: one disturbed run must not move the figure.
 */

/** The value below which the share `q` (0 to 1) of `values` lies; interpolated. Fails on an empty list. */
export function quantile(values: readonly number[], q: number): number {
	if (values.length === 0) throw new Error("no values to take a quantile of");
	const sorted = [...values].sort((a, b) => a - b);
	const at = (sorted.length - 1) * q;
	const below = Math.floor(at);
	const above = Math.ceil(at);
	return sorted[below] + (sorted[above] - sorted[below]) * (at - below);
}

export const median = (values: readonly number[]): number => quantile(values, 0.5);

/**
 * How many times better `ours` is than `theirs`: above 1 we win, whatever the unit. `theirs[i]` and `ours[i]` are one
 * pair, measured one after the other.
 */
export interface Ratio {
	ofMedians: number;
	medianOfPairs: number;
}

export function ratio(ours: readonly number[], theirs: readonly number[], better: "lower" | "higher"): Ratio {
	const quotient = (a: number, b: number) => (better === "higher" ? a / b : b / a);
	const pairs = Math.min(ours.length, theirs.length);
	return {
		ofMedians: quotient(median(ours), median(theirs)),
		medianOfPairs: median(Array.from({ length: pairs }, (_, i) => quotient(ours[i], theirs[i]))),
	};
}

/** The straight line with the least squares of errors in y: its value at x = 0, and how it rises. */
export function line(points: { x: number; y: number }[]): { at0: number; slope: number } {
	const mean = (of: (point: { x: number; y: number }) => number) =>
		points.reduce((sum, point) => sum + of(point), 0) / points.length;
	const [x, y] = [mean((point) => point.x), mean((point) => point.y)];
	const spread = mean((point) => (point.x - x) ** 2);
	const slope = spread === 0 ? 0 : mean((point) => (point.x - x) * (point.y - y)) / spread;
	return { at0: y - slope * x, slope };
}
