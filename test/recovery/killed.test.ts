/**
 * `recover` is killed at each of its notes: before one is made (what was done last is not noted yet) and behind it (what is
 * noted is not done yet). The next run continues, or `finish` undoes. And what fails by itself is undone at once.
 */
import { existsSync, readdirSync } from "node:fs";
import t, { type Test } from "tap";
import { enterNamespace } from "../../scripts/lab/namespace.js";
import { RecoveryLab, UUID } from "./lab.js";

await enterNamespace(import.meta.url);

const lab = new RecoveryLab();
t.teardown(() => lab.close());
t.setTimeout(300_000);

/** Notes of a recovery: publishing, replacing, registering, starting, ready. */
const NOTES = 5;
const recover = [
	"recover",
	"web",
	"--host",
	"lab",
	"--original-gone",
	"--session",
	"s",
	"--wait",
	"100ms",
	"--protect",
	"off",
];

const nothingLeft = async (t: Test, what: string) => {
	t.strictSame(await lab.host.list(), [], `${what}: no VM`);
	t.strictSame(readdirSync(lab.path("vms")), [], `${what}: no file on the host`);
	const left = (await lab.sessions()).filter(({ state }) => state !== "trash");
	t.strictSame(left, [], `${what}: no session`);
	const notes = readdirSync(lab.path("state/recoveries")).filter((name) => !name.endsWith(".lock"));
	t.strictSame(notes, [], `${what}: no note`);
};

t.before(() => lab.prepare(9));

for (const [op, where] of [
	["rename", "before"],
	["fsyncDirectory", "behind"],
] as const)
	for (let note = 0; note < NOTES; note++)
		t.test(`killed ${where} note ${note + 1}`, async (t) => {
			const rules = [{ op, path: "recoveries", skip: note, kill: true }];
			const run = await lab.cli(recover, { SPRINGBACK_FAULTS: JSON.stringify(rules) });
			t.equal(run.code, null, "killed");
			const starts = note >= 3;
			if ((note + (op === "rename" ? 0 : 1)) % 2 === 0) {
				const again = await lab.cli([...recover, "--json"]);
				t.equal(again.code, 4, again.stderr);
				if (starts) await lab.works("web", 1);
				await lab.host.power(UUID, "off");
				t.equal((await lab.cli(["finish", "s", "--discard", "--confirm", "s"])).code, 0);
			} else {
				const all = note === NOTES - 1 && where === "behind";
				// Once all was done and noted, nothing is undone without a word.
				if (all) await lab.host.power(UUID, "off");
				const args = all ? ["--discard", "--confirm", "s"] : [];
				const finish = await lab.cli(["finish", "s", ...args]);
				// Killed before its first note: there is nothing that `finish` could know of.
				t.match(finish.code, note === 0 && where === "before" ? 1 : 0, finish.stderr);
			}
			await nothingLeft(t, "afterwards");
		});

t.test("killed in the middle of registering: whole or not at all", async (t) => {
	const rules = [{ op: "link", path: "vm.json", kill: true }];
	t.equal((await lab.cli(recover, { SPRINGBACK_FAULTS: JSON.stringify(rules) })).code, null);
	t.strictSame(await lab.host.list(), []);
	t.equal((await lab.cli(["finish", "s"])).code, 0);
	await nothingLeft(t, "undone");
	t.equal((await lab.cli(recover, { SPRINGBACK_FAULTS: JSON.stringify(rules) })).code, null);
	t.match(await lab.json([...recover, "--power-off"]), { session: "s", continued: true, name: "web" });
	await lab.host.power(UUID, "off");
	await lab.json(["finish", "s", "--discard", "--confirm", "s"]);
	await nothingLeft(t, "finished");
});

t.test("a step that fails is undone", async (t) => {
	const run = await lab.cli([...recover, "--network", "lan=bridge:nosuch"]);
	t.match([run.code, run.stderr], [1, /undoing: web: QEMU does not start/]);
	await nothingLeft(t, "power-on failed");
	const taken = [{ op: "link", path: "vm.json", error: "EIO" }];
	const failed = await lab.cli(recover, { SPRINGBACK_FAULTS: JSON.stringify(taken) });
	t.match([failed.code, failed.stderr], [1, /undoing/]);
	t.notOk(existsSync(lab.path("vms/web/vm.json")));
	const kept = await lab.json<{ session: string }>(["publish", "web", "--session", "s", "--detach"]);
	t.equal(kept.session, "s");
	t.equal((await lab.cli([...recover, "--network", "lan=bridge:nosuch"])).code, 1);
	t.match(await lab.sessions(), [{ session: "s", state: "open" }], "a session that was there stays as it was");
	t.equal((await lab.cli(["finish", "s"])).code, 0);
});
