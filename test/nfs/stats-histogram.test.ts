/** Histogram maths against exact quantiles, and that recording keeps nothing. */
import t from "tap";
import {
	BUCKETS,
	bucketOf,
	bucketStart,
	countBelow,
	LatencyHistogram,
	latenciesSince,
	mergeLatencies,
	NO_LATENCIES,
	quantile,
	secondsAt,
} from "../../src/nfs/stats-histogram.js";

/** Half a bucket: 1/64 of the value, and half of the unit of 0.1 µs. */
const RELATIVE = 1 / 64;
const ABSOLUTE = 0.00005;

/** Uniform in 0..1, the same at every run. */
function random(seed: number): () => number {
	let state = seed;
	return () => {
		state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
		return state / 2 ** 32;
	};
}

t.test("buckets follow each other without a gap", (t) => {
	for (let bucket = 0; bucket < BUCKETS; bucket++) {
		const start = bucketStart(bucket);
		const width = bucketStart(bucket + 1) - start;
		if (!(width > 0 && width <= Math.max(0.0001001, start / 32 + 1e-9))) t.fail(`bucket ${bucket} is ${width} wide`);
		if (bucketOf(start + width / 2) !== bucket)
			t.fail(`the middle of bucket ${bucket} is in ${bucketOf(start + width / 2)}`);
	}
	t.equal(bucketOf(0), 0);
	t.equal(bucketOf(-1), 0);
	t.equal(bucketOf(Number.NaN), 0);
	t.equal(bucketOf(Number.POSITIVE_INFINITY), BUCKETS - 1);
	t.equal(bucketOf(1e12), BUCKETS - 1, "what takes for ever is in the last");
	t.end();
});

const SHAPES: Record<string, (next: () => number) => number> = {
	"uniform to 10 ms": (next) => next() * 10,
	"exponential around 80 µs": (next) => -Math.log(1 - next()) * 0.08,
	"over eight powers of ten": (next) => 10 ** (next() * 8 - 4),
	"two humps": (next) => (next() < 0.97 ? 0.004 + next() * 0.001 : 40 + next() * 5),
	constant: () => 1.2345,
};
for (const [name, shape] of Object.entries(SHAPES)) {
	t.test(`quantiles: ${name}`, (t) => {
		const next = random(7);
		const exact = Array.from({ length: 20_000 }, () => shape(next));
		const histogram = new LatencyHistogram();
		for (const value of exact) histogram.record(value);
		exact.sort((a, b) => a - b);
		const snapshot = histogram.snapshot();
		for (const q of [0.001, 0.1, 0.5, 0.9, 0.99, 0.999, 1]) {
			const want = exact[Math.ceil(q * exact.length) - 1];
			const error = Math.abs(quantile(snapshot, q) - want);
			if (error > Math.max(ABSOLUTE, want * RELATIVE) + 1e-9)
				t.fail(`q ${q}: ${quantile(snapshot, q)} instead of ${want}`);
		}
		t.equal(snapshot.count, exact.length);
		t.equal(snapshot.max, exact.at(-1));
		const sum = exact.reduce((a, b) => a + b, 0);
		t.ok(Math.abs(snapshot.sum - sum) < sum * 1e-9, "the sum is exact");
		for (let power = 0; power <= 32; power++) {
			const bound = secondsAt(power) * 1000;
			const below = exact.filter((value) => value < bound).length;
			if (countBelow(snapshot, power) !== below)
				t.fail(`below ${bound} ms: ${countBelow(snapshot, power)} instead of ${below}`);
		}
		t.end();
	});
}

t.test("nothing, several at once, differences, sums", (t) => {
	t.equal(quantile(NO_LATENCIES, 0.99), 0);
	const histogram = new LatencyHistogram();
	histogram.record(1, 99);
	const earlier = histogram.snapshot();
	histogram.record(8, 1);
	t.equal(histogram.count, 100);
	t.equal(histogram.sum, 107);
	t.ok(Math.abs(quantile(histogram.snapshot(), 0.99) - 1) < RELATIVE);
	t.equal(quantile(histogram.snapshot(), 1), 8, "never above the maximum");
	const since = latenciesSince(histogram.snapshot(), earlier);
	t.equal(since.count, 1);
	t.equal(since.sum, 8);
	t.equal(since.max, 8);
	t.ok(Math.abs(quantile(since, 0.5) - 8) < 8 * RELATIVE, "only what came later");
	t.same(latenciesSince(earlier, earlier), NO_LATENCIES);
	const both = mergeLatencies([earlier, since]);
	t.same(both, histogram.snapshot(), "the parts make the whole");
	t.end();
});

t.test("a million recordings keep nothing", (t) => {
	const histogram = new LatencyHistogram();
	const next = random(3);
	const values = Float64Array.from({ length: 1024 }, () => next() * 50);
	const run = () => {
		for (let i = 0; i < 1_000_000; i++) histogram.record(values[i & 1023]);
	};
	run(); // compiles
	const before = process.memoryUsage();
	run();
	const after = process.memoryUsage();
	t.equal(histogram.count, 2_000_000);
	// The smallest object for each would be 16 MB; what the compiler needs meanwhile is far less.
	t.ok(after.heapUsed - before.heapUsed < 4_000_000, `${after.heapUsed - before.heapUsed} bytes of heap for 1e6`);
	t.ok(after.arrayBuffers - before.arrayBuffers < 100_000);
	t.end();
});
