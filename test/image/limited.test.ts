/** Reading no faster than agreed, on a clock of the test's own. */
import t from "tap";
import { LimitedImage, ReadLimit, type Timer, ZeroImage } from "../../src/image/index.js";

const MIB = 1 << 20;

/** Time passes only while somebody sleeps. */
class TestTimer implements Timer {
	time = 5000;
	readonly #sleepers: { at: number; wake(): void }[] = [];
	now = (): number => this.time;
	sleep(milliseconds: number): Promise<void> {
		return new Promise((wake) => this.#sleepers.push({ at: this.time + milliseconds, wake }));
	}
	async run(): Promise<void> {
		for (;;) {
			await new Promise((resolve) => setImmediate(resolve));
			this.#sleepers.sort((a, b) => a.at - b.at);
			const next = this.#sleepers.shift();
			if (!next) return;
			this.time = next.at;
			next.wake();
		}
	}
}

t.test("several images share a rate, in order", async (t) => {
	const timer = new TestTimer();
	const limit = new ReadLimit(10 * MIB, timer);
	const images = [0, 1].map(() => new LimitedImage(new ZeroImage(100 * MIB), limit));
	const ended: number[] = [];
	const reads = Array.from({ length: 20 }, async (_, n) => {
		await images[n % 2].read(0, Buffer.alloc(MIB));
		ended.push(n);
	});
	await timer.run();
	await Promise.all(reads);
	t.same(ended, [...Array(20).keys()], "first come, first served");
	t.ok(Math.abs(timer.time - 5000 - 1800) < 1, `20 MiB at 10 MiB/s, one granted at once and one owed: ${timer.time}`);
	timer.time += 60_000;
	const later = timer.time;
	const more = Promise.all(Array.from({ length: 10 }, () => images[0].read(0, Buffer.alloc(MIB))));
	await timer.run();
	await more;
	t.ok(Math.abs(timer.time - later - 800) < 1, "a pause saves up a tenth of a second, not a minute");
	t.equal(images[0].borrow(), undefined);
	t.same(images[0].extents(0, 10), [{ offset: 0, length: 10, kind: new ZeroImage(10).extents(0, 10)[0].kind }]);
	await images[0].close();
	for (const bad of [0, -1, Number.NaN]) t.throws(() => new ReadLimit(bad), RangeError);
});
