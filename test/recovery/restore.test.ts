/** Whole VMs and single disks onto a host's storage; what is in the way; what a run that dies leaves. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { enterNamespace } from "../../scripts/lab/namespace.js";
import { MAIN, must } from "../e2e/workspace.js";
import { RecoveryLab, UUID } from "./lab.js";

await enterNamespace(import.meta.url);

const lab = new RecoveryLab();
t.teardown(() => lab.close());
t.setTimeout(240_000);
const storage = lab.path("storage");
const restore = ["restore", "web", "--host", "lab", "--to", storage, "--original-gone"];
const disk0 = `${storage}/web-disk0.raw`;

t.before(() => lab.prepare(24, [2]));

t.test("arguments, and a dry run", async (t) => {
	for (const [args, code, words] of [
		[["restore", "web", "--to", storage], 2, /--host is missing/],
		[["restore", "web", "--host", "lab"], 2, /--to is missing/],
		[["restore", "web", "--host", "lab", "--to", lab.path("nowhere")], 2, /name an existing folder/],
		[[...restore.slice(0, 6), "--disk", "1"], 2, /--disk N and --attach VM belong together/],
		[[...restore, "--disk", "1", "--attach", "web"], 2, /--original-gone is for a whole VM/],
		[[...restore.slice(0, 6), "--disk", "1", "--attach", "web"], 1, /no VM web/],
	] as const) {
		const run = await lab.cli([...args]);
		t.match([run.code, run.stderr], [code, words], args.join(" "));
	}
	t.match(await lab.json([...restore, "--dry-run"]), { dryRun: true, refused: false, name: "web", identity: "kept" });
	t.strictSame(readdirSync(storage), []);
});

t.test(
	"killed, and interrupted, while disks are written: nothing is registered, and the next run begins anew",
	async (t) => {
		for (const rules of [
			[{ op: "pwrite", path: "web-disk1", kill: true }],
			[{ op: "link", path: "vm.json", kill: true }],
		]) {
			const run = await lab.cli(restore, { SPRINGBACK_FAULTS: JSON.stringify(rules) });
			t.equal(run.code, null);
			t.strictSame(await lab.host.list(), []);
		}
		t.ok(existsSync(disk0), "in place already");
		const slow = JSON.stringify([{ op: "pwrite", path: ".springback-restore-web", delayMs: 200, count: -1 }]);
		const child = spawn("env", ["-u", "NODE_OPTIONS", process.execPath, MAIN, ...restore], {
			env: { ...lab.env(), SPRINGBACK_FAULTS: slow },
			stdio: "ignore",
		});
		while (readdirSync(storage).length === 0 || existsSync(disk0)) await sleep(5);
		const beside = await lab.cli(restore);
		t.match([beside.code, beside.stderr], [1, /another restore of web to .* runs/]);
		child.kill("SIGINT");
		t.strictSame(await once(child, "exit"), [130, null]);
		t.strictSame(readdirSync(storage), [], "nothing is left");
	},
);

t.test("a whole VM, as it was, boots; overwriting must be allowed, and the VM off", async (t) => {
	const done = await lab.json<{ id: string; disks: { path: string }[] }>([...restore, "--network", "lan=user"]);
	t.match(done, { id: UUID, disks: [{ path: disk0 }, { path: `${storage}/web-disk1.raw` }] });
	t.strictSame(readdirSync(storage).sort(), ["web-disk0.raw", "web-disk1.raw"]);
	t.match(await must("cmp", [disk0, lab.path("web.raw")]), "");
	t.match(await lab.host.list(), [{ id: UUID, name: "web", state: "off", session: null }]);
	const { config } = await lab.host.readConfig("web");
	t.match(config, { memoryMiB: 64, cpus: 1, nics: [{ mac: "52:54:00:aa:bb:cc", network: "user", connected: true }] });
	const again = await lab.cli(restore);
	t.match([again.code, again.stderr], [1, /name: web is taken on lab \(a VM that is off\)/]);
	await lab.host.power("web", "on");
	await lab.works("web", 1);
	const running = await lab.cli([...restore, "--overwrite"]);
	t.match(
		[running.code, running.stderr],
		[1, /web on lab has the same UUID and is running.*overwrite: VM web is running: power it off/],
	);
	await lab.host.power("web", "off");
	t.ok(readFileSync(disk0).readUInt32LE(512) > 0, "it has written");
	const other = await lab.cli([...restore, "--isolated", "--name", "web2", "--to", storage]);
	t.equal(other.code, 0, other.stderr);
	t.match(await lab.json([...restore, "--overwrite"]), { id: UUID, name: "web" });
	t.equal(readFileSync(disk0).readUInt32LE(512), 0, "as in the restore point");
	t.strictSame((await lab.host.list()).map(({ name }) => name).sort(), ["web", "web2"]);
});

t.test("overwriting that dies or fails: the old VM is there, or the new one", async (t) => {
	const failing = [{ op: "link", path: "vm.json", error: "EIO" }];
	const failed = await lab.cli([...restore, "--overwrite"], { SPRINGBACK_FAULTS: JSON.stringify(failing) });
	t.equal(failed.code, 1, failed.stderr);
	t.match(
		(await lab.host.list()).find(({ name }) => name === "web"),
		{ id: UUID },
	);
	const killed = [{ op: "link", path: "vm.json", kill: true }];
	t.equal((await lab.cli([...restore, "--overwrite"], { SPRINGBACK_FAULTS: JSON.stringify(killed) })).code, null);
	t.match(await lab.json([...restore, "--overwrite"]), { id: UUID, name: "web" });
	t.strictSame((await lab.host.list()).map(({ name }) => name).sort(), ["web", "web2"]);
});

t.test("--replace that dies: the next run puts the original back, or has nothing to put back", async (t) => {
	await lab.json([...restore.slice(0, 6), "--original-gone", "--overwrite"]);
	const replacing = [...restore.slice(0, 6), "--replace", "--name", "web-new"];
	for (const rules of [
		// Set aside, and the new one not there yet.
		[{ op: "link", path: "vm.json", kill: true }],
		// Powered off, and not set aside yet.
		[{ op: "rename", path: "vm.json", kill: true }],
	]) {
		await lab.host.power(UUID, "on");
		t.equal((await lab.cli(replacing, { SPRINGBACK_FAULTS: JSON.stringify(rules) })).code, null, "killed");
		t.not(await lab.stateOf(UUID), "running");
		const again = await lab.cli([...replacing.slice(0, 6), "--name", "web-new"]);
		t.match(
			[again.code, again.stderr],
			[1, /by a run that died: web on lab is put back[\s\S]*web on lab .* is running/],
		);
		t.match(
			(await lab.host.list()).filter(({ name }) => name !== "web2"),
			[{ id: UUID, name: "web", state: "running" }],
		);
		await lab.works("web", 1);
		await lab.host.power(UUID, "off");
	}
	const done = await lab.json([...replacing]);
	t.match(done, { id: UUID, name: "web-new" });
	const names = (await lab.host.list()).map(({ name }) => name).sort();
	t.match(names, [/^web-new$/, /^web-replaced-/, /^web2$/]);
	t.match(await lab.json([...restore.slice(0, 6), "--original-gone", "--name", "web-new", "--overwrite"]), {
		id: UUID,
	});
	t.match((await lab.host.list()).map(({ name }) => name).sort(), names, "one that ended is left as it is");
});

t.test("a single disk into a VM", async (t) => {
	const one = ["restore", "web", "--host", "lab", "--to", lab.path("more"), "--disk", "disk1", "--attach", "web2"];
	await must("mkdir", [lab.path("more")]);
	const has = await lab.cli(one);
	t.match([has.code, has.stderr], [1, /VM web2 has a disk disk1 already: --overwrite/]);
	await lab.host.power("web2", "on");
	t.match((await lab.cli([...one, "--overwrite"])).stderr, /web2 is running: power it off first/);
	await lab.host.power("web2", "off");
	const path = lab.path("more/web2-disk1.raw");
	t.match(await lab.json([...one, "--overwrite"]), {
		attached: "web2",
		disk: { disk: "disk1", path },
		before: `${storage}/web2-disk1.raw`,
	});
	await must("cmp", [path, lab.path("more0.raw")]);
	t.strictSame(readdirSync(lab.path("more")), ["web2-disk1.raw"]);
	t.match((await lab.host.readConfig("web2")).config.disks, [{ name: "disk0" }, { name: "disk1", path }]);
	await lab.host.power("web2", "on");
	await lab.works("web2", 1);
});
