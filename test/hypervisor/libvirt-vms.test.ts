/** The driver `libvirt` where VMs are not as in the compliance suite: raw disks, damaged bitmaps, disks over NBD. */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import t from "tap";
import { enterNamespace } from "../../scripts/lab/namespace.js";
import { openHost } from "../../src/hypervisor/index.js";
import { contentOf, MIB } from "./content.js";
import { LibvirtLab } from "./libvirt-lab.js";

await enterNamespace(import.meta.url);
const lab = await LibvirtLab.start();
t.teardown(() => lab.close());
const uuid = (n: number): string => `00000000-0000-0000-0000-00000000000${n}`;
const fill = (device: string, letter: string, at: number) =>
	lab.shell(
		"one",
		`head -c 1048576 /dev/zero | tr '\\000' ${letter} | dd of=${device} bs=1M seek=${at} conv=notrunc,fsync 2>/dev/null`,
	);

t.before(async () => {
	lab.tiny(
		"one",
		uuid(1),
		[
			{ target: "vda", format: "qcow2", file: lab.image("a.qcow2", "qcow2", 16 * MIB) },
			{ target: "vdb", format: "raw", file: lab.image("b.raw", "raw", 8 * MIB) },
		],
		{ devices: '<disk type="file" device="cdrom"><target dev="hda" bus="ide"/><readonly/></disk>' },
	);
	await lab.host().power("one", "on");
});

t.test("hosts that cannot be used", async (t) => {
	for (const uri of ["qemu:///x", "xen:///system", "qemu:///embed?root=/x", "qemu+ssh://h/system -x", ""])
		await t.rejects(openHost("libvirt", uri), { code: "INVALID", message: /qemu:\/\/\/system/ });
	const gone = await openHost("libvirt", "qemu+unix:///system?socket=/no/such/socket");
	t.match(await gone.check(), [{ what: "libvirt", ok: false, message: /is libvirtd .* running there/ }]);
	await t.rejects(gone.list(), { code: "UNREACHABLE" });
	const far = await openHost("libvirt", "qemu+ssh://root@127.0.0.1/system");
	await t.rejects(far.list(), { code: "UNREACHABLE" }, "and it does not ask for a password");
});

t.test("a raw disk is compared, a qcow2 disk is tracked", async (t) => {
	const host = lab.host();
	t.match(
		(await host.list()).map(({ disks }) => disks),
		[
			[
				{ name: "vda", size: 16 * MIB, protected: true, tracking: "persistent", why: null },
				{ name: "vdb", size: 8 * MIB, protected: true, tracking: "none", why: /not qcow2/ },
			],
		],
	);
	const first = await host.snapshot("one", { quiesce: true });
	t.match(first, { consistency: "crash", why: /agent does not answer/, left: [] });
	await host.removeSnapshot(first);
	await fill("/dev/vda", "x", 3);
	await fill("/dev/vdb", "y", 2);
	const second = await host.snapshot("one", { since: first.changeId });
	const vda = await host.openDisk(second, "vda", first.changeId);
	t.strictSame(vda.changed, [{ offset: 3 * MIB, length: MIB }]);
	await t.rejects(host.openDisk(second, "vda"), { code: "STATE", message: /open already/ });
	const vdb = await host.openDisk(second, "vdb", first.changeId);
	t.match(vdb, { changed: undefined, whyAll: /not qcow2/ });
	t.equal((await contentOf(vdb.image)).toString("latin1", 2 * MIB, 2 * MIB + 4), "yyyy");
	await vda.image.close();
	await vdb.image.close();
	await host.removeSnapshot(second);
	t.strictSame(
		readdirSync("/var/tmp").filter((name) => name.startsWith("springback-")),
		[],
	);
	t.notMatch(lab.virsh("dumpxml", "one"), /springback-run/);
});

