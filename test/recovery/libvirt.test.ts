/**
 * A running libvirt VM from backups to recovery and home again: three restore points while it writes, destroyed with its
 * disk, recovered from each, moved while it writes, and on without us. QEMU is another user there than the mount process.
 */
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { enterNamespace } from "../../scripts/lab/namespace.js";
import { checkWriter, fillDisk, writerDisk } from "../../scripts/lab/writer.js";
import { must, Workspace } from "../e2e/workspace.js";
import { LibvirtLab } from "../hypervisor/libvirt-lab.js";
import { MIB, type Migrated, type Report } from "./lab.js";

await enterNamespace(import.meta.url);
const lab = await LibvirtLab.start();
const work = new Workspace();
t.teardown(async () => {
	await work.close();
	await lab.close();
});
const id = "00000000-0000-0000-0000-0000000000db";
const console = lab.path("console.log");
const disk = lab.path("db.qcow2");

const said = (): string => readFileSync(console, "latin1").replace(/[^U.E]/g, "");
/** Until the guest has said `count` more dots since `from`; it must never have seen an error. */
const works = async (count = 2, from = said().length): Promise<void> => {
	for (let waited = 0; said().slice(from).split(".").length <= count; waited++) {
		if (waited > 600) throw new Error(`the guest does not write: ${said()}; ${lab.virsh("domstate", id)}`);
		await sleep(100);
	}
	if (said().includes("E")) throw new Error(`the guest saw an error: ${said()}`);
};
const countIn = async (file: string, format: string): Promise<number> => {
	await must("qemu-img", ["convert", "-f", format, "-O", "raw", file, work.path("checked.raw")]);
	return checkWriter(readFileSync(work.path("checked.raw")));
};
/** The recovered VM's disk, which is with us. */
const served = (): string => {
	const [, name, host, port] =
		/<source protocol='nbd' name='([^']+)'[\s\S]*?<host name='([^']+)' port='(\d+)'/.exec(lab.virsh("dumpxml", id)) ??
		[];
	return `nbd://${host}:${port}/${name}`;
};
const recover = (point: string): Promise<Report> =>
	work.json([
		...["recover", `db@${point}`, "--host", "kvm", "--session", "s"],
		...["--original-gone", "--wait", "100ms", "--protect", "off"],
	]);

t.test("backed up, destroyed, recovered from each point, home again", { timeout: 280_000 }, async (t) => {
	await work.init();
	await work.json(["hosts", "add", "kvm", "libvirt", lab.uri]);
	mkdirSync(lab.path("storage"));
	chmodSync(lab.path("storage"), 0o755);
	writerDisk(work.path("db.raw"), 24 * MIB);
	fillDisk(work.path("db.raw"), 8 * MIB, 24 * MIB, (at) => Buffer.alloc(MIB, `${at}-`));
	await must("qemu-img", ["convert", "-f", "raw", "-O", "qcow2", work.path("db.raw"), disk]);
	lab.define("db", id, [{ target: "vda", format: "qcow2", file: disk }], {
		devices: `<serial type="file"><source path="${console}" append="on"/><target port="0"/></serial>`,
		memory: 64,
	});
	lab.virsh("start", id);
	await works(1, 0);

	const points: { point: string; count: number }[] = [];
	for (let n = 0; n < 3; n++) {
		await works();
		const { point } = await work.json<{ point: string }>(["backup", "db", "--host", "kvm"]);
		const file = work.path(`${n}.raw`);
		await work.json(["export", `db@${point}`, "--disk", "vda", "-o", file]);
		points.push({ point, count: await countIn(file, "raw") });
	}
	t.ok(points[0].count > 0 && points[0].count < points[1].count && points[1].count < points[2].count);
	lab.virsh("destroy", id);
	lab.virsh("undefine", id, "--checkpoints-metadata");
	rmSync(disk);

	for (const [n, { point, count }] of points.entries()) {
		const from = said().length;
		const report = await recover(point);
		t.match(report, { point, id, name: "db", continued: false });
		await works(2, from);
		if (n === 2) break;
		lab.virsh("destroy", id);
		t.ok((await countIn(served(), "raw")) > count, "it went on where the restore point ends");
		t.match(await work.json(["finish", "s", "--discard", "--confirm", "s"]), { session: "s", moved: false });
		t.notMatch(lab.virsh("list", "--all", "--name"), /db/);
	}

	const migrated = await work.json<Migrated>(["migrate", "s", "--to", lab.path("storage")]);
	t.match(migrated, { verified: true, disks: [{ disk: "vda", different: 0 }] });
	t.match(await work.json(["finish", "s"]), { session: "s", outcome: "removed", moved: true });
	for (let waited = 0; existsSync(work.path("state/mountd-127.0.0.1.sock")) && waited < 100; waited++) await sleep(100);
	t.notOk(existsSync(work.path("state/mountd-127.0.0.1.sock")), "our server has stopped");
	await works();
	for (const which of [[], ["--inactive"]]) {
		const xml = lab.virsh("dumpxml", id, ...which);
		t.match(xml, lab.path("storage/db-vda.qcow2"));
		t.notMatch(xml, /nbd/);
		t.match(xml, /<springback:springback-session [^>]*disks=.vda=vda.\/>/);
		t.notMatch(xml, /springback-session [^>]*name=/, "it is no session's");
	}
	t.ok(statSync(lab.path("storage/db-vda.qcow2")).blocks * 512 < 20 * MIB, "what was never written takes no space");
	lab.virsh("destroy", id);
	const end = await countIn(lab.path("storage/db-vda.qcow2"), "qcow2");
	t.ok(end > points[2].count, `${end} counts, whole and in order`);
	const from = said().length;
	lab.virsh("start", id);
	await works(1, from);
});
