/** What goes wrong with a libvirt host, from the command line: one clear line each, nothing stored, the VM runs as before. */
import { chmodSync, writeFileSync } from "node:fs";
import t from "tap";
import { enterNamespace } from "../../scripts/lab/namespace.js";
import { LibvirtLab } from "../hypervisor/libvirt-lab.js";
import { MAIN, run, Workspace } from "./workspace.js";

await enterNamespace(import.meta.url);
const MIB = 2 ** 20;
const SOCKET = "/run/libvirt/libvirt-sock";
const lab = await LibvirtLab.start();
const work = new Workspace();
t.teardown(async () => {
	await work.close();
	await lab.close();
});
t.setTimeout(180_000);

t.before(async () => {
	await work.init();
	await work.json(["hosts", "add", "kvm", "libvirt", lab.uri]);
	lab.tiny("one", "00000000-0000-0000-0000-0000000000a1", [
		{ target: "vda", format: "qcow2", file: lab.image("a.qcow2", "qcow2", 4 * MIB) },
	]);
	lab.virsh("start", "one");
	await lab.shell("one", "echo before >/dev/vda");
});

t.afterEach(async () => {
	t.equal(lab.virsh("domstate", "one").trim(), "running", "the VM runs");
	t.equal(await lab.shell("one", "echo still >/dev/vda && echo works"), "works\n", "and works");
	t.notMatch(lab.virsh("dumpxml", "one"), /springback-run|<mirror/, "with nothing of ours");
});

t.test("a wrong host", async (t) => {
	const nobody = "qemu+unix:///system?socket=/no/such/socket";
	for (const uri of [nobody, "qemu+ssh://root@127.0.0.1/system"]) {
		const added = await work.cli(["hosts", "add", "far", "libvirt", uri]);
		t.match([added.code, added.stderr], [1, /^host far is not saved: mend this first/m], uri);
	}
	t.equal((await work.cli(["hosts", "add", "gone", "libvirt", nobody, "--no-test"])).code, 0);
	for (const args of [
		["vms", "--host", "gone"],
		["backup", "one", "--host", "gone"],
	]) {
		const failed = await work.cli(args);
		t.match([failed.code, failed.stderr], [1, /^springback: .*(no such file|failed to connect)[^\n]*\n$/im], args[0]);
	}
	await work.cli(["hosts", "remove", "gone"]);
});

t.test("wrong credentials", async (t) => {
	// Somebody whom libvirt does not let in, as where polkit or a group decides.
	chmodSync(SOCKET, 0o700);
	const state = ["--state", work.path("other")];
	chmodSync(work.directory, 0o777);
	const args = ["hosts", "add", "kvm", "libvirt", lab.uri, ...state];
	// It may read this checkout, wherever that is; connecting is writing.
	const reads = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"];
	const other = ["--reuid=65534", "--regid=65534", "--clear-groups", ...reads, "env", "-u", "NODE_OPTIONS"];
	const denied = await run("setpriv", [...other, process.execPath, MAIN, ...args]);
	chmodSync(SOCKET, 0o777);
	t.equal(denied.code, 1);
	t.match(denied.stdout + denied.stderr, /permission denied: run springback as root, or as a user whom libvirt lets/i);
	// A host that does not take our key: what ssh says then.
	writeFileSync(
		work.path("ssh"),
		"#!/bin/sh\necho 'root@192.0.2.1: Permission denied (publickey,password).' >&2\nexit 255\n",
	);
	chmodSync(work.path("ssh"), 0o755);
	const uri = `qemu+ssh://root@192.0.2.1/system?command=${work.path("ssh")}`;
	const key = await work.cli(["hosts", "add", "far", "libvirt", uri]);
	t.equal(key.code, 1);
	t.match(key.stdout + key.stderr, /Permission denied \(publickey,password\).*a user whom libvirt lets manage VMs/);
	t.notMatch((await work.cli(["hosts"])).stdout, /far/);
});

t.test("a VM without an agent", async (t) => {
	for (const level of ["filesystem", "application"]) {
		const failed = await work.cli(["backup", "one", "--host", "kvm", "--consistency", level]);
		t.equal(failed.code, 1);
		t.match(
			failed.stderr,
			new RegExp(`consistency ${level} was asked for, crash was reached: .*agent does not answer`),
		);
	}
	t.strictSame(await work.json(["points"]), []);
	const done = await work.cli(["backup", "one", "--host", "kvm", "--json"]);
	t.equal(done.code, 0);
	t.match(JSON.parse(done.stdout), { consistency: "crash", why: /agent does not answer/, frozenMs: 0 });
});

t.test("disks on storage that cannot be backed up", async (t) => {
	writeFileSync(
		lab.path("pass.xml"),
		`<domain type="qemu"><name>pass</name><uuid>00000000-0000-0000-0000-0000000000a2</uuid><memory unit="MiB">64</memory><vcpu>1</vcpu>
		<os><type arch="x86_64" machine="pc">hvm</type></os><devices><controller type="scsi" index="0" model="virtio-scsi"/>
		<disk type="block" device="lun"><source dev="/dev/none"/><target dev="sda" bus="scsi"/></disk></devices></domain>`,
	);
	lab.virsh("define", lab.path("pass.xml"));
	const listed = await work.cli(["vms", "--host", "kvm"]);
	t.match([listed.code, listed.stdout], [4, /sda .*NOT PROTECTED .*SCSI passthrough/]);
	const failed = await work.cli(["backup", "pass", "--host", "kvm"]);
	t.match([failed.code, failed.stderr], [1, /^springback: VM pass/m]);
	t.comment(failed.stderr.trim());
	t.equal(lab.virsh("domstate", "pass").trim(), "shut off");
	t.strictSame(
		(await work.json<{ vm: string }[]>(["points"])).filter(({ vm }) => vm === "pass"),
		[],
	);
});