t.test("only a few checkpoints stay, and what is older is not known", async (t) => {
	const host = lab.host();
	const taken: string[] = [];
	for (let n = 0; n < 6; n++) {
		const snapshot = await host.snapshot("one");
		taken.push(snapshot.changeId);
		await host.removeSnapshot(snapshot);
	}
	const kept = lab.virsh("checkpoint-list", "one", "--name").trim();
	t.equal(kept.split(/\s+/).length, 4);
	await host.removeSnapshot(await host.snapshot("one"), { forget: true });
	t.equal(lab.virsh("checkpoint-list", "one", "--name").trim().split(/\s+/).at(-1), `springback-${taken.at(-1)}`);
	const cases: [string, RegExp | undefined][] = [
		[taken[3], undefined],
		[taken[0], /no record of what changed since then/],
		["nonsense", /no change id/],
	];
	for (const [since, why] of cases) {
		const snapshot = await host.snapshot("one", { since });
		const { image, changed, whyAll } = await host.openDisk(snapshot, "vda", since);
		await image.close();
		if (why === undefined) t.strictSame(changed, []);
		else t.match(whyAll, why);
		await host.removeSnapshot(snapshot);
	}
	const snapshot = await host.snapshot("one");
	const { image, whyAll } = await host.openDisk(snapshot, "vda", taken[5]);
	t.match(whyAll, /must know when the snapshot is made/);
	await image.close();
	await host.removeSnapshot(snapshot);
});

t.test("a backup of somebody else's", async (t) => {
	const xml = lab.path("other.xml");
	spawnSync("sh", [
		"-c",
		`echo '<domainbackup mode="pull"><server transport="unix" socket="/tmp/x.sock"/></domainbackup>' >${xml}`,
	]);
	lab.virsh("backup-begin", "one", xml);
	await t.rejects(lab.host().snapshot("one"), { code: "BUSY", message: /did not begin \(Backup\)/ });
	t.strictSame(await lab.host().cleanUp(), []);
	t.match(lab.virsh("domjobinfo", "one"), /Backup/, "goes on");
	lab.virsh("domjobabort", "one");
});

t.test("a place that is full, and one that does not exist: the guest goes on where it was", async (t) => {
	const host = lab.host();
	const folder = lab.path("small");
	mkdirSync(folder);
	spawnSync("mount", ["-t", "tmpfs", "-o", "size=4m,mode=755", "tmpfs", folder]);
	await lab.shell(
		"one",
		"tr '\\000' z </dev/zero | dd of=/dev/vda bs=1M seek=7 count=8 iflag=fullblock conv=notrunc,fsync 2>/dev/null",
	);
	await t.rejects(host.migrateStorage("one", { to: folder }), { code: "NO_SPACE", message: /goes on where it was/ });
	t.strictSame(readdirSync(folder), []);
	spawnSync("umount", [folder]);
	await t.rejects(host.migrateStorage("one", { to: "/no/such/folder" }), { code: "NOT_FOUND" });
	await t.rejects(host.migrateStorage("one", { to: "no-pool" }), { code: "NOT_FOUND", message: /no storage pool/ });
	await fill("/dev/vda", "w", 7);
	t.match((await host.readConfig("one")).config.disks, [{ path: lab.path("a.qcow2") }, { path: lab.path("b.raw") }]);
	t.strictSame(await host.cleanUp(), []);
});

