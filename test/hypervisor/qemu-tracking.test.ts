/**
 * Random sequences of what happens to a VM between backups. Whatever it was: the old content with what is said to have
 * changed laid over it is the new content, byte for byte; and where nothing broke the record, little more is named than
 * was written.
 */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import t from "tap";
import { vmIn, withQmp } from "../../src/hypervisor/qemu/vm.js";
import { Dice } from "../repository/helpers.js";
import { contentOf, MIB } from "./content.js";
import { QemuLab } from "./qemu-lab.js";

const STEPS = process.env.SPRINGBACK_LONG ? 60 : 14;
const SEED = Number(process.env.SPRINGBACK_SEED ?? 20261121);
const OPEN = fileURLToPath(new URL("../../src/hypervisor/index.js", import.meta.url));
const GRAIN = 65536;

t.test(`${STEPS} steps, seed ${SEED}`, { timeout: 900_000 }, async (t) => {
	const lab = new QemuLab();
	t.teardown(() => lab.close());
	const dice = new Dice(SEED);
	let mib = 16;
	lab.tiny("one", [{ format: "qcow2", size: mib * MIB }], "55555555-2222-3333-4444-555555555555");
	const host = lab.host();
	await host.power("one", "on");

	/** grains written since the last backup that succeeded */
	let written = new Set<number>();
	let unbroken = true;
	let last: { changeId: string; content: Buffer } | undefined;
	let incremental = 0;
	const write = async () => {
		const kib = 4 * (1 + dice.below(200));
		const at = dice.below(mib * 256 - kib / 4);
		const letter = String.fromCharCode(97 + dice.below(26));
		await lab.shell(
			"one",
			`head -c ${kib * 1024} /dev/zero | tr '\\000' ${letter} | dd of=/dev/vda bs=4k seek=${at} conv=notrunc,fsync 2>/dev/null`,
		);
		for (let byte = at * 4096; byte < at * 4096 + kib * 1024; byte += 4096) written.add(Math.floor(byte / GRAIN));
	};
	const backup = async () => {
		const snapshot = await host.snapshot("one");
		// What comes after the moment must be in the next one.
		const before = written;
		written = new Set();
		if (dice.below(2) === 0 && (await host.list())[0].state === "running") await write();
		const { image, changed, whyAll } = await host.openDisk(snapshot, "disk0", last?.changeId);
		const content = await contentOf(image);
		await image.close();
		await host.removeSnapshot(snapshot);
		if (changed === undefined) t.comment(`all is read: ${whyAll ?? "the first"}`);
		if (last !== undefined && changed !== undefined) {
			const laid = Buffer.alloc(content.length);
			last.content.copy(laid);
			for (const { offset, length } of changed) content.copy(laid, offset, offset, offset + length);
			t.ok(laid.equals(content), "the old with the changes is the new");
			const named = changed.reduce((sum, { length }) => sum + length, 0);
			t.ok(named <= before.size * GRAIN, `${named} bytes named, ${before.size * GRAIN} written`);
			incremental += 1;
		}
		if (unbroken && last !== undefined) t.ok(changed, "nothing broke the record");
		last = { changeId: snapshot.changeId, content };
		unbroken = true;
	};
	const restart = async (how: "off" | "kill") => {
		if (how === "off") await host.power("one", "off");
		else process.kill(lab.pid("one")!, "SIGKILL");
		while ((await host.list())[0].state !== "off") await sleep(20);
		if (how === "kill") unbroken = false;
		if (dice.below(2) === 0) await backup();
		await host.power("one", "on");
	};
	const dyingRun = async () => {
		const script = `const { openHost } = await import(${JSON.stringify(OPEN)});
			const host = await openHost("qemu", ${JSON.stringify(lab.uri)});
			await host.openDisk(await host.snapshot("one"), "disk0");
			console.log("taken"); setInterval(() => {}, 1000);`;
		const env = { ...process.env, NODE_OPTIONS: "" };
		const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
			env,
			stdio: ["ignore", "pipe", "inherit"],
		});
		await Promise.race([once(child.stdout, "data"), once(child, "exit")]);
		if (dice.below(2) === 0) await write();
		child.kill("SIGKILL");
		await once(child, "exit");
	};
	const grow = async () => {
		mib += 1 + dice.below(3);
		await withQmp(vmIn(lab.folder, "one"), (qmp) =>
			qmp.execute("block_resize", { "node-name": "disk-0", size: mib * MIB }),
		);
	};
	const steps: [string, () => Promise<void>, number][] = [
		["write", write, 5],
		["backup", backup, 4],
		["power cycle", () => restart("off"), 1],
		["QEMU killed", () => restart("kill"), 1],
		["a run dies", dyingRun, 1],
		["grow", grow, 1],
	];
	const bag = steps.flatMap(([name, run, weight]) => Array.from({ length: weight }, () => ({ name, run })));
	for (let n = 0; n < STEPS; n++) {
		const { name, run } = bag[dice.below(bag.length)];
		t.comment(name);
		await run();
	}
	await host.cleanUp();
	await write();
	await backup();
	await write();
	await backup();
	t.ok(incremental > 1, `${incremental} backups of changes only`);
	t.strictSame(await host.cleanUp(), []);
});
