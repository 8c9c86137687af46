/**
 * The server of a libvirt VM's disks dies under it. libvirt before 9.3 has QEMU stop the guest then: it goes on by itself
 * when only the mount process died, and by what the unit starts when this machine started anew.
 */
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { enterNamespace } from "../../scripts/lab/namespace.js";
import { writerDisk } from "../../scripts/lab/writer.js";
import { processes } from "../e2e/client/processes.js";
import { startUnit } from "../e2e/installed-unit.js";
import { must, Workspace } from "../e2e/workspace.js";
import { LibvirtLab } from "../hypervisor/libvirt-lab.js";
import { MIB } from "./lab.js";

await enterNamespace(import.meta.url);
const lab = await LibvirtLab.start();
const work = new Workspace();
t.teardown(async () => {
	await work.close();
	await lab.close();
});
t.setTimeout(180_000);
const id = "00000000-0000-0000-0000-0000000000dc";
const console = lab.path("console.log");
const said = (): string => readFileSync(console, "latin1").replace(/[^U.E]/g, "");
const until = async (what: string, done: () => boolean): Promise<void> => {
	for (let waited = 0; !done(); waited++) {
		if (waited > 600) throw new Error(`${what}: not within a minute; the guest said ${said()}`);
		await sleep(100);
	}
};
const works = async (count = 2, from = said().length): Promise<void> => {
	await until(`the guest writes (${lab.virsh("domstate", id, "--reason").trim()})`, () => {
		return said().slice(from).split(".").length > count;
	});
	if (said().includes("E")) throw new Error(`the guest saw an error: ${said()}`);
};

t.test("the mount process dies; then all of ours", async (t) => {
	await work.init();
	await work.json(["hosts", "add", "kvm", "libvirt", lab.uri]);
	writerDisk(work.path("db.raw"), 9 * MIB);
	await must("qemu-img", ["convert", "-f", "raw", "-O", "qcow2", work.path("db.raw"), lab.path("db.qcow2")]);
	lab.define("db", id, [{ target: "vda", format: "qcow2", file: lab.path("db.qcow2") }], {
		devices: `<serial type="file"><source path="${console}" append="on"/><target port="0"/></serial>`,
		memory: 64,
	});
	await work.json(["backup", "db", "--host", "kvm"]);
	lab.virsh("undefine", id, "--checkpoints-metadata");
	const options = ["--session", "s", "--original-gone", "--wait", "100ms", "--protect", "off"];
	await work.json(["recover", "db", "--host", "kvm", ...options]);
	await until("the guest is up", () => said().includes("."));
	const back = await work.killMountd("s");
	const from = Date.now();
	await works();
	t.comment(`served again after ${back} ms, the guest wrote again ${Date.now() - from} ms later`);

	for (const name of ["/mountd/supervisor.js", "/mountd/main.js", "/cli/protector.js"])
		for (const pid of processes(name)) process.kill(pid, "SIGKILL");
	await until("the guest stands still", () => lab.virsh("domstate", id, "--reason").trim() === "paused (I/O error)");
	const begun = Date.now();
	const unit = await startUnit(work.env());
	t.equal(unit.code, 0, unit.stderr);
	t.match(JSON.parse(unit.stdout), {
		sessions: [{ session: "s", error: null }],
		guests: [{ name: "db", host: "kvm" }],
	});
	await works();
	t.comment(`two writes of the guest ${Date.now() - begun} ms after the unit began`);
	await work.killMountd("s");
	await works();

	lab.virsh("suspend", id);
	await sleep(3_000);
	t.equal(lab.virsh("domstate", id).trim(), "paused", "whoever was paused on purpose stays so");
	t.match(JSON.parse((await startUnit(work.env())).stdout), { guests: [] });
	t.equal(lab.virsh("domstate", id).trim(), "paused");
	lab.virsh("destroy", id);
	await work.json(["finish", "s", "--discard", "--confirm", "s"]);
	await until("the process beside it ended", () => processes("/cli/protector.js").length === 0);
});
