/** When a batch waits for those who were just answered, by a clock that the test moves. */
import t from "tap";
import { Company } from "../../src/overlay/company.js";

const scene = (syncMilliseconds: number) => {
	const clock = { now: 1000 };
	const company = new Company(() => clock.now);
	for (let i = 0; i < 100; i++) company.synced(syncMilliseconds);
	return { clock, company };
};

/** The wait is over: time has passed, and one more turn of the event loop has brought nobody. */
const givesUp = (company: Company, waiting: number): boolean => company.comes(waiting) && !company.comes(waiting);

t.test("until all are back, or a quarter of a sync has passed", async (t) => {
	const { clock, company } = scene(8);
	company.answered(16, 10);
	t.equal(company.comes(10), true);
	t.equal(company.comes(25), true);
	t.equal(company.comes(26), false, "all are back");
	company.answered(16, 10);
	clock.now += 1.9;
	t.equal(company.comes(10), true);
	clock.now += 0.2;
	t.ok(givesUp(company, 10));
});

t.test("while callers keep coming, up to half of a sync", async (t) => {
	const { clock, company } = scene(4);
	company.answered(16, 10);
	let came = 10;
	let waited = 0;
	for (; company.comes(came) && waited < 10; waited += 0.25) {
		clock.now += 0.25;
		if (came < 25) came++;
	}
	t.ok(waited > 1 && waited <= 2.5, `waited ${waited} ms`);
	company.answered(16, 10);
	t.equal(company.comes(10), true, "that was not in vain");
});

t.test("those who came while the event loop was busy are seen", async (t) => {
	const { clock, company } = scene(8);
	company.answered(16, 10);
	clock.now += 50;
	t.equal(company.comes(10), true, "sockets have not been looked at since");
	t.equal(company.comes(26), false);
	company.answered(16, 10);
	t.equal(company.comes(10), true, "that was not in vain");
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
	t.ok(givesUp(slow.company, 16));
});

t.test("who waited in vain waits less and less often, until somebody comes", async (t) => {
	const { clock, company } = scene(8);
	/** batches without a wait before the next one that waits; in that one, nobody comes */
	const pause = (): number => {
		for (let without = 0; ; without++) {
			company.answered(30, 2);
			if (!company.comes(2)) continue;
			clock.now += 5;
			t.ok(givesUp(company, 2));
			return without;
		}
	};
	t.same([pause(), pause(), pause(), pause(), pause(), pause(), pause()], [0, 1, 2, 4, 8, 16, 16]);
	for (let i = 0; i < 16; i++) company.answered(30, 2);
	company.answered(30, 2);
	t.equal(company.comes(32), false, "all came");
	t.same([pause(), pause()], [0, 1]);
});

t.test("nobody is expected long after", async (t) => {
	const { clock, company } = scene(8);
	company.answered(32, 0);
	clock.now += 1000;
	t.ok(givesUp(company, 1));
});
