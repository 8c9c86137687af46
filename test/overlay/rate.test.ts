/** How fast clients write, by a clock that the test moves. */
import t from "tap";
import { Rate } from "../../src/overlay/rate.js";

t.test("the rate of the last 50 ms", async (t) => {
	const clock = { now: 0 };
	const rate = new Rate(() => clock.now);
	t.equal(rate.current, 0);
	for (; clock.now < 50; clock.now += 10) rate.add(1000);
	t.equal(rate.current, 100);
	for (; clock.now < 100; clock.now += 10) rate.add(5000);
	t.equal(rate.current, 500);
	clock.now += 60;
	t.equal(rate.current, 0, "nothing came");
	rate.add(1000);
	clock.now += 1000;
	t.equal(rate.current, 0, "and that was long ago");
});
