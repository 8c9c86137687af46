/** However a run ends, in whichever phase: the report says how, and nothing is left, or is noted and taken away by the next. */
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { cleanUpRuns, verify } from "../../src/verify/index.js";
import { Fake, groupPlan, PHASES, planOf, vmPlan } from "./fake.js";

const one = planOf([groupPlan("g", [vmPlan("a")])]);
/** What takes away what is there. */
const TAKING = ["off", "unregister", "drop", "lab-close"];

for (const phase of PHASES)
	t.test(`cancelled at: ${phase}`, async (t) => {
		const fake = await Fake.with(t, { a: {}, b: {} });
		fake.hook = (now, vm) => now === phase && vm !== "b" && fake.cancel.abort();
		const groups = [groupPlan("g", [vmPlan("a")]), groupPlan("h", [vmPlan("b")])];
		const limits = { parallel: 1, cpus: 4, memoryMiB: 1024, timeoutMs: 60_000 };
		const report = await verify(planOf(groups, { limits }), fake.world);
		// What had its verdict before keeps it; nothing is begun any more.
		const done = TAKING.includes(phase);
		t.match(report.vms, [
			done ? { result: "passed" } : { result: "cancelled", fault: null, summary: "the run was cancelled" },
			phase === "lab-close" ? {} : { result: "cancelled", tests: [] },
		]);
		t.equal(report.result, phase === "lab-close" && report.vms[1].result === "passed" ? "passed" : "cancelled");
		t.equal(fake.left, 0, fake.log.join(", "));
	});

for (const phase of PHASES)
	t.test(`fails at: ${phase}`, async (t) => {
		const fake = await Fake.with(t, { a: {} });
		fake.hook = (now) => {
			if (now === phase) throw new Error("no luck");
		};
		const report = await verify(one, fake.world);
		if (TAKING.includes(phase)) {
			t.match(report, { result: "passed" });
			t.match(fake.said, [/cannot be taken away yet, the next run does it: no luck/]);
			t.equal(fake.notes.left().length, 1, "noted");
		} else {
			t.match(report.vms, [{ result: "failed", fault: "infrastructure", summary: /no luck/ }]);
			t.equal(fake.left, 0, fake.log.join(", "));
		}
		fake.hook = () => undefined;
		const lines = await cleanUpRuns(fake.world, async () => fake.host);
		t.equal(lines.length > 0, TAKING.includes(phase), lines.join(", "));
		t.equal(fake.left, 0, "the next run");
		t.strictSame(await cleanUpRuns(fake.world, async () => fake.host), []);
	});

t.test("what cannot be taken away by the next run either stays noted", async (t) => {
	const fake = await Fake.with(t, { a: {} });
	fake.hook = (now) => {
		if (now === "off") throw new Error("no luck");
	};
	await verify(one, fake.world);
	t.match(await cleanUpRuns(fake.world, async () => fake.host), [/^what run [0-9a-f]{8} left could not .*: no luck/]);
	t.equal(fake.notes.left().length, 1);
});

t.test("a living run is left alone by another", async (t) => {
	const fake = await Fake.with(t, { a: {} });
	let lines: string[] = ["never asked"];
	fake.hook = async (now) => {
		if (now !== "test") return;
		t.equal(fake.sessions.size + fake.vms.size + fake.labs.size, 3);
		lines = await cleanUpRuns(fake.world, async () => fake.host);
	};
	t.equal((await verify(one, fake.world)).result, "passed");
	t.strictSame(lines, []);
});

t.test("the VM's time is over", async (t) => {
	const fake = await Fake.with(t, { a: {}, b: {} });
	const slow = vmPlan("a", { timeoutMs: 300, stabilise: { by: "address", timeoutMs: 60_000 } });
	const report = await verify(planOf([groupPlan("g", [slow, vmPlan("b")])]), fake.world);
	t.match(report, {
		result: "failed",
		vms: [
			{ result: "failed", fault: "hang", summary: /not done within/, tests: [{ result: "skipped" }] },
			{ result: "passed" },
		],
	});
	t.equal(fake.left, 0);
});

t.test("it does not boot in the time that it has for that", async (t) => {
	const fake = await Fake.with(t, { a: {} });
	const slow = vmPlan("a", { stabilise: { by: "output", match: "never said", timeoutMs: 300 } });
	const report = await verify(planOf([groupPlan("g", [slow])]), fake.world);
	t.match(report.vms, [{ result: "failed", fault: "hang", summary: /did not say \/never said\/ within/ }]);
	t.equal(report.vms[0].timeToServiceMs, null);
	t.equal(fake.left, 0);
});

t.test("the run's time is over", async (t) => {
	const fake = await Fake.with(t, { a: {}, b: {} });
	fake.hook = (now, vm) => (now === "test" && vm === "a" ? sleep(500) : undefined);
	const limits = { parallel: 1, cpus: 4, memoryMiB: 1024, timeoutMs: 300 };
	const report = await verify(planOf([groupPlan("g", [vmPlan("a"), vmPlan("b")])], { limits }), fake.world);
	t.match(report, { result: "cancelled", vms: [{ result: "cancelled" }, { result: "cancelled" }] });
	for (const { summary } of report.vms) t.match(summary, /time that the plan gives the run/);
	t.notOk(fake.did("publish", "b"));
	t.equal(fake.left, 0);
});

t.test("a guest that powers itself off", async (t) => {
	const fake = await Fake.with(t, { a: {} });
	fake.hook = (now) => {
		if (now === "on")
			setTimeout(() => {
				for (const vm of fake.vms.values()) vm.state = "off";
			}, 50);
	};
	const waits = vmPlan("a", { stabilise: { by: "address", timeoutMs: 10_000 } });
	const report = await verify(planOf([groupPlan("g", [waits])]), fake.world);
	t.match(report.vms, [{ result: "failed", fault: "hang", summary: /the VM is off/ }]);
	t.notOk(fake.did("off", "a"), "it is not pulled again");
	t.equal(fake.left, 0);
});

t.test("a host that does not answer about it is not a guest that is off", async (t) => {
	const fake = await Fake.with(t, { a: {} });
	const list = fake.host.list;
	let asked = 0;
	fake.host.list = async () => {
		asked++;
		return (await list()).map((vm) => (vm.state === "off" ? vm : { ...vm, state: "off" as const, problem: "busy" }));
	};
	const waits = vmPlan("a", { stabilise: { by: "time", waitMs: 2_500, timeoutMs: 10_000 } });
	const report = await verify(planOf([groupPlan("g", [waits])]), fake.world);
	t.equal(report.vms[0].result, "passed", report.vms[0].summary);
	t.ok(asked >= 3);
});
