/**
 * A VM of another libvirt host comes here: what this host does not have is left out or exchanged, each by name in the dry
 * run, and the VM runs. What cannot be done without is refused.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import t from "tap";
import { enterNamespace } from "../../scripts/lab/namespace.js";
import { writerDisk } from "../../scripts/lab/writer.js";
import { Workspace } from "../e2e/workspace.js";
import { LibvirtLab } from "../hypervisor/libvirt-lab.js";
import { MIB, type Report } from "./lab.js";

await enterNamespace(import.meta.url);
const lab = await LibvirtLab.start();
const work = new Workspace();
t.teardown(async () => {
	await work.close();
	await lab.close();
});
t.setTimeout(120_000);
const uuid = "00000000-0000-0000-0000-0000000000f1";
const recover = ["recover", "vm", "--host", "kvm", "--session", "s", "--original-gone", "--protect", "off"];

interface Plan {
	refused: boolean;
	findings: Report["findings"];
}

/** A restore point whose stored definition is this. */
const backUp = async (devices: string, os: string, more = "", type = "qemu", firmware = ""): Promise<void> => {
	writeFileSync(
		work.path("vm.xml"),
		`<domain type="${type}"><name>vm</name><uuid>${uuid}</uuid><memory unit="MiB">64</memory><vcpu>1</vcpu>
		<os${firmware === "" ? "" : ` firmware="${firmware}"`}>${os}</os>${more}<devices>${devices}</devices></domain>`,
	);
	await work.json(["backup", "vm", "--config", work.path("vm.xml"), "--disk", work.path("vm.raw")]);
};
const dryRun = async (): Promise<{ code: number | null; plan: Plan; words: string[] }> => {
	const run = await work.cli([...recover, "--dry-run", "--json"]);
	const plan = JSON.parse(run.stdout) as Plan;
	const words = plan.findings
		.filter(({ what }) => what === "host kvm")
		.map(({ level, message }) => `${level} ${message}`);
	return { code: run.code, plan, words };
};

t.before(async () => {
	await work.init();
	await work.json(["hosts", "add", "kvm", "libvirt", lab.uri]);
	writerDisk(work.path("vm.raw"), 9 * MIB);
	mkdirSync(work.path("vms"));
	writeFileSync(lab.path("there.iso"), Buffer.alloc(65536));
});

const disk = (target: string, bus: string): string =>
	`<disk type="file" device="disk"><source file="/x/0"/><target dev="${target}" bus="${bus}"/></disk>`;
const cdrom = (file: string, target: string): string =>
	`<disk type="file" device="cdrom"><source file="${file}"/><target dev="${target}" bus="sata"/></disk>`;

t.test("fixed by name, and it runs", async (t) => {
	await backUp(
		`<emulator>/usr/libexec/qemu-kvm</emulator>
		${disk("vda", "virtio")}${cdrom("/iso/windows.iso", "sda")}${cdrom(lab.path("there.iso"), "sdb")}
		<disk type="file" device="floppy"><source file="/iso/driver.img"/><target dev="fda"/></disk>
		<hostdev mode="subsystem" type="pci" managed="yes"><source><address domain="0x0000" bus="0x0a" slot="0x10" function="0x0"/></source></hostdev>
		<hostdev mode="subsystem" type="usb"><source><vendor id="0x1234"/><product id="0xbeef"/></source></hostdev>
		<interface type="hostdev" managed="yes"><mac address="52:54:00:aa:bb:01"/><driver name="vfio"/><source><address type="pci" domain="0" bus="10" slot="16" function="1"/></source></interface>
		<filesystem type="mount"><source dir="/no/such"/><target dir="share"/></filesystem>
		<tpm model="tpm-tis"><backend type="passthrough"><device path="/dev/tpm0"/></backend></tpm>
		<serial type="dev"><source path="/dev/ttyS99"/><target port="0"/></serial>`,
		'<type arch="x86_64" machine="pc-q35-rhel9.0.0">hvm</type>',
		'<cputune><vcpupin vcpu="0" cpuset="4000-4003"/><emulatorpin cpuset="0"/></cputune><cpu mode="custom" match="exact" check="partial"><model>Skylake-Server</model><topology sockets="1" cores="1" threads="1"/><feature policy="disable" name="svm"/></cpu>',
		"kvm",
	);
	const { code, words } = await dryRun();
	t.equal(code, 0);
	for (const [n, wanted] of [
		/its processor is emulated, for the host has no KVM/,
		/its machine pc-q35-rhel9.0.0 is not known to the host: it gets q35/,
		/its processor Skylake-Server is not to be had \(.*avx512f.*\): it gets the best that the host has/,
		/it was bound to processors beyond the \d+ of the host: it is bound to none/,
		/its emulator \/usr\/libexec\/qemu-kvm is not on the host/,
		/\/iso\/windows.iso is not on the host: the drive sda is empty/,
		/\/iso\/driver.img is not on the host: the drive fda is empty/,
		/the passed-through PCI device 0000:0a:10.0 is left out/,
		/the passed-through USB device 1234:beef is left out/,
		/the passed-through card 52:54:00:aa:bb:01 becomes an emulated one/,
		/the shared folder \/no\/such is not on the host/,
		/its TPM is the one of its old host, and left out/,
		/the serial port \/dev\/ttyS99 is not on the host/,
	].entries())
		t.match(words[n], wanted);
	t.equal(words.length, 13);
	t.notOk(words.some((one) => !one.startsWith("changed ")));
	t.strictSame(await work.sessions(), [], "nothing was done");
	await work.json(["hosts", "add", "alone", "qemu", `qemu://${work.path("vms")}`]);
	const { findings } = await work.json<Plan>(["recover", "vm", "--host", "alone", "--original-gone", "--dry-run"]);
	t.strictSame(
		findings.filter(({ what }) => what === "host alone").map(({ message }) => message.replace(/ is left out.*/, "")),
		[
			"the drive sda with /iso/windows.iso",
			`the drive sdb with ${lab.path("there.iso")}`,
			"the drive fda with /iso/driver.img",
			"the passed-through PCI device 0000:0a:10.0",
			"the passed-through USB device 1234:beef",
			"the shared folder /no/such",
		],
	);

	const run = await work.cli([...recover, "--wait", "100ms"]);
	t.equal(run.code, 4, run.stderr);
	t.match(run.stderr, /changed: host kvm: .*windows.iso is not on the host/);
	t.equal(lab.virsh("domstate", uuid).trim(), "running");
	const xml = lab.virsh("dumpxml", uuid, "--inactive");
	t.match(xml, new RegExp(`${lab.path("there.iso")}`), "the medium that is there stays");
	t.match(xml, /<cpu mode='maximum'[\s\S]*<topology [\s\S]*<feature policy='disable' name='svm'/);
	t.notMatch(xml, /pin /);
	t.match(xml, /<mac address='52:54:00:aa:bb:01'[\s\S]*<link state='down'/);
	lab.virsh("destroy", uuid);
	t.match(await work.json(["finish", "s", "--discard", "--confirm", "s"]), { session: "s" });
});