t.test("QEMU is killed: its bitmaps are not trusted, and new ones begin", async (t) => {
	const host = lab.host();
	const before = await host.snapshot("one");
	await host.removeSnapshot(before);
	// Stored in the image now; what is written after the next start is in no bitmap that was closed in order.
	await host.power("one", "off");
	await host.power("one", "on");
	await fill("/dev/vda", "k", 5);
	process.kill(Number(readFileSync("/run/libvirt/qemu/one.pid", "utf8")), "SIGKILL");
	for (let waited = 0; (await host.list())[0].state !== "off"; waited++) {
		if (waited > 100) throw new Error("libvirt does not see that QEMU died");
		await sleep(100);
	}
	await sleep(500);
	await host.power("one", "on");
	const after = await host.snapshot("one", { since: before.changeId });
	const { image, changed, whyAll } = await host.openDisk(after, "vda", before.changeId);
	t.match({ changed, whyAll }, { changed: undefined, whyAll: /cannot use its record.*bitmap/ });
	t.equal((await contentOf(image)).toString("latin1", 5 * MIB, 5 * MIB + 4), "kkkk");
	await image.close();
	await host.removeSnapshot(after);
	await fill("/dev/vda", "l", 6);
	const next = await host.snapshot("one", { since: after.changeId });
	const disk = await host.openDisk(next, "vda", after.changeId);
	t.strictSame(disk.changed, [{ offset: 6 * MIB, length: MIB }]);
	await disk.image.close();
	await host.removeSnapshot(next);
});

t.test("a VM that is off with its memory saved is left alone", async (t) => {
	const host = lab.host();
	lab.virsh("managedsave", "one");
	await t.rejects(host.snapshot("one"), { code: "UNSUPPORTED", message: /memory saved/ });
	t.match(lab.virsh("dominfo", "one"), /Managed save:\s+yes/);
	t.notMatch(lab.virsh("dumpxml", "one"), /springback-run/);
	lab.virsh("managedsave-remove", "one");
});

t.test("a run that dies while it reads a VM that is off", async (t) => {
	const open = fileURLToPath(new URL("../../src/hypervisor/index.js", import.meta.url));
	const script = `const { openHost } = await import(${JSON.stringify(open)});
		await (await openHost("libvirt", "qemu:///system")).snapshot("one");
		console.log("taken"); setInterval(() => {}, 1000);`;
	const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
		env: { ...process.env, NODE_OPTIONS: "" },
		stdio: ["ignore", "pipe", "inherit"],
	});
	await once(child.stdout, "data");
	t.equal(lab.virsh("domstate", "one").trim(), "paused");
	child.kill("SIGKILL");
	await once(child, "exit");
	lab.define("beside", uuid(9), []);
	t.strictSame(await lab.host().cleanUp(uuid(9)), [], "that VM alone is looked at");
	lab.virsh("undefine", "beside");
	t.match(await lab.host().cleanUp(uuid(1)), [/backup job/, /scratch files/, /checkpoint springback-/, /paused VM/]);
	t.equal(lab.virsh("domstate", "one").trim(), "shut off");
});

t.test("a VM gets other names and disks, and keeps the rest", async (t) => {
	const host = lab.host();
	const [from, to] = [uuid(5), uuid(6)];
	lab.define("plain", from, [{ target: "vda", format: "qcow2", file: lab.image("p.qcow2", "qcow2", MIB) }], {
		devices: '<interface type="user"><mac address="52:54:00:00:00:05"/></interface><watchdog model="i6300esb"/>',
	});
	await t.rejects(host.rename(from, { name: "one", id: to }), { code: "STATE", message: /already/ });
	await host.rename("plain", { name: "aside", id: to });
	await t.rejects(host.readConfig("plain"), { code: "NOT_FOUND" });
	t.match(await host.readConfig(to), { config: { name: "aside", nics: [{ mac: "52:54:00:00:00:05" }] } });
	t.match(lab.virsh("dumpxml", "aside"), /i6300esb/);
	await host.rename("aside", { name: "aside", id: from });
	await host.rename(from, { name: "plain", id: from });
	t.match(
		(await host.list()).find(({ name }) => name === "plain"),
		{ id: from, disks: [{ name: "vda" }] },
	);
	t.notOk((await host.list()).some(({ id }) => id === to));

	const extra = { name: "vdb", source: lab.image("x.raw", "raw", MIB), format: "raw" } as const;
	await host.attachDisk("plain", extra, false);
	await t.rejects(host.attachDisk("plain", extra, false), { code: "STATE", message: /has a disk vdb already/ });
	await host.attachDisk("plain", { ...extra, source: lab.image("y.raw", "raw", 2 * MIB) }, true);
	await host.attachDisk("plain", { ...extra, name: "disk7" }, false);
	t.match((await host.readConfig("plain")).config.disks, [
		{ name: "vda", path: lab.path("p.qcow2") },
		{ name: "vdb", path: lab.path("y.raw") },
		{ name: "vdc", path: lab.path("x.raw") },
	]);
	t.strictSame(await host.problems((await host.readConfig("plain")).config), []);
	t.match(await host.problems({ ...(await host.readConfig("plain")).config, memoryMiB: 2 ** 30, cpus: 9999 }), [
		/more than the \d+ MiB of the host/,
		/more than four for each of the \d+ of the host/,
	]);
	await host.unregister("plain");
});

