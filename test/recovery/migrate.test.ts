/** The way home: storage moves while the guest writes; what stops it does no harm; then the session is freed. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { enterNamespace } from "../../scripts/lab/namespace.js";
import { MAIN, must } from "../e2e/workspace.js";
import { MIB, type Migrated, RecoveryLab, UUID } from "./lab.js";

await enterNamespace(import.meta.url);

const lab = new RecoveryLab();
t.teardown(() => lab.close());
t.setTimeout(300_000);
const storage = lab.path("storage");
const migrate = ["migrate", "s", "--to", storage];

t.before(async () => {
	await lab.prepare(48, [8]);
	await lab.recover("--session", "s");
	await lab.works("web", 1);
});

const unharmed = async () => {
	await lab.works("web", 1);
	if ((await lab.stateOf(UUID)) !== "running") throw new Error("the guest does not run");
	if (readdirSync(storage).length > 0) throw new Error(`left: ${readdirSync(storage).join(", ")}`);
};

t.test("the target is not there, or becomes full: a clear word, and the guest goes on", async (t) => {
	const nowhere = await lab.cli(["migrate", "s", "--to", lab.path("nowhere")]);
	t.match([nowhere.code, nowhere.stderr], [1, /no such folder/]);
	const full = lab.path("full");
	mkdirSync(full);
	await must("mount", ["-t", "tmpfs", "-o", "size=8m", "tmpfs", full]);
	const run = await lab.cli(["migrate", "s", "--to", full]);
	t.match([run.code, run.stderr], [1, /disk0 of VM web was not moved to .*No space left.*goes on where it was/]);
	t.strictSame(readdirSync(full), []);
	await must("umount", [full]);
	await unharmed();
});

t.test("Ctrl-C, and kill -9 of the command, in the middle of the copy", async () => {
	for (const signal of ["SIGINT", "SIGKILL"] as const) {
		const child = spawn("env", ["-u", "NODE_OPTIONS", process.execPath, MAIN, ...migrate, "--limit", "4m"], {
			...{ env: lab.env(), stdio: "ignore" },
		});
		while (readdirSync(storage).length === 0) await sleep(20);
		await sleep(300);
		child.kill(signal);
		const [code] = await once(child, "exit");
		if (signal === "SIGINT") {
			t.equal(code, 130);
			await unharmed();
		}
	}
	await lab.works("web", 1);
});

t.test("killed while the guest is paused for the change-over: the next run lets it go on", async (t) => {
	const rules = [{ op: "rename", path: "move.json", skip: 1, kill: true }];
	t.equal((await lab.cli(migrate, { SPRINGBACK_FAULTS: JSON.stringify(rules) })).code, null);
	t.equal(await lab.stateOf(UUID), "paused");
	const refused = await lab.cli(["finish", "s", "--keep"]);
	t.match([refused.code, refused.stderr], [1, /web on lab is running: power it off first/], "it runs again already");
	await unharmed();
});

t.test("moved while it writes and the mount process dies; proven; freed; on without us", async (t) => {
	const moving = lab.cli([...migrate, "--limit", "24m", "--json"]);
	while (readdirSync(storage).length === 0) await sleep(20);
	await sleep(500);
	await lab.killMountd("s");
	const run = await moving;
	t.equal(run.code, 0, run.stderr);
	const report = JSON.parse(run.stdout) as Migrated;
	t.match(report, { verified: true, to: storage, disks: [{ disk: "disk0" }, { disk: "disk1" }] });
	t.ok(report.disks.every(({ different, compared }) => different === 0 && compared >= 8 * MIB));
	t.comment(`paused for ${report.disks.map(({ pausedMs }) => pausedMs).join(" and ")} ms`);
	t.match(await lab.json(migrate), { verified: true }, "again: done already");
	t.match(await lab.sessions(), [{ recovery: { migratedTo: storage } }]);
	const { session, outcome, moved } = await lab.json<{ session: string; outcome: string; moved: boolean }>([
		"finish",
		"s",
	]);
	t.strictSame([session, outcome, moved], ["s", "removed", true]);
	t.strictSame(await lab.sessions(), [], "nothing in the trash either");
	t.equal((await lab.host.list()).find(({ id }) => id === UUID)?.session, null, "the VM is no session's");
	t.strictSame(readdirSync(lab.path("state/sessions")), []);
	for (let waited = 0; existsSync(lab.path("state/mountd-127.0.0.1.sock")); waited++) {
		if (waited > 100) t.fail("the server does not end");
		await sleep(100);
	}
	await lab.works("web", 2);
	await lab.host.power(UUID, "off");
	const count = await lab.count(lab.path("storage/web-disk0.qcow2"), "qcow2");
	t.ok(count > 0, `${count} counts, whole and in order`);
	const same = await must("qemu-img", [
		"compare",
		"-F",
		"raw",
		lab.path("storage/web-disk1.qcow2"),
		lab.path("more0.raw"),
	]);
	t.match(same, /identical/);
	await lab.host.power(UUID, "on");
	await lab.works("web", 1);
});

t.test("killed right behind the change-over: not proven, so it goes to the trash", async (t) => {
	await lab.recover("--session", "t", "--isolated", "--name", "two");
	await lab.works("two", 1);
	const rules = [{ op: "rename", path: "two/vm.json", kill: true }];
	const args = ["migrate", "t", "--to", storage, "--json"];
	t.equal((await lab.cli(args, { SPRINGBACK_FAULTS: JSON.stringify(rules) })).code, null);
	t.equal((await lab.host.list()).find(({ name }) => name === "two")?.state, "paused");
	const run = await lab.cli(args);
	if (run.stdout === "") throw new Error(`migrate again: exit ${run.code}: ${run.stderr}`);
	const report = JSON.parse(run.stdout) as Migrated;
	await lab.works("two", 1);
	const [first] = report.disks;
	// Nothing differs when the guest has not written between going on and the comparison.
	t.equal(run.code, first.verified ? 0 : 4, run.stderr);
	t.ok(first.verified || first.different > 0);
	t.match(await lab.json(["finish", "t"]), { outcome: first.verified ? "removed" : "trash", moved: true });
	await lab.works("two", 1);
});
