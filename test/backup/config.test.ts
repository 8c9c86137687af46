/** What of a VM's configuration goes into the restore point. */
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import t from "tap";
import { readConfig } from "../../src/backup/index.js";
import { vmConfigFrom } from "../../src/vm/index.js";
import { lab, noise, sparseFile } from "./lab.js";

const M = 1024 * 1024;

const VMX = `.encoding = "UTF-8"
displayName = "Büro |22x|22"
firmware = "efi"
memSize = "4096"
numvcpus = "4"
nvram = "vm.nvram"
scsi0.present = "TRUE"
scsi0.virtualDev = "pvscsi"
scsi0:0.present = "TRUE"
scsi0:0.fileName = "sys.vmdk"
scsi0:1.present = "TRUE"
scsi0:1.fileName = "data.raw"
`;

t.test("a .vmx, its NVRAM, and which disk is which", async (t) => {
	const { path, repository, backup } = await lab(t);
	writeFileSync(path("vm.vmx"), VMX);
	writeFileSync(path("vm.nvram"), noise(9, 1000));
	sparseFile(path("data.raw"), M, [{ at: 0, data: noise(1, 1000) }]);
	sparseFile(path("other.raw"), M, [{ at: 0, data: noise(2, 1000) }]);
	const report = await backup("vm", [path("data.raw"), path("other.raw")], path("vm.vmx"));
	t.same(report.notes, []);
	const point = await repository.resolve("vm");
	const config = vmConfigFrom(point.config)!;
	t.match(config, { name: 'Büro "x"', firmware: "uefi", memoryMiB: 4096, cpus: 4, nvram: "nvram", source: "vmx" });
	t.match(config.disks, [
		{ unit: 0, path: "sys.vmdk", name: "disk1" },
		{ unit: 1, path: "data.raw", name: "disk0" },
	]);
	t.same(point.files, [
		{ name: "config.vmx", size: Buffer.byteLength(VMX) },
		{ name: "nvram", size: 1000 },
	]);
	t.ok((await repository.extraFile(point, "config.vmx")).equals(readFileSync(path("vm.vmx"))));
	t.ok((await repository.extraFile(point, "nvram")).equals(noise(9, 1000)));
});

t.test("NVRAM is only read from the configuration's own folder", async (t) => {
	const { path } = await lab(t);
	mkdirSync(path("vm"));
	writeFileSync(path("secret"), "secret");
	const read = (nvram: string) => {
		writeFileSync(path("vm/a.vmx"), `nvram = "${nvram}"\nmemSize = "1024"\n`);
		return readConfig(path("vm/a.vmx"));
	};
	for (const name of ["../secret", path("secret"), "gone", "..", "/"]) {
		const { config, files } = read(name);
		t.equal(files.length, 1, name);
		t.equal(config.nvram, null);
		t.match(config.notes, [/is not beside the configuration/]);
	}
	symlinkSync("../secret", path("vm/link"));
	t.throws(() => read("link"), { message: /vm\/link: too many symbolic links/ });
	writeFileSync(path("vm/OVMF_VARS.fd"), "vars");
	writeFileSync(
		path("vm/a.xml"),
		"<domain><name>x</name><os><nvram>/var/lib/libvirt/qemu/nvram/OVMF_VARS.fd</nvram></os></domain>",
	);
	t.equal(readConfig(path("vm/a.xml")).files[1].content.toString(), "vars", "libvirt names it elsewhere; it is here");
});

t.test("wrong configurations: one line that names the file", async (t) => {
	const { path, backup, repository } = await lab(t);
	sparseFile(path("a.raw"), M, []);
	writeFileSync(path("a.vmx"), "what = is = this\n");
	writeFileSync(path("a.xml"), "<domain>");
	for (const [file, why] of [
		["a.vmx", /a\.vmx: \.vmx line 1 is not of the form/],
		["a.xml", /a\.xml: domain XML, line \d+/],
		["gone.vmx", /gone\.vmx: no such file/],
		["a.raw", /name a \.vmx file or a libvirt domain \.xml file/],
	] as const)
		await t.rejects(backup("vm", [path("a.raw")], path(file)), { name: "SourceError", message: why });
	t.same(await repository.points(), []);
});

t.test("without one the firmware is guessed, and the guess is in the point", async (t) => {
	const { path, repository, backup } = await lab(t);
	const mbr = Buffer.alloc(512);
	mbr.set([0xeb, 0x63], 0);
	mbr.writeUInt16LE(0xaa55, 510);
	sparseFile(path("data.raw"), M, []);
	sparseFile(path("boot.raw"), M, [{ at: 0, data: mbr }]);
	const report = await backup("vm", [path("data.raw"), path("boot.raw")]);
	t.match(report.notes, [/firmware bios guessed: disk1: MBR with boot code/]);
	t.match((await repository.resolve("vm")).config, {
		firmware: "bios",
		source: "guess",
		name: "vm",
		notes: report.notes,
	});
});