t.test("what fits is left alone, and its own emulator is the one that is asked", async (t) => {
	const emulator = "<emulator>/usr/bin/qemu-system-x86_64</emulator>";
	const devices = disk("vda", "virtio") + cdrom(lab.path("there.iso"), "sda");
	const cpu = (model: string) => `<cpu mode="custom" match="exact" check="partial"><model>${model}</model></cpu>`;
	const q35 = '<type arch="x86_64" machine="pc-q35-7.2">hvm</type>';
	await backUp(devices, q35, cpu("qemu64"));
	t.strictSame((await dryRun()).words, []);
	await backUp(emulator + devices, q35, cpu("qemu64"));
	t.strictSame((await dryRun()).words, []);
	await backUp(emulator + devices, q35, cpu("Skylake-Server"));
	t.match((await dryRun()).words, [/its processor Skylake-Server is not to be had/]);
});

t.test("refused by name", async (t) => {
	const uefi = '<type arch="x86_64" machine="q35">hvm</type>';
	const controller = (model: string) => `<controller type="scsi" index="0"${model}/>`;
	for (const [devices, os, words] of [
		[disk("sda", "scsi") + controller(' model="lsilogic"'), uefi, /boots with UEFI from a lsilogic controller, which/],
		[disk("sda", "scsi") + controller(' model="vmpvscsi"'), uefi, /boots with UEFI from a vmpvscsi controller, which/],
		[disk("sda", "scsi"), uefi, /boots with UEFI from a lsilogic controller, which QEMU's firmware does not read: put/],
		[disk("vda", "virtio"), `${uefi}<kernel>/no/vmlinuz</kernel>`, /boots with \/no\/vmlinuz, which the host does not/],
	] as const) {
		await backUp(devices, os, "", "qemu", "efi");
		const { code, plan, words: found } = await dryRun();
		t.match([code, plan.refused, found], [1, true, [words]]);
		const run = await work.cli(recover);
		t.match([run.code, run.stderr], [1, words]);
	}
	await backUp(disk("sda", "scsi") + controller(' model="virtio-scsi"'), uefi, "", "qemu", "efi");
	t.strictSame((await dryRun()).words, []);
});

t.test("a VM of VMware: disks at any unit of each SCSI controller start", async (t) => {
	const controllers = ["lsilogic", "pvscsi", "lsisas1068"];
	const lines = controllers.flatMap((model, n) => [
		`scsi${n}.present = "TRUE"`,
		`scsi${n}.virtualDev = "${model}"`,
		...[0, 3].flatMap((unit) => [
			`scsi${n}:${unit}.present = "TRUE"`,
			`scsi${n}:${unit}.fileName = "${n}-${unit}.vmdk"`,
		]),
	]);
	writeFileSync(
		work.path("vm.vmx"),
		`.encoding = "UTF-8"\ndisplayName = "vm"\nuuid.bios = "00 00 00 00 00 00 00 00-00 00 00 00 00 00 00 f2"\nmemSize = "64"\n${lines.join("\n")}\n`,
	);
	const sources = Array.from({ length: 6 }, () => ["--disk", work.path("vm.raw")]).flat();
	await work.json(["backup", "vm", "--config", work.path("vm.vmx"), ...sources]);
	await work.json([...recover, "--power-off"]);
	const id = "00000000-0000-0000-0000-0000000000f2";
	lab.virsh("start", id, "--paused");
	t.equal(lab.virsh("domstate", id).trim(), "paused");
	lab.virsh("destroy", id);
	await work.json(["finish", "s", "--discard", "--confirm", "s"]);
});
