/**
 * A backup that is killed before each of the commands that it gives to QEMU, one after the other. Whichever it was: the VM
 * runs on, the next run takes everything away and goes on from the last point, and what points hold is what the disks had.
 */
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import t from "tap";
import { MIB } from "../hypervisor/content.js";
import { HostLab } from "./host-lab.js";

/** Short runs leave out the first commands, which only ask, and take some of the others. */
const [FIRST, STRIDE] = process.env.SPRINGBACK_LONG ? [0, 1] : [35, 4];
const built = (path: string) => fileURLToPath(new URL(`../../src/${path}`, import.meta.url));
const RUN = `
	const [backup, hypervisor, repository, qmp] = await Promise.all(process.argv.slice(1, 5).map((url) => import(url)));
	const [folder, before] = process.argv.slice(5);
	let left = Number(before);
	const execute = qmp.Qmp.prototype.execute;
	qmp.Qmp.prototype.execute = function (...args) {
		if (left-- === 0) {
			process.stdout.write(args[0]);
			process.kill(process.pid, "SIGKILL");
		}
		return execute.apply(this, args);
	};
	const host = { name: "lab", type: "qemu", uri: "qemu://" + folder };
	const open = await hypervisor.openHost("qemu", host.uri);
	const into = await repository.openRepository(folder + "/repo");
	await backup.hostBackup(into, { host, hypervisor: open, vm: "one", quiesce: false });
	await into.close();
	await open.close();
`;
const MODULES = ["backup/index.js", "hypervisor/index.js", "repository/index.js", "hypervisor/qemu/qmp.js"].map(built);

t.test("killed before each command", { timeout: 600_000 }, async (t) => {
	const lab = await HostLab.make(t);
	const size = 8 * MIB;
	lab.bare("one", { disk0: { format: "qcow2", size }, disk1: { format: "raw", size } });
	await lab.hypervisor.power("one", "on");
	await lab.backup("one");
	const shadow = [Buffer.alloc(size), Buffer.alloc(size)];
	let done = false;
	for (let before = FIRST; !done; before += STRIDE) {
		const letter = String.fromCharCode(97 + (before % 26));
		const at = (before % 120) * 65536;
		for (const [n, disk] of shadow.entries()) {
			await lab.write("one", n, letter, at, 512);
			disk.fill(letter, at, at + 512);
		}
		const args = ["--input-type=module", "-e", RUN, ...MODULES, lab.folder, String(before)];
		const env = { ...process.env, NODE_OPTIONS: "" };
		const { status, stdout, stderr } = spawnSync(process.execPath, args, { env, encoding: "utf8" });
		done = status === 0;
		if (!done && stderr !== "") throw new Error(stderr);
		const [last, made] = await lab.repository.points();
		if (made === undefined) {
			const { disks } = await lab.backup("one");
			t.match(disks, [{ tracked: true }, { tracked: true }], `killed before ${stdout} (${before})`);
			t.ok(
				disks.every(({ read }) => read <= 65536),
				"no more is read than was written since the last point",
			);
		}
		await lab.hypervisor.cleanUp();
		t.equal((await lab.hypervisor.list())[0].state, "running");
		t.strictSame(readdirSync(lab.path("one/.springback")).sort(), ["lock", "starting"]);
		const newest = (await lab.repository.points()).at(-1)!;
		for (const [n, disk] of shadow.entries())
			t.ok((await lab.stored(newest.id, `disk${n}`)).equals(disk), `disk${n} in ${newest.id.slice(0, 8)}`);
		await lab.repository.forget({ what: { specs: [`one@${last.id}`] }, force: true, now: () => new Date() });
	}
});
