/** The policy alone: which points stay, and why; what raises doubts. */
import t from "tap";
import { planRetention, type RetentionPoint, type RetentionPolicy } from "../../src/repository/retention.js";

// Berlin has a change of the clocks in the middle of the days below.
process.env.TZ = "Europe/Berlin";

const at = (text: string) => new Date(text).getTime();
const NOW = at("2026-11-21T12:00:00");
const nobody = () => undefined;

const points = (vm: string, ...times: string[]): RetentionPoint[] =>
	times.map((time, n) => ({ id: `${vm}${n}`, vm, taken: at(time), sequence: n + 1 }));

/** "id: reasons" of those that stay, oldest first */
const kept = (
	all: RetentionPoint[],
	policy: RetentionPolicy,
	held: (p: RetentionPoint) => string | undefined = nobody,
) =>
	planRetention(all, policy, held, NOW).flatMap(({ decisions }) =>
		decisions.filter(({ keep }) => keep).map(({ point, reasons }) => `${point.id}: ${reasons.join(", ")}`),
	);

t.test("each rule counts back from the newest point", async (t) => {
	const all = points(
		"a",
		"2023-12-31T23:00:00",
		"2025-06-01T10:00:00",
		"2026-10-30T10:00:00",
		"2026-11-08T23:59:59",
		"2026-11-09T00:00:00",
		"2026-11-14T09:00:00",
		"2026-11-14T09:30:00",
		"2026-11-14T10:00:00",
	);
	t.same(kept(all, { last: 2 }), ["a6: last 2", "a7: last 1"]);
	t.same(kept(all, { hourly: 2 }), ["a6: hourly 2", "a7: hourly 1"]);
	t.same(kept(all, { daily: 3 }), ["a3: daily 3", "a4: daily 2", "a7: daily 1"]);
	t.same(kept(all, { weekly: 2 }), ["a3: weekly 2", "a7: weekly 1"], "a week begins on Monday");
	t.same(kept(all, { monthly: 3 }), ["a1: monthly 3", "a2: monthly 2", "a7: monthly 1"]);
	t.same(kept(all, { yearly: 9 }), ["a0: yearly 3", "a1: yearly 2", "a7: yearly 1"]);
	t.same(kept(all, { within: { years: 0, months: 0, hours: 1 } }), ["a5: within", "a6: within", "a7: within"]);
	t.same(kept(all, { within: { years: 0, months: 0, hours: 24 * 5 + 10 } }).length, 4);
	t.same(kept(all, { daily: 1, last: 1 }), ["a7: last 1, daily 1"]);
	t.same(kept(all, {}), ["a7: the only one left"], "never the last one");
});

t.test("months are calendar months, also at their ends", async (t) => {
	const all = points("a", "2026-02-28T11:59:59", "2026-02-28T12:00:00", "2026-03-31T12:00:00");
	t.same(kept(all, { within: { years: 0, months: 1, hours: 0 } }), ["a1: within", "a2: within"]);
	const leap = points("a", "2023-02-27T00:00:00", "2023-02-28T12:00:00", "2024-02-29T12:00:00");
	t.same(kept(leap, { within: { years: 1, months: 0, hours: 0 } }), ["a1: within", "a2: within"]);
});

t.test("the hour that comes twice is two hours", async (t) => {
	const all = points("a", "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z");
	t.same(kept(all, { hourly: 5 }), ["a0: hourly 2", "a1: hourly 1"]);
	t.same(kept(all, { daily: 5 }), ["a1: daily 1"]);
});

t.test("held points stay and count like any other", async (t) => {
	const all = points("a", "2026-11-01T00:00:00", "2026-11-02T00:00:00", "2026-11-03T00:00:00");
	const held = ({ id }: RetentionPoint) => (id === "a0" ? "held: audit" : undefined);
	t.same(kept(all, { last: 1 }, held), ["a0: held: audit", "a2: last 1"]);
	t.same(kept(all, {}, held), ["a0: held: audit"], "the VM has a point left");
});

t.test("VMs do not count for each other, and one long gone loses nothing more", async (t) => {
	const all = [
		...points("b", "2026-11-20T00:00:00", "2026-11-21T00:00:00"),
		...points("old", "2001-01-01T00:00:00", "2001-01-02T00:00:00", "2001-01-03T00:00:00"),
	];
	t.same(kept(all, { daily: 3 }).length, 5);
	t.same(kept(all, { within: { years: 0, months: 0, hours: 24 } }), [
		"b0: within",
		"b1: within",
		"old1: within",
		"old2: within",
	]);
});

t.test("doubts: the future, a clock that jumped, more than half", async (t) => {
	const doubts = (all: RetentionPoint[], policy: RetentionPolicy) =>
		planRetention(all, policy, nobody, NOW).flatMap((plan) => plan.doubts);
	const days = points("a", "2026-11-17T00:00:00", "2026-11-18T00:00:00", "2026-11-19T00:00:00", "2026-11-20T00:00:00");
	t.same(doubts(days, { last: 2 }), [], "half may go");
	t.same(doubts(days, { last: 1 }), ["3 of its 4 points would go, more than half"]);
	t.same(doubts(days, { last: 4 }), []);
	const future = points("a", "2026-11-17T00:00:00", "2026-11-20T00:00:00", "2036-11-20T00:00:00");
	t.match(doubts(future, { last: 2 }), ["its newest point (a2) lies in the future: the clock was or is wrong"]);
	t.same(doubts(future, { last: 3 }), [], "where nothing goes nothing is asked");
	const jumped = points("a", "2026-11-17T00:00:00", "2026-11-20T00:00:00", "2026-11-18T00:00:00");
	t.match(doubts(jumped, { last: 2 }), [/^point a2 was made after a1 and bears an earlier time/]);
	const together = points("a", "2026-11-17T00:00:00", "2026-11-20T00:00:00", "2026-11-18T00:00:00");
	for (const point of together) point.sequence = 1;
	t.same(doubts(together, { last: 2 }), [], "backups side by side have no order");
});

t.test("a hundred random histories: what stays is what a plain count says", async (t) => {
	let state = 42;
	const below = (limit: number) => {
		state = (Math.imul(state, 1103515245) + 12345) >>> 0;
		return Math.floor((state / 2 ** 32) * limit);
	};
	for (let round = 0; round < 100; round++) {
		let time = at("2024-01-01T00:00:00Z");
		const all: RetentionPoint[] = [];
		for (let n = 0; n <= below(60); n++) {
			time += below(3) === 0 ? below(40 * 86_400_000) : below(86_400_000);
			all.push({ id: `p${n}`, vm: "vm", taken: time, sequence: n + 1 });
		}
		const policy = { last: below(4), daily: below(8), monthly: below(5) };
		const expected = new Set(all.slice(Math.max(0, all.length - policy.last)));
		for (const [count, name] of [
			[policy.daily, (d: Date) => d.toLocaleDateString("en-CA")],
			[policy.monthly, (d: Date) => d.toLocaleDateString("en-CA").slice(0, 7)],
		] as const) {
			const newest = new Map(all.map((point) => [name(new Date(point.taken)), point]));
			for (const point of [...newest.values()].slice(Math.max(0, newest.size - count))) expected.add(point);
		}
		if (expected.size === 0) expected.add(all.at(-1)!);
		const stays = planRetention(all, policy, nobody, NOW)[0].decisions.filter(({ keep }) => keep);
		t.same(
			stays.map(({ point }) => point.id),
			all.filter((point) => expected.has(point)).map(({ id }) => id),
		);
	}
});
