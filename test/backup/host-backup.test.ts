/** Backup through a hypervisor, against real QEMU: what is read, what is kept, what is refused, and what a failure leaves. */
import { chmodSync, existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import t, { type Test } from "tap";
import { hostFactsOf } from "../../src/backup/index.js";
import type { Snapshot } from "../../src/hypervisor/index.js";
import { usedNode } from "../../src/hypervisor/qemu/block-nodes.js";
import { vmIn, withQmp } from "../../src/hypervisor/qemu/vm.js";
import { MIB } from "../hypervisor/content.js";
import { changed, HostLab, VM_ID } from "./host-lab.js";

const KIB = 1024;
const bitmaps = (lab: HostLab, vm: string, index = 0) =>
	withQmp(vmIn(lab.folder, vm), async (qmp) => (await usedNode(qmp, index))!.bitmaps.map(({ name }) => name));
/** QEMU's own and ours in the VM's process: nothing of a backup may be left. */
const clean = async (t: Test, lab: HostLab, vm: string) => {
	t.strictSame(await lab.hypervisor.cleanUp(), []);
	t.strictSame(
		readdirSync(lab.path(vm, ".springback")).filter((name) => !["lock", "starting", "qemu.log"].includes(name)),
		[],
	);
};

t.test("a full and increments of a VM that writes: the moment is stored, and only what changed is read", async (t) => {
	const lab = await HostLab.make(t);
	lab.bare("one", { system: { format: "qcow2", size: 64 * MIB }, data: { format: "raw", size: 32 * MIB } });
	await lab.hypervisor.power("one", "on");
	await lab.write("one", 0, "a", MIB, 4 * MIB);
	await lab.write("one", 1, "b", 0, 2 * MIB);
	const first = await lab.backup("one");
	t.match(first, { vm: "one", host: "lab", id: VM_ID, consistency: "crash", left: [], warnings: [] });
	t.match(first.disks, [
		{ name: "system", size: 64 * MIB, read: 4 * MIB, new: 64 * KIB, tracked: false, why: /first backup/ },
		{ name: "data", size: 32 * MIB, read: 2 * MIB, tracked: false },
	]);
	t.match(lab.said, [/^system: all of it is read: it is the first backup/, /^data: /]);

	// Scattered small writes: each counts as the 64 KiB that it lies in.
	const grains = [3, 20, 21, 700, 1023].map((grain) => grain * 64 * KIB);
	for (const at of grains) await lab.write("one", 0, "c", at + 4 * KIB, 512);
	const writing = changed(lab.hypervisor, {
		async snapshot(vm, options) {
			const snapshot = await lab.hypervisor.snapshot(vm, options);
			await lab.write("one", 0, "X", MIB, MIB);
			return snapshot;
		},
	});
	lab.said.length = 0;
	const second = await lab.backup("one", { hypervisor: writing });
	t.strictSame(lab.said, []);
	t.match(second.disks, [
		{ name: "system", tracked: true, why: null },
		{ name: "data", read: 0, tracked: true },
	]);
	const bound = 1.2 * grains.length * 64 * KIB;
	t.ok(second.disks[0].read <= bound, `${second.disks[0].read} bytes read of ${grains.length * 64 * KIB} changed`);
	const third = await lab.backup("one");
	t.equal(third.disks[0].read, MIB, "what was written after the moment is in the next one");

	const system = Buffer.alloc(64 * MIB);
	system.fill("a", MIB, 5 * MIB);
	t.ok((await lab.stored(first.point, "system")).equals(system));
	for (const at of grains) system.fill("c", at + 4 * KIB, at + 4 * KIB + 512);
	t.ok((await lab.stored(second.point, "system")).equals(system), "as it was at the moment");
	system.fill("X", MIB, 2 * MIB);
	t.ok((await lab.stored(third.point, "system")).equals(system));
	t.equal((await lab.stored(third.point, "data")).lastIndexOf("b"), 2 * MIB - 1);

	const points = await lab.repository.points();
	t.match(hostFactsOf(points[2]), {
		...{ host: "lab", type: "qemu", uri: lab.uri, vm: VM_ID, name: "one", state: "running" },
		disks: [{ name: "system", path: lab.path("one/system.qcow2"), since: second.point, why: null }, { name: "data" }],
	});
	t.match(points[2].config, { uuid: VM_ID, disks: [{ name: "system" }, { name: "data" }] });
	await clean(t, lab, "one");

	t.test("a power cycle: qcow2 keeps its record, a raw file loses it and is compared", async (t) => {
		await lab.write("one", 1, "d", 8 * MIB, MIB);
		await lab.hypervisor.power("one", "off");
		await lab.hypervisor.power("one", "on");
		const { disks, point } = await lab.backup("one");
		t.match(disks, [
			{ name: "system", read: 0, tracked: true },
			{ name: "data", read: 3 * MIB, new: 64 * KIB, tracked: false, why: /no record of what changed/ },
		]);
		t.equal((await lab.stored(point, "data"))[8 * MIB], "d".charCodeAt(0));
	});

	t.test("a disk that grew", async (t) => {
		await lab.resize("one", 0, 80 * MIB);
		await lab.write("one", 0, "g", 79 * MIB, MIB);
		const { disks, point } = await lab.backup("one");
		t.match(disks[0], { size: 80 * MIB, tracked: true });
		t.ok(disks[0].read <= 16 * MIB);
		const stored = await lab.stored(point, "system");
		t.equal(stored.length, 80 * MIB);
		t.ok(stored.subarray(79 * MIB).every((byte) => byte === "g".charCodeAt(0)));
		t.ok(stored.subarray(64 * MIB, 79 * MIB).every((byte) => byte === 0));
	});

	t.test("the last point was removed: the one before serves as well, or all is read", async (t) => {
		const all = await lab.repository.points();
		await lab.repository.forget({ what: { specs: [`one@${all.at(-1)!.id}`] }, now: () => new Date() });
		await lab.write("one", 0, "h", 5 * MIB, 64 * KIB);
		const { disks, point } = await lab.backup("one");
		t.match(disks[0], { tracked: true });
		const stored = await lab.stored(point, "system");
		t.equal(stored[5 * MIB], "h".charCodeAt(0));
		t.equal(stored[79 * MIB], "g".charCodeAt(0), "what the removed one had is in the next");
	});

	t.test("the VM is called otherwise: it goes on from its own points", async (t) => {
		lab.said.length = 0;
		const { vm, disks } = await lab.backup(VM_ID, { as: "renamed" });
		t.equal(vm, "renamed");
		t.match(disks[0], { read: 0, tracked: true });
		const next = await lab.backup("one");
		t.match(next.disks[0], { read: 0, tracked: true });
	});

	t.test("failed runs: no point, and the record of changes is as before them", async (t) => {
		const before = await bitmaps(lab, "one");
		const count = (await lab.repository.points()).length;
		await lab.write("one", 0, "i", 7 * MIB, 64 * KIB);
		for (let n = 0; n < 6; n++) {
			await t.rejects(lab.backup("one", { consistency: "filesystem" }), {
				code: "SOURCE",
				message: /consistency filesystem was asked for, crash was reached: .*nothing was stored/,
			});
			t.strictSame(await bitmaps(lab, "one"), before, `as before run ${n + 1}`);
		}
		t.equal((await lab.repository.points()).length, count);
		t.equal((await lab.hypervisor.list())[0].state, "running");
		const { disks } = await lab.backup("one");
		t.match(disks[0], { read: 64 * KIB, tracked: true }, "nothing that changed meanwhile is missing, or too much");
		await clean(t, lab, "one");
	});
});

t.test("interrupted in any phase: undone", async (t) => {
	const lab = await HostLab.make(t);
	lab.bare("one", { disk0: { format: "qcow2", size: 32 * MIB } });
	await lab.hypervisor.power("one", "on");
	await lab.write("one", 0, "a", 0, 16 * MIB);
	const stop = new AbortController();
	await t.rejects(lab.backup("one", { signal: stop.signal, readLimit: MIB, progress: () => stop.abort() }), {
		code: "INTERRUPTED",
	});
	const early = new AbortController();
	const slow = changed(lab.hypervisor, {
		async snapshot(vm, options) {
			early.abort();
			return lab.hypervisor.snapshot(vm, options);
		},
	});
	await t.rejects(lab.backup("one", { signal: early.signal, hypervisor: slow }), { code: "INTERRUPTED" });
	const dead = changed(lab.hypervisor, {
		async openDisk() {
			throw new Error("the host went away");
		},
	});
	await t.rejects(lab.backup("one", { hypervisor: dead }), { message: /went away/ });
	t.strictSame(await lab.repository.points(), []);
	t.strictSame(await bitmaps(lab, "one"), []);
	await clean(t, lab, "one");
	await lab.write("one", 0, "b", 0, 512);
	t.match((await lab.backup("one")).disks, [{ read: 16 * MIB }]);
});

t.test("which VM, and whose restore points", async (t) => {
	const lab = await HostLab.make(t);
	const disk = { disk0: { format: "raw" as const, size: MIB } };
	const ids = ["1", "2", "3"].map((digit) => VM_ID.slice(0, -1) + digit);
	lab.bare("web", disk, ids[0]);
	lab.bare("web-2", disk, ids[1]);
	lab.bare("twin", disk, ids[1]);
	await t.rejects(lab.backup("nobody"), { message: /no VM nobody on host lab: springback vms --host lab/ });
	await t.rejects(lab.backup("web-2"), { message: /twin and web-2 of host lab have the same id/ });
	await t.rejects(lab.backup(ids[1]), { message: new RegExp(`2 VMs of host lab are called ${ids[1]}`) });
	writeFileSync(lab.path("twin/vm.json"), "{");
	await t.rejects(lab.backup("twin"), { message: /cannot be backed up: .*is not JSON/ });
	const off = await lab.backup("web");
	t.match(off, { vm: "web", id: ids[0], consistency: "crash", disks: [{ new: 0 }] });
	await t.rejects(lab.backup("web", { consistency: "filesystem" }), { message: /it is off, and nobody knows/ });
	await t.rejects(lab.backup("web-2", { as: "a/b" }), { code: "USAGE" });

	// Another VM takes the name.
	lab.bare("web", disk, ids[2]);
	await t.rejects(lab.backup("web"), {
		message: new RegExp(`called web belong to another VM \\(${ids[0]} on lab\\): give --as`),
	});
	t.match(await lab.backup("web", { as: "web" }), { disks: [{ why: /first backup of this VM/ }] });
	t.match(await lab.backup("web"), { vm: "web", id: ids[2] }, "from then on it is its own");
	const elsewhere = { name: "lab", type: "qemu", uri: "qemu:///elsewhere" };
	t.match(await lab.backup("web", { host: elsewhere }), { disks: [{ why: /first backup of this VM from this host/ }] });
});

t.test("what is left out, what lies elsewhere, and a base that cannot be read", async (t) => {
	const lab = await HostLab.make(t);
	lab.bare("one", { a: { format: "qcow2", size: MIB }, b: { format: "qcow2", size: MIB } });
	const file = lab.path("one/vm.json");
	const definition = JSON.parse(readFileSync(file, "utf8"));
	const define = (change: (copy: typeof definition) => void) => {
		const copy = structuredClone(definition);
		change(copy);
		writeFileSync(file, JSON.stringify(copy));
	};
	define((copy) => {
		copy.config.disks[1].unprotected = "independent";
	});
	const partly = await lab.backup("one");
	t.match(partly, { disks: [{ name: "a" }], left: [{ name: "b", why: "independent" }] });
	t.match(partly.warnings, [/disk b is NOT in the restore point: independent/]);
	const [point] = await lab.repository.points();
	t.match(point.config, { disks: [{ name: "a" }, { name: null, unprotected: "independent" }] });
	writeFileSync(file, JSON.stringify(definition));
	const whole = await lab.backup("one");
	t.match(whole, { left: [], warnings: [], disks: [{ tracked: true }, { why: /does not have this disk/ }] });
	define((copy) => {
		copy.disks.a.source = lab.path("one/../one/a.qcow2");
	});
	t.match((await lab.backup("one")).disks[0], { tracked: true }, "the same place");
	define((copy) => {
		copy.disks.a.source = "moved.qcow2";
	});
	writeFileSync(lab.path("one/moved.qcow2"), readFileSync(lab.path("one/a.qcow2")));
	t.match((await lab.backup("one")).disks[0], { tracked: false, why: /lies elsewhere/ });

	const gone = await lab.repository.points();
	const vanishing = changed(lab.hypervisor, {
		async snapshot(vm, options): Promise<Snapshot> {
			const specs = gone.map(({ id }) => `one@${id}`);
			await lab.repository.forget({ what: { specs }, force: true, now: () => new Date() });
			return lab.hypervisor.snapshot(vm, options);
		},
	});
	lab.said.length = 0;
	t.match((await lab.backup("one", { hypervisor: vanishing })).disks[0], { tracked: false, why: /could not be read/ });
	t.match(lab.said, [/cannot be gone on from .*: all is read/]);
});

t.test("scripts: in order, told, bounded, and the second one always", async (t) => {
	const lab = await HostLab.make(t);
	lab.bare("one", { disk0: { format: "raw", size: MIB } });
	const script = (name: string, text: string) => {
		writeFileSync(lab.path(name), `#!/bin/sh\n${text}\n`);
		chmodSync(lab.path(name), 0o755);
		return lab.path(name);
	};
	const log = lab.path("log");
	const told = () => (existsSync(log) ? readFileSync(log, "utf8").trim().split("\n") : []);
	const words = "$SPRINGBACK_PHASE $SPRINGBACK_VM $SPRINGBACK_VM_ID $SPRINGBACK_HOST $SPRINGBACK_NAME";
	const pre = script("pre", `echo "${words}" >>${log}; echo said`);
	const post = script(
		"post",
		`echo "$SPRINGBACK_PHASE $SPRINGBACK_RESULT $SPRINGBACK_POINT $SPRINGBACK_CONSISTENCY $SPRINGBACK_ERROR" >>${log}`,
	);
	const { point } = await lab.backup("one", { scripts: { pre, post } });
	t.strictSame(told(), [`pre one ${VM_ID} lab one`, `post ok ${point} crash`.padEnd(told()[1].length)]);
	t.ok(lab.said.includes("pre-script: said"));

	const failing = script("failing", "exit 7");
	await t.rejects(lab.backup("one", { scripts: { pre: failing, post } }), {
		message: /failing: failed with exit code 7/,
	});
	t.match(told().at(-1), /^post failed .*failing: failed with exit code 7/);
	await t.rejects(lab.backup("one", { scripts: { pre, post }, consistency: "filesystem" }), { code: "SOURCE" });
	t.match(told().at(-1), /^post failed .*consistency filesystem was asked for/);
	await t.rejects(lab.backup("one", { scripts: { pre: lab.path("none") } }), { message: /none: no such file/ });
	chmodSync(failing, 0o644);
	await t.rejects(lab.backup("one", { scripts: { pre: failing } }), { message: /may not be run: chmod/ });

	const hanging = script("hanging", "sleep 60 & sleep 60");
	const began = Date.now();
	await t.rejects(lab.backup("one", { scripts: { pre: hanging, post, limitMs: 300 } }), {
		message: /hanging: still ran after 0.3 s and was ended/,
	});
	const stop = new AbortController();
	const run = lab.backup("one", { scripts: { pre: hanging, post }, signal: stop.signal });
	await sleep(200);
	stop.abort();
	await t.rejects(run, { code: "INTERRUPTED" });
	t.match(told().at(-1), /^post interrupted/);
	t.ok(Date.now() - began < 10_000);

	const late = await lab.backup("one", { scripts: { post: lab.path("none") } });
	t.match(late.warnings, [/is stored, but the post-script failed: .*no such file/]);
	t.equal((await lab.repository.points()).length, 2);
});
