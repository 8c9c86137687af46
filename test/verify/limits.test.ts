/** Processors, memory and places: never more than the plan allows, whatever the order of things; and what is too much. */
import t from "tap";
import { Budget, type Need } from "../../src/verify/budget.js";
import { verify } from "../../src/verify/index.js";
import { Dice } from "../repository/helpers.js";
import { Fake, groupPlan, pause, planOf, vmPlan } from "./fake.js";

const SEEDS = 12;

for (let seed = 0; seed < SEEDS; seed++)
	t.test(`seed ${seed}`, async (t) => {
		const dice = new Dice(seed + 1);
		const below = (limit: number) => dice.below(limit);
		const names = Array.from({ length: 7 }, (_, n) => `vm${n}`);
		const facts = Object.fromEntries(names.map((name) => [name, { memoryMiB: 16 + below(100), cpus: 1 + below(3) }]));
		const fake = await Fake.with(t, facts);
		const limits = { parallel: 1 + below(3), cpus: 4 + below(4), memoryMiB: 200 + below(150), timeoutMs: 60_000 };
		// One group with an order, whose VMs are on together, and others that stand alone.
		const ordered = names.slice(0, 2 + below(2));
		const groups = [
			groupPlan(
				"ordered",
				ordered.map((name, n) => vmPlan(name, { after: n === 0 ? [] : [ordered[below(n)]] })),
			),
			groupPlan(
				"g",
				names.slice(ordered.length, 5).map((name) => vmPlan(name)),
			),
			...names.slice(5).map((name) => groupPlan(name, [vmPlan(name)])),
		].filter(({ vms }) => vms.length > 0);
		const busy = new Set<string>();
		const most: Need = { places: 0, cpus: 0, memoryMiB: 0 };
		fake.looked = () => {
			const sum = (of: "cpus" | "memoryMiB") => fake.on.reduce((all, { config }) => all + config[of], 0);
			most.memoryMiB = Math.max(most.memoryMiB, sum("memoryMiB"));
			// Who is alone may have more processors than all: they are merely shared.
			const groups = new Set(fake.on.map(({ name }) => (ordered.some((vm) => name.startsWith(vm)) ? "ordered" : name)));
			if (groups.size > 1) most.cpus = Math.max(most.cpus, sum("cpus"));
		};
		fake.passes = () => below(5) > 0;
		fake.hook = async (phase, vm) => {
			if (phase === "publish") busy.add(vm);
			most.places = Math.max(most.places, busy.size);
			await pause(below(4));
			if (phase === "test") busy.delete(vm);
		};
		const report = await verify(planOf(groups, { limits }), fake.world);
		t.equal(report.vms.length, names.length);
		const fits = ordered.reduce((sum, name) => sum + facts[name].memoryMiB, 0) <= limits.memoryMiB;
		for (const { vm, result, summary } of report.vms)
			if (fits || !ordered.includes(vm)) t.match(result, /^(passed|failed)$/, `${vm}: ${summary}`);
			else t.match(summary, /MiB of memory at once, the limit is/);
		t.ok(most.places <= limits.parallel, `places: ${most.places} of ${limits.parallel}`);
		t.ok(most.cpus <= limits.cpus, `cpus: ${most.cpus} of ${limits.cpus}`);
		t.ok(most.memoryMiB <= limits.memoryMiB, `memory: ${most.memoryMiB} of ${limits.memoryMiB}`);
		t.equal(fake.left, 0);
	});

t.test("waits overlap", async (t) => {
	const names = ["a", "b", "c", "d"];
	const fake = await Fake.with(t, Object.fromEntries(names.map((name) => [name, {}])));
	let on = 0;
	fake.looked = () => {
		on = Math.max(on, fake.on.length);
	};
	fake.hook = (phase) => (phase === "test" ? pause(30) : undefined);
	await verify(planOf(names.map((name) => groupPlan(name, [vmPlan(name)]))), fake.world);
	t.equal(on, 4);
});

t.test("more memory than all", async (t) => {
	const fake = await Fake.with(t, { big: { memoryMiB: 9000 }, small: {} });
	const report = await verify(planOf([groupPlan("g", [vmPlan("big"), vmPlan("small")])]), fake.world);
	t.match(report.vms, [
		{
			result: "failed",
			fault: "infrastructure",
			summary: /needs 9000 MiB of memory at once, the limit is 4096: raise/,
		},
		{ result: "passed" },
	]);
	t.notOk(fake.did("publish", "big"));
	const less = await verify(planOf([groupPlan("g", [vmPlan("big", { memoryMiB: 128, cpus: 2 })])]), fake.world);
	t.equal(less.result, "passed");
	t.equal(fake.left, 0);
});

t.test("a budget", async (t) => {
	const never = new AbortController().signal;
	const budget = new Budget({ places: 2, cpus: 2, memoryMiB: 100 });
	const all = { places: 1, cpus: 8, memoryMiB: 10 };
	const alone = await budget.take(all, never);
	const order: string[] = [];
	const second = budget.take({ places: 1, cpus: 1, memoryMiB: 90 }, never).then((give) => {
		order.push("second");
		return give;
	});
	const stop = new AbortController();
	const third = budget.take({ places: 1, cpus: 1, memoryMiB: 10 }, stop.signal);
	await pause(1);
	t.strictSame(order, [], "nobody beside one that has more processors than all");
	stop.abort(new Error("enough"));
	await t.rejects(third, { message: "enough" });
	alone();
	alone();
	const give = await second;
	let got = false;
	const fourth = budget.take({ places: 1, cpus: 1, memoryMiB: 11 }, never).then((it) => {
		got = true;
		return it;
	});
	const small = await budget.take({ places: 1, cpus: 1, memoryMiB: 10 }, never);
	t.notOk(got, "a small one goes first while a big one does not fit");
	give();
	(await fourth)();
	small();
	await t.rejects(budget.take(all, stop.signal), { message: "enough" });
});
