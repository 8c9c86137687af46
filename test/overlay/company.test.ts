/** When a batch waits for those who were just answered, by a clock that the test moves. */
import t from "tap";
import { Company } from "../../src/overlay/company.js";

const scene = (syncMilliseconds: number) => {
	const clock = { now: 1000 };
	const company = new Company(() => clock.now);
	for (let i = 0; i < 100; i++) company.synced(syncMilliseconds);
	return { clock, company };
};

t.test("until all are back, or a quarter of a sync has passed", async (t) => {
	const { clock, company } = scene(8);
	company.answered(16, 10);
	t.equal(company.comes(10), true);
	t.equal(company.comes(25), true);
	t.equal(company.comes(26), false, "all are back");
	company.answered(16, 10);
	clock.now += 1.9;
	t.equal(company.comes(20), true);
	clock.now += 0.2;
	t.equal(company.comes(20), false);
	company.answered(16, 16);
	t.equal(company.comes(16), true, "enough were back, so the next one waits, too");
});

t.test("a single caller never waits", async (t) => {
	const { company } = scene(8);
	for (let i = 0; i < 5; i++) {
		company.answered(1, 0);
		t.equal(company.comes(1), false);
	}
});

t.test("a fast disk is not waited for, and a very slow one not for long", async (t) => {
	const fast = scene(0.3);
	fast.company.answered(16, 16);
	t.equal(fast.company.comes(16), false);
	const slow = scene(1000);
	slow.company.answered(16, 16);
	t.equal(slow.company.comes(16), true);
	slow.clock.now += 4.1;
	t.equal(slow.company.comes(16), false);
});

t.test("who waited in vain does not soon do it again", async (t) => {
	const { clock, company } = scene(8);
	company.answered(30, 2);
	t.equal(company.comes(2), true);
	clock.now += 3;
	t.equal(company.comes(2), false);
	let without = 0;
	for (; without < 100; without++) {
		company.answered(30, 2);
		if (company.comes(2)) break;
	}
	t.equal(without, 16);
});

t.test("nobody is expected long after", async (t) => {
	const { clock, company } = scene(8);
	company.answered(32, 0);
	clock.now += 1000;
	t.equal(company.comes(1), false);
});
