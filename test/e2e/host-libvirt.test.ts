/** Restore points of a libvirt VM from the command line: what it holds while it writes, and only what changed is read. */
import { readFileSync } from "node:fs";
import t from "tap";
import { enterNamespace } from "../../scripts/lab/namespace.js";
import { LibvirtLab } from "../hypervisor/libvirt-lab.js";
import { Workspace } from "./workspace.js";

await enterNamespace(import.meta.url);
const MIB = 2 ** 20;
const lab = await LibvirtLab.start();
const work = new Workspace();
t.teardown(async () => {
	await work.close();
	await lab.close();
});

interface Report {
	point: string;
	consistency: string;
	disks: { name: string; read: number; tracked: boolean; why: string | null }[];
}

t.test("three restore points of a VM that runs, one of it off", async (t) => {
	await work.init();
	lab.tiny("db", "00000000-0000-0000-0000-0000000000db", [
		{ target: "vda", format: "qcow2", file: lab.image("a.qcow2", "qcow2", 16 * MIB) },
		{ target: "vdb", format: "raw", file: lab.image("b.raw", "raw", 4 * MIB) },
	]);
	await work.json(["hosts", "add", "kvm", "libvirt", lab.uri]);
	lab.virsh("start", "db");
	const letters = (at: number, letter: string, device = "/dev/vda") =>
		lab.shell(
			"db",
			`head -c 1048576 /dev/zero | tr '\\000' ${letter} | dd of=${device} bs=1M seek=${at} conv=notrunc,fsync 2>/dev/null`,
		);
	const backup = () => work.json<Report>(["backup", "db", "--host", "kvm"]);
	const content = async (point: string, disk: string) => {
		const file = work.path(`${disk}.raw`);
		await work.json(["export", `db@${point}`, "--disk", disk, "-o", file, "--overwrite"]);
		const bytes = readFileSync(file);
		return Array.from({ length: bytes.length / MIB }, (_, n) => String.fromCharCode(bytes[n * MIB] || 46)).join("");
	};
	await letters(0, "a");
	await letters(1, "r", "/dev/vdb");
	const first = await backup();
	await letters(5, "b");
	const second = await backup();
	await letters(0, "c");
	await letters(2, "s", "/dev/vdb");
	const third = await backup();
	lab.virsh("destroy", "db");
	const off = await backup();
	t.equal(lab.virsh("domstate", "db").trim(), "shut off");
	t.strictSame(
		[first, second, third, off].map(({ disks }) => disks.map(({ tracked }) => tracked)),
		[
			[false, false],
			[true, false],
			[true, false],
			[true, false],
		],
	);
	t.strictSame(
		[second, third, off].map(({ disks }) => disks[0].read),
		[MIB, MIB, 0],
		"only what changed",
	);
	t.match(third.disks[1].why, /not qcow2/);
	t.equal(await content(first.point, "vda"), "a...............");
	t.equal(await content(second.point, "vda"), "a....b..........");
	t.equal(await content(third.point, "vda"), "c....b..........");
	t.equal(await content(off.point, "vda"), "c....b..........");
	t.equal(await content(first.point, "vdb"), ".r..");
	t.equal(await content(off.point, "vdb"), ".rs.");
});
