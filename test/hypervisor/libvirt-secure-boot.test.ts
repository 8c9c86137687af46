/**
 * A VM with Secure Boot, a TPM and five disks in odd order on three controllers of libvirt is made anew from its backup, and
 * boots: with each disk in its place. The long run (SPRINGBACK_LONG) boots the original first, and has it keep a boot entry
 * and a secret, which must come back.
 */
import { chmodSync, copyFileSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import t from "tap";
import { uefiImage } from "../../scripts/lab/guests.js";
import { enterNamespace } from "../../scripts/lab/namespace.js";
import { MIB } from "./content.js";
import { LibvirtLab } from "./libvirt-lab.js";
import { loadOption, readVariable, tpmRead, tpmWrite, writeVariable } from "./uefi-guest.js";

const image = uefiImage();
await enterNamespace(import.meta.url);
const lab = await LibvirtLab.start();
t.teardown(() => lab.close());
const long = Boolean(process.env.SPRINGBACK_LONG);
const uuid = "00000000-0000-0000-0000-000000000005";
const SECRET = Buffer.from("sealed!!");
const BOOT_MS = 180_000;

/** In the order of booting, which is neither that of names nor that of places. */
const disks = [
	{ name: "sdc", bus: "scsi", controller: 1, unit: 2 },
	{ name: "sde", bus: "sata", controller: 0, unit: 4 },
	{ name: "sda", bus: "scsi", controller: 0, target: 1, unit: 0 },
	{ name: "sdb", bus: "sata", controller: 0, unit: 0 },
	{ name: "sdd", bus: "scsi", controller: 1, unit: 0 },
];
const [system] = disks;

const define = (name: string, folder: string): void => {
	const lines = disks.map(
		({ name: disk, bus, controller, target = 0, unit }, n) =>
			`<disk type="file" device="disk"><driver name="qemu" type="raw"/><source file="${folder}/${disk}.raw"/><target dev="${disk}" bus="${bus}"/><boot order="${n + 1}"/><address type="drive" controller="${controller}" bus="0" target="${target}" unit="${unit}"/></disk>`,
	);
	// In an order that is not the boot order either.
	lines.sort();
	const feature = (feature: string) => `<feature enabled="yes" name="${feature}"/>`;
	lab.define(name, uuid, [], {
		os: `<os firmware="efi"><type arch="x86_64" machine="q35">hvm</type><firmware>${feature("secure-boot")}${feature("enrolled-keys")}</firmware></os>`,
		features: '<smm state="on"/>',
		devices: `<controller type="scsi" index="0" model="vmpvscsi"/><controller type="scsi" index="1" model="virtio-scsi"/>${lines.join("")}
		<serial type="unix"><source mode="bind" path="${folder}/console.sock"/><log file="${folder}/console.log"/><target port="0"/></serial>
		<tpm model="tpm-crb"><backend type="emulator" version="2.0"/></tpm>`,
	});
};

/** Driver and place of each disk, and what it begins with (of the system's disk, the mark of its GPT). */
const disksSeen = async (): Promise<string[]> => {
	const lines = await lab.shell(
		"vm",
		`for d in /sys/block/sd*; do p=$(readlink -f $d); a=$(echo $p | grep -o "ata[0-9]*" | head -n 1); c=$(echo $p | grep -o "0000:[0-9a-f:.]*" | tail -n 1); echo "$(basename $(readlink -f /sys/bus/pci/devices/$c/driver)) $([ -z "$a" ] && basename $(dirname $(dirname $p)) | cut -d: -f3,4 || cat /sys/class/ata_port/$a/port_no) $(dd if=/dev/$(basename $d) bs=512 skip=1 count=1 2>/dev/null | head -c 8)"; done | sort`,
	);
	return lines
		.trim()
		.split("\n")
		.map((line) => line.trim());
};

t.test("made anew from its backup, it boots with all it had", { timeout: 500_000 }, async (t) => {
	const host = lab.host();
	const folder = lab.path("vm");
	mkdirSync(folder);
	// For QEMU's user, who makes the socket of its console there.
	chmodSync(folder, 0o777);
	for (const { name } of disks) {
		const file = lab.path("vm", `${name}.raw`);
		if (name === system.name) copyFileSync(image, file);
		else writeFileSync(file, Buffer.concat([Buffer.alloc(512), Buffer.from(name.padEnd(8)), Buffer.alloc(MIB - 520)]));
	}
	define("vm", folder);
	const guest = (command: string) => lab.shell("vm", command, BOOT_MS);
	if (long) {
		await host.power(uuid, "on");
		for (const command of tpmWrite(SECRET)) t.match(await guest(command), /^8002........00000000/);
		// From now on it boots by its boot entry only.
		const entry = loadOption(lab.path("vm", `${system.name}.raw`), "\\EFI\\debian\\shimx64.efi");
		await guest(writeVariable("Boot0077", entry));
		await guest(writeVariable("BootOrder", Buffer.from([0x77, 0])));
		await guest(
			"d=$(ls /sys/block/*/*1/partition | cut -d/ -f5); mount -t vfat /dev/$d /mnt && rm -r /mnt/EFI/BOOT && umount /mnt",
		);
		await host.power(uuid, "off");
		// What the guest says from here on is the new one's.
		rmSync(lab.path("vm", "console.log"));
	} else {
		// Firmware and TPM make what they keep.
		lab.virsh("start", uuid, "--paused");
		lab.virsh("destroy", uuid);
	}
	const { config, files } = await host.readConfig(uuid);
	t.match(config, { firmware: "uefi", secureBoot: true, tpm: true, notes: [] });
	t.strictSame(
		config.disks.map(({ name }) => name),
		disks.map(({ name }) => name),
		"in the order of booting",
	);
	t.strictSame(await host.problems(config, files), []);
	t.strictSame(await host.changes(config, files), []);
	lab.virsh("undefine", uuid, "--nvram", "--tpm");
	await host.register({
		name: "back",
		config,
		disks: disks.map(({ name }) => ({ name, source: lab.path("vm", `${name}.raw`), format: "raw" })),
		networks: {},
		session: "s",
		files,
	});
	const began = Date.now();
	await host.power(uuid, "on");
	t.equal(await guest(readVariable("SecureBoot")), "01");
	t.comment(`up after ${Math.round((Date.now() - began) / 1000)} s`);
	t.match(await guest("dmesg | grep locked"), /Kernel is locked down from EFI Secure Boot/);
	t.equal(await guest("cat /sys/class/tpm/tpm0/tpm_version_major"), "2\n");
	if (long) {
		t.equal(await guest(readVariable("BootCurrent")), "7700", "by the entry that its NVRAM kept");
		t.match(await guest(tpmRead(SECRET.length)), new RegExp(SECRET.toString("hex")));
	}
	t.strictSame(
		await disksSeen(),
		// Ports of AHCI count from one; on SCSI it is target and LUN.
		["ahci 1 sdb", "ahci 5 sde", "virtio-pci 0:0 sdd", "virtio-pci 0:2 EFI PART", "vmw_pvscsi 1:0 sda"],
		"controllers by their kind, disks at their places",
	);
	await host.power(uuid, "off");
	await host.unregister(uuid);
});