t.test("from the command line", async (t) => {
	const main = fileURLToPath(new URL("../../src/cli/main.js", import.meta.url));
	const cli = (...args: string[]) =>
		spawnSync(process.execPath, [main, ...args, "--state", lab.path("state")], {
			encoding: "utf8",
			env: { ...process.env, NODE_OPTIONS: "" },
		});
	t.match(cli("hosts", "add", "kvm", "libvirt", "qemu:///nowhere"), { status: 2, stderr: /qemu:\/\/\/system/ });
	t.match(cli("hosts", "add", "kvm", "libvirt", lab.uri), {
		status: 0,
		stdout: /ok {4}libvirt: libvirt \d+\.\d+ with QEMU/,
	});
	t.match(cli("hosts", "test", "kvm"), { status: 0, stdout: /ok {4}backup: / });
	const { status, stdout } = cli("vms", "--host", "kvm");
	t.equal(status, 0);
	t.match(stdout, /one {2}off .*2 disks[\s\S]*vda .*changes known[\s\S]*vdb .*all is compared/);
});

t.test("a socket that QEMU's user cannot open is refused at once", async (t) => {
	const host = lab.host();
	t.equal(await host.diskUser(), 64055);
	const server = createServer();
	await new Promise<void>((resolve) => server.listen(lab.path("ours.sock"), resolve));
	chmodSync(lab.path("ours.sock"), 0o600);
	const { config } = await host.readConfig("one");
	const request = {
		name: "refused",
		config: { ...config, uuid: null },
		disks: [{ name: "vda", source: `nbd+unix:///s/d?socket=${lab.path("ours.sock")}`, format: "raw" as const }],
		networks: {},
		session: "s",
	};
	await t.rejects(host.register(request), {
		code: "DENIED",
		message: /user 64055, who cannot open .*ours\.sock: serve/,
	});
	chmodSync(lab.path("ours.sock"), 0o666);
	await host.unregister(await host.register(request));
	await new Promise((resolve) => server.close(resolve));
});

/** QEMU's own server, which goes and comes back as ours does. */
const serve = async (file: string) => {
	const args = ["-f", "raw", "-t", "-b", "127.0.0.1", "-p", "10899", "-x", "disk", "-e", "4", file];
	const child = spawn("qemu-nbd", args, { stdio: "ignore" });
	for (let waited = 0; spawnSync("nbdinfo", ["--size", "nbd://127.0.0.1:10899/disk"]).status !== 0; waited++) {
		if (waited > 100) throw new Error("qemu-nbd does not answer");
		await sleep(50);
	}
	return async () => {
		child.kill("SIGKILL");
		await once(child, "exit");
	};
};
const nbd = { source: "nbd://127.0.0.1:10899/disk", format: "raw" } as const;

