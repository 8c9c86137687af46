/** Moves of storage that end early: the run dies, the VM goes off, the target is taken. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import t from "tap";
import { blockNode } from "../../src/hypervisor/qemu/block-nodes.js";
import { createImage } from "../../src/hypervisor/qemu/create-image.js";
import { concluded, ourJobs } from "../../src/hypervisor/qemu/jobs.js";
import { Qmp } from "../../src/hypervisor/qemu/qmp.js";
import { noteMove } from "../../src/hypervisor/qemu/settle-move.js";
import { vmIn } from "../../src/hypervisor/qemu/vm.js";
import { MIB } from "./content.js";
import { QemuLab } from "./qemu-lab.js";

const lab = new QemuLab();
t.teardown(() => lab.close());
const OPEN = fileURLToPath(new URL("../../src/hypervisor/index.js", import.meta.url));
const to = lab.path("storage");
const target = `${to}/one-disk0.qcow2`;
const definedSource = () => JSON.parse(readFileSync(lab.path("one/vm.json"), "utf8")).disks.disk0.source as string;

t.before(async () => {
	lab.tiny("one", [{ format: "raw", size: 16 * MIB }], "33333333-2222-3333-4444-555555555555");
	mkdirSync(to);
	await lab.host().power("one", "on");
	await lab.shell("one", "head -c 16777216 /dev/zero | tr '\\000' q | dd of=/dev/vda bs=1M conv=fsync 2>/dev/null");
});

t.test("targets that cannot be", async (t) => {
	const host = lab.host();
	await t.rejects(host.migrateStorage("one", { to: lab.path("nowhere") }), { code: "NOT_FOUND" });
	writeFileSync(target, "somebody's");
	await t.rejects(host.migrateStorage("one", { to }), { code: "STATE", message: /exists already/ });
	t.equal(readFileSync(target, "utf8"), "somebody's", "left alone");

	rmSync(target);
});

t.test("the run dies in the middle: undone", async (t) => {
	const script = `const { openHost } = await import(${JSON.stringify(OPEN)});
		const host = await openHost("qemu", ${JSON.stringify(lab.uri)});
		await host.migrateStorage("one", { to: ${JSON.stringify(to)}, rate: ${2 * MIB}, progress: () => console.log("moving") });`;
	const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
		env: { ...process.env, NODE_OPTIONS: "" },
		stdio: ["ignore", "pipe", "inherit"],
	});
	await once(child.stdout, "data");
	await t.rejects(lab.host().snapshot("one"), { code: "BUSY" }, "no backup meanwhile");
	child.kill("SIGKILL");
	await once(child, "exit");
	t.ok(existsSync(target));
	t.match(await lab.host().cleanUp(), [/move of disk disk0 .*\(undone\)/]);
	t.notOk(existsSync(target));
	t.equal(definedSource(), "disk0.raw");
	t.equal((await lab.shell("one", "head -c 6 /dev/vda")).trim(), "qqqqqq");
});

t.test("the run dies right behind the pivot: finished", async (t) => {
	const vm = vmIn(lab.folder, "one");
	const qmp = (await Qmp.connect(vm.places.qmp))!;
	noteMove(vm, { disk: "disk0", index: 0, from: "disk-0", node: "disk-0-x", to: target, pivoting: true });
	await createImage(qmp, target, "qcow2", 16 * MIB, "x");
	await qmp.execute("blockdev-add", blockNode(0, target, "qcow2", "disk-0-x"));
	const job = {
		"job-id": "springback-move-0",
		device: "disk-0",
		target: "disk-0-x",
		sync: "full",
		"auto-dismiss": false,
	};
	await qmp.execute("blockdev-mirror", job);
	while ((await ourJobs(qmp))[0].status !== "ready") await sleep(50);
	await qmp.execute("job-complete", { id: "springback-move-0" });
	await concluded(qmp, "springback-move-0");
	qmp.close();
	t.equal(definedSource(), "disk0.raw");
	t.match(await lab.host().cleanUp(), [/\(finished\)/]);
	t.equal(definedSource(), target);
	t.equal((await lab.shell("one", "head -c 6 /dev/vda")).trim(), "qqqqqq");
});

t.test("the VM goes off meanwhile: undone where that is sure, else a person decides", async (t) => {
	const host = lab.host();
	await host.power("one", "off");
	const vm = vmIn(lab.folder, "one");
	const other = `${to}/other.qcow2`;
	writeFileSync(other, "half");
	noteMove(vm, { disk: "disk0", index: 0, from: "disk-0", node: "n", to: other, pivoting: false });
	t.match(await host.cleanUp(), [/undone/]);
	t.notOk(existsSync(other));
	writeFileSync(other, "whole?");
	noteMove(vm, { disk: "disk0", index: 0, from: "disk-0", node: "n", to: other, pivoting: true });
	t.match(await host.cleanUp(), [/not cleaned: VM one went off in the moment.*see which file is newer/]);
	t.ok(existsSync(other), "nothing is thrown away");
});
