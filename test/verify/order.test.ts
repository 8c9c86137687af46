/** Who starts when, who is kept for whom, and what a failure means for others. */
import t from "tap";
import { verify } from "../../src/verify/index.js";
import { Fake, groupPlan, pause, planOf, vmPlan } from "./fake.js";

const resultsOf = (report: Awaited<ReturnType<typeof verify>>) =>
	Object.fromEntries(report.vms.map(({ vm, result }) => [vm, result]));

const CHAIN = [vmPlan("db"), vmPlan("app", { after: ["db"] }), vmPlan("web", { after: ["app"] })];

t.test("each waits for those before it, and keeps them until it is over", async (t) => {
	const fake = await Fake.with(t, { db: {}, app: {}, web: {} });
	let most: string[] = [];
	fake.looked = () => {
		const on = fake.on.map(({ name }) => name.replace(/-.*/, ""));
		if (on.length > most.length) most = on;
	};
	const report = await verify(planOf([groupPlan("shop", CHAIN)]), fake.world);
	t.strictSame(resultsOf(report), { db: "passed", app: "passed", web: "passed" });
	const lines = fake.log.filter((line) => /^(on|test|off) /.test(line));
	t.strictSame(lines, ["on db", "test db", "on app", "test app", "on web", "test web", "off web", "off app", "off db"]);
	t.strictSame(most, ["db", "app", "web"]);
	t.equal(fake.log.filter((line) => line.startsWith("lab ")).length, 1, "one lab for all");
	t.equal(fake.log.at(-1), "lab-close db+app+web", "which goes last");
	t.equal(fake.left, 0);
});

t.test("the plan's order of VMs does not matter, their own does", async (t) => {
	const fake = await Fake.with(t, { db: {}, app: {}, web: {} });
	const report = await verify(planOf([groupPlan("shop", [...CHAIN].reverse())]), fake.world);
	t.strictSame(resultsOf(report), { web: "passed", app: "passed", db: "passed" });
	t.strictSame(
		fake.log.filter((line) => line.startsWith("on ")),
		["on db", "on app", "on web"],
	);
});

for (const [onFailure, expected] of [
	["continue", { db: "failed", app: "passed", web: "passed", other: "passed", alone: "passed" }],
	["group", { db: "failed", app: "skipped", web: "skipped", other: "skipped", alone: "passed" }],
	["stop", { db: "failed", app: "skipped", web: "skipped", other: "skipped", alone: "skipped" }],
] as const)
	t.test(`the first fails, onFailure: ${onFailure}`, async (t) => {
		const fake = await Fake.with(t, { db: {}, app: {}, web: {}, other: {}, alone: {} });
		fake.passes = (vm) => vm !== "db";
		// Of the same group, after something that takes longer than the failure.
		fake.hook = (phase, vm) => (phase === "lab" && vm === "alone" ? pause(0) : undefined);
		const groups = [
			groupPlan("shop", [...CHAIN, vmPlan("other", { after: ["db"] })]),
			groupPlan("alone", [vmPlan("alone")]),
		];
		const limits = { parallel: 1, cpus: 8, memoryMiB: 4096, timeoutMs: 60_000 };
		const report = await verify(planOf(groups, { onFailure, limits }), fake.world);
		t.strictSame(resultsOf(report), expected);
		t.equal(report.result, "failed");
		for (const { vm, result, summary } of report.vms)
			if (result === "skipped") {
				t.match(summary, /comes after|another VM/);
				t.notOk(fake.did("on", vm));
			}
		t.equal(fake.left, 0);
	});

t.test("onFailure: group, of VMs without an order", async (t) => {
	const fake = await Fake.with(t, { a: {}, b: {}, c: {} });
	fake.passes = (vm) => vm !== "a";
	const limits = { parallel: 1, cpus: 8, memoryMiB: 4096, timeoutMs: 60_000 };
	const groups = [groupPlan("g", [vmPlan("a"), vmPlan("b")]), groupPlan("h", [vmPlan("c")])];
	const report = await verify(planOf(groups, { onFailure: "group", limits }), fake.world);
	t.strictSame(resultsOf(report), { a: "failed", b: "skipped", c: "passed" });
	t.match(report.vms[1].summary, /another VM of its group failed/);
});

t.test("a warning is no failure", async (t) => {
	const fake = await Fake.with(t, { a: {}, b: {} });
	const test = { ...vmPlan("a").tests[0], options: { quietMs: 0, expect: "never" }, timeoutMs: 50, optional: true };
	const vms = [vmPlan("a", { tests: [test] }), vmPlan("b", { after: ["a"] })];
	const report = await verify(planOf([groupPlan("g", vms)], { onFailure: "stop" }), fake.world);
	t.match(resultsOf(report), { a: "warning", b: "passed" });
	t.equal(report.result, "warning");
});

t.test("copies of one VM at the same moment: one has its id, the other another", async (t) => {
	const uuid = "aaaaaaaa-1111-4222-8333-444444444444";
	const fake = await Fake.with(t, { a: { uuid }, b: { uuid } });
	const ids: (string | null)[] = [];
	fake.looked = () => {
		if (fake.on.length === 2) ids.push(...fake.on.map(({ config }) => config.uuid));
	};
	fake.hook = (phase) => pause(phase === "test" ? 300 : phase === "register" ? 20 : 0);
	const report = await verify(planOf([groupPlan("g", [vmPlan("a")]), groupPlan("h", [vmPlan("b")])]), fake.world);
	t.strictSame(resultsOf(report), { a: "passed", b: "passed" });
	t.equal(ids.filter((id) => id === uuid).length, 1);
	await verify(planOf([groupPlan("g", [vmPlan("a")])]), fake.world);
	t.equal(fake.left, 0);
});