t.test("registered with its disk over NBD, moved home while it writes", async (t) => {
	const host = lab.host();
	const stop = await serve(lab.image("served.raw", "raw", 16 * MIB));
	const { config, files } = await host.readConfig("one");
	const id = await host.register({
		name: "far",
		config: { ...config, uuid: null, disks: [{ ...config.disks[0], name: "system" }, config.disks[1]] },
		disks: [{ name: "system", ...nbd }],
		networks: {},
		session: "far-session",
		files,
	});
	t.match(lab.virsh("dumpxml", id), /<genid>/);
	await host.power("far", "on");
	await fill("/dev/vda", "n", 1);
	t.equal(readFileSync(lab.path("served.raw")).toString("latin1", MIB, MIB + 4), "nnnn");
	const folder = lab.path("home");
	mkdirSync(folder);
	chmodSync(folder, 0o755);
	await host.migrateStorage("far", { to: folder, disks: ["other"] });
	t.match((await host.readConfig("far")).config.disks, [{ path: "disk" }], "not asked for");
	await host.migrateStorage("far", { to: folder, leavePaused: true });
	t.equal((await host.list()).find((vm) => vm.id === id)?.state, "paused");
	await host.power("far", "resume");
	t.match(
		(await host.list()).find((vm) => vm.id === id),
		{
			session: "far-session",
			disks: [{ name: "system", size: 16 * MIB, tracking: "persistent" }],
		},
	);
	await stop();
	const snapshot = await host.snapshot("far");
	t.match(snapshot.disks, [{ name: "system", size: 16 * MIB }], "as the restore point calls it");
	await (await host.openDisk(snapshot, "system")).image.close();
	await host.removeSnapshot(snapshot);
	await fill("/dev/vda", "m", 2);
	t.equal(
		(await lab.shell("one", "dd if=/dev/vda bs=1M skip=1 count=2 2>/dev/null | tr -d '\\000' | tr -s mn")).trim(),
		"nm",
	);
	t.match(lab.virsh("domblklist", id, "--inactive"), /home\/far-system.qcow2/, "after a power-off, too");
	await host.power("far", "off");
	await host.unregister(id);
	t.ok(existsSync(lab.path("home/far-system.qcow2")), "disks stay");
});

t.test("a VM from elsewhere; its server goes away while it writes", async (t) => {
	const host = lab.host();
	const file = lab.image("elsewhere.raw", "raw", 16 * MIB);
	let stop = await serve(file);
	const { config, files } = await host.readConfig("one");
	const foreign = {
		...config,
		uuid: null,
		disks: [{ bus: "virtio" as const, controller: 0, unit: 0, path: null, name: "disk0", unprotected: null }],
		nics: [{ mac: "52:54:00:12:34:57", model: "vmxnet3", network: "VM Network", connected: true }],
	};
	const request = { disks: [{ name: "disk0", ...nbd }], networks: {}, session: "s" };
	const made = await host.register({ name: "foreign", config: foreign, ...request });
	await host.power("foreign", "on");
	t.match(
		(await host.list()).find((vm) => vm.id === made),
		{ state: "running", disks: [{ name: "disk0" }] },
	);
	t.match((await host.readConfig("foreign")).config.nics, [{ mac: "52:54:00:12:34:57", connected: false }]);
	await host.power("foreign", "off");
	await host.unregister(made);

	const again = { ...config, uuid: null, disks: [{ ...config.disks[0], name: "disk0" }, config.disks[1]] };
	await host.register({ name: "waits", config: again, ...request, files });
	await host.power("waits", "on");
	await fill("/dev/vda", "o", 1);
	await stop();
	const writing = fill("/dev/vda", "p", 2);
	for (let waited = 0; (await host.list()).find(({ name }) => name === "waits")?.state !== "paused"; waited++) {
		if (waited > 300) throw new Error("the guest does not pause");
		await sleep(100);
	}
	stop = await serve(file);
	for (let tries = 0; (await host.list()).find(({ name }) => name === "waits")?.state === "paused"; tries++) {
		if (tries > 20) throw new Error("the guest does not go on");
		await host.power("waits", "resume");
		await sleep(500);
	}
	await writing;
	t.equal(readFileSync(file).toString("latin1", 2 * MIB, 2 * MIB + 4), "pppp", "the guest saw no error");
	await host.power("waits", "off");
	await host.unregister("waits");
	await stop();
});
