/** The arithmetic behind every figure: quantiles, ratios, order of runs, tables. */
import t from "tap";
import { inOrder, Series } from "../../bench/measure/pairs.js";
import { amount, json, markdown, type Report } from "../../bench/measure/report.js";
import { line, median, quantile, ratio } from "../../bench/measure/statistics.js";

t.test("quantiles interpolate and do not reorder what they are given", async (t) => {
	const values = [5, 1, 3];
	t.equal(median(values), 3);
	t.equal(median([1, 2, 3, 4]), 2.5);
	t.equal(quantile([0, 10], 0.99), 9.9);
	t.equal(quantile([7], 0.99), 7);
	t.same(values, [5, 1, 3]);
	t.throws(() => median([]), /no values/);
});

t.test("a ratio above 1 means that the first side is better, whatever the unit", async (t) => {
	t.same(ratio([200, 100], [50, 100], "higher"), { ofMedians: 2, medianOfPairs: 2.5 });
	t.same(ratio([1, 2], [4, 4], "lower"), { ofMedians: 4 / 1.5, medianOfPairs: 3 });
});

t.test("every second pair runs in the reverse order", async (t) => {
	const sides = ["a", "b", "c"];
	t.same(inOrder(sides, 0), ["a", "b", "c"]);
	t.same(inOrder(sides, 1), ["c", "b", "a"]);
	t.same(sides, ["a", "b", "c"]);
});

t.test("amounts have three significant digits", async (t) => {
	t.equal(amount(123456), "123,456");
	t.equal(amount(12.345), "12.3");
	t.equal(amount(0.012345), "0.0123");
	t.equal(amount(0), "0");
});

function report(series: Series[]): Report {
	return {
		scenario: "example",
		started: "2026-01-02T03:04:05.000Z",
		seconds: 61,
		pairs: 2,
		quick: true,
		machine: {
			...{ cpu: "A CPU", cores: 2, memory: 8 * 2 ** 30, kernel: "6.1", virtualization: "kvm" },
			versions: { node: "v20" },
		},
		noise: { loadBefore: 0.5, loadAfter: 2, busyBefore: [0.07, 0.5] },
		conditions: ["warm"],
		tables: [{ title: "Rates", sides: ["ours", "theirs"], series }],
		remarks: ["a remark"],
	};
}

t.test("the report has medians, ranges, both ratios and the goal, and JSON has every value", async (t) => {
	const rate = new Series("read", "1/s", "higher", 4);
	for (const [ours, theirs] of [
		[100, 50],
		[300, 50],
	]) {
		rate.add("ours", ours);
		rate.add("theirs", theirs);
	}
	const lonely = new Series("size", "MiB", "lower");
	lonely.add("ours", 7);
	const text = markdown(report([rate, lonely]));
	t.match(text, "| read | 1/s | 200 (100–300) | 50.0 (50.0–50.0) | 4.00 × | 4.00 × | ≥ 4.0 × |");
	t.match(text, "| size | MiB | 7.00 | – | – | – | – |");
	t.match(text, "7%, 50%");
	t.match(text, "2 pairs (quick)");
	const parsed = JSON.parse(json(report([rate])));
	t.same(parsed.tables[0].rows[0].values, { ours: [100, 300], theirs: [50, 50] });
	t.equal(parsed.machine.cores, 2);
});

t.test("a line through points", async (t) => {
	const exact = line([1, 2, 6].map((x) => ({ x, y: 100 + 3 * x })));
	t.same(
		[exact.at0, exact.slope].map((n) => Math.round(n * 1e9) / 1e9),
		[100, 3],
	);
	const { at0, slope } = line([
		{ x: 0, y: 1 },
		{ x: 0, y: 3 },
		{ x: 10, y: 11 },
		{ x: 10, y: 13 },
	]);
	t.same([at0, slope], [2, 1], "between what scatters");
	t.same(line([{ x: 4, y: 7 }]), { at0: 7, slope: 0 }, "one point says nothing of growth");
});
