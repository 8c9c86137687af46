/** Application consistency of Windows guests: said only when every VSS writer was stable before and after. */
import { mkdtempSync, rmSync } from "node:fs";
import t, { type Test } from "tap";
import { requireConsistency } from "../../src/backup/host-consistency.js";
import { atRest } from "../../src/hypervisor/qemu/freeze.js";
import { vmPlaces } from "../../src/hypervisor/qemu/layout.js";
import type { Vm } from "../../src/hypervisor/qemu/vm.js";
import { parseWriters, stillWaiting, unstable } from "../../src/hypervisor/vss-writers.js";
import { GERMAN, WindowsAgent } from "./windows-agent.js";

const guest = (t: Test) => {
	const folder = mkdtempSync("/tmp/sb-win-");
	const vm = { name: "win", id: "x", places: vmPlaces(folder) } as Vm;
	const agent = new WindowsAgent().listen(vm.places.agent);
	t.teardown(() => {
		agent.close();
		rmSync(folder, { recursive: true, force: true });
	});
	const rest = () =>
		atRest(vm, 1000, async () => {
			t.ok(agent.frozen, "the moment is while it rests");
		});
	return { agent, rest };
};

t.test("all writers stable: application, by a copy that leaves logs alone", async (t) => {
	const { agent, rest } = guest(t);
	t.match(await rest(), { consistency: "application", why: null });
	t.equal(agent.typeAtFreeze, 5, "VSS_BT_COPY");
	t.equal(agent.type, 1, "its setting is as it was");
	const programs = agent.asked.filter((one) => /^vssadmin|freeze/.test(one));
	t.strictSame(programs, [
		"vssadmin.exe list writers",
		"guest-fsfreeze-freeze",
		"guest-fsfreeze-thaw",
		"vssadmin.exe list writers",
	]);
	agent.type = 5;
	t.match(await rest(), { consistency: "application" });
	t.equal(agent.asked.filter((one) => /^reg.exe add/.test(one)).length, 2, "what is a copy already is left alone");
	agent.type = undefined;
	t.match(await rest(), { consistency: "application" });
	t.strictSame([agent.typeAtFreeze, agent.type], [5, undefined], "a value that was not there is not there again");
	agent.version = "6.2.0";
	t.match(await rest(), { consistency: "application" });
	t.equal(agent.typeAtFreeze, undefined, "an agent that does not know the setting is not given it");
});

t.test("writers that still wait for the end of the backup are waited for", async (t) => {
	const { agent, rest } = guest(t);
	agent.writersAfter = [
		{ name: "System Writer", states: [1] },
		{ name: "SqlServerWriter", states: [5, 1] },
	];
	t.match(await rest(), { consistency: "application", why: null });
});

t.test("in another language the numbers of states count", async (t) => {
	const { agent, rest } = guest(t);
	agent.language = GERMAN;
	t.match(await rest(), { consistency: "application", why: null });
	agent.writersAfter = [
		{ name: "System Writer", states: [1] },
		{ name: "SqlServerWriter", states: [8] },
	];
	t.match(await rest(), { consistency: "filesystem", why: "VSS writer SqlServerWriter is in state 8, not stable" });
});

t.test(
	"one that failed before or after, has an error, is gone, or nobody tells: no more than filesystem",
	async (t) => {
		const system = { name: "System Writer", states: [1] };
		const sql = (states: number[], error?: string) => [system, { name: "SqlServerWriter", states, error }];
		for (const [before, after, why] of [
			[sql([7]), undefined, "VSS writer SqlServerWriter is in state 7, not stable"],
			[sql([1]), sql([9], "Timed out"), "VSS writer SqlServerWriter is in state 9 (Timed out), not stable"],
			[sql([1]), sql([1], "Retryable error"), "VSS writer SqlServerWriter is in state 1 (Retryable error), not stable"],
			[sql([1]), [system], "VSS writer SqlServerWriter does not answer any more"],
			[[], undefined, "vssadmin lists no VSS writers"],
		] as const) {
			const { agent, rest } = guest(t);
			agent.writers = [...before];
			agent.writersAfter = after && [...after];
			const reached = await rest();
			t.match(reached, { consistency: "filesystem", why });
			t.throws(() => requireConsistency(reached, "application", { name: "win", state: "running" }), {
				message: `VM win: consistency application was asked for, filesystem was reached: ${why}; nothing was stored`,
			});
			t.notOk(agent.frozen);
		}
		const { agent, rest } = guest(t);
		agent.runsNothing = true;
		t.match(await rest(), {
			consistency: "filesystem",
			why: /does not tell the state of its VSS writers: .*has been disabled/,
		});
	},
);

t.test("what vssadmin prints, and what it does not", async (t) => {
	const id = "{a6ad56c2-b509-4e6c-bb19-49d8f43532f0}";
	const one = (lines: string[]) => parseWriters(lines.join("\n"));
	t.strictSame(one(["Writer name: 'WMI Writer'", id, id, "State: [1] Stable", "Last error: No error"]), [
		{ name: "WMI Writer", state: 1, error: null },
	]);
	t.strictSame(
		one([
			"Nom du r\ufffddacteur\u00a0: \u00abWMI Writer\u00bb",
			id,
			id,
			"\ufffdtat\u00a0: [11] x",
			"Derni\ufffdre : y",
		]),
		[{ name: "WMI Writer", state: 11, error: null }],
	);
	t.strictSame(one(["Writer name: 'X'", id, id]), [{ name: "X", state: null, error: null }]);
	t.match(unstable(one(["Writer name: 'X'", id, id])), /X is in state unknown/);
	t.strictSame(one(["Waiting for responses.", id, "State: [1] Stable"]), [], "no writer");
	t.strictSame(parseWriters("\u0000{{{[[1]]:::\n\n".repeat(1000)), []);
	t.notOk(stillWaiting([{ name: "a", state: 1, error: null }]));
	t.ok(stillWaiting([{ name: "a", state: 5, error: null }]));
	t.notOk(
		stillWaiting([
			{ name: "a", state: 5, error: null },
			{ name: "b", state: 7, error: null },
		]),
	);
});
