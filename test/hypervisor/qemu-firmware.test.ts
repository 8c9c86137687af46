/**
 * A VM with UEFI, Secure Boot, a TPM and five disks in odd order is backed up while it runs, made anew on another host,
 * and boots: by the boot entry that its NVRAM kept, with what its TPM kept, and each disk in its place.
 */
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { uefiImage } from "../../scripts/lab/guests.js";
import { TPM_STATE, type VmDescription } from "../../src/hypervisor/contract.js";
import { vmConfigFrom } from "../../src/vm/index.js";
import { contentOf, MIB } from "./content.js";
import { QemuLab } from "./qemu-lab.js";
import { loadOption, readVariable, tpmRead, tpmWrite, writeVariable } from "./uefi-guest.js";

const source = new QemuLab();
const elsewhere = new QemuLab();
t.teardown(async () => {
	await source.close();
	await elsewhere.close();
});
const id = "33333333-4444-5555-6666-777777777777";
const SECRET = Buffer.from("sealed!!");
const BOOT_MS = 180_000;

const place = (name: string, bus: string, controller: number, unit: number) => ({ name, bus, controller, unit });
/** In the order of booting, which is neither that of names nor that of places. */
const disks = [
	place("system", "scsi", 1, 2),
	place("d4", "sata", 0, 4),
	place("d0", "scsi", 0, 1),
	place("d3", "sata", 0, 0),
	place("d1", "scsi", 1, 0),
];
const controllers = [
	{ bus: "sata", number: 0, model: "ahci" },
	{ bus: "scsi", number: 0, model: "pvscsi" },
	{ bus: "scsi", number: 1, model: "virtio-scsi" },
];

/** Driver, address and place of each disk, and what it begins with (of the system's disk, the mark of its GPT). */
const disksSeen = async (lab: QemuLab, name: string): Promise<string[]> => {
	const lines = await lab.shell(
		name,
		`for d in /sys/block/sd*; do p=$(readlink -f $d); a=$(echo $p | grep -o "ata[0-9]*"); c=$(echo $p | grep -o "0000:00:[0-9a-f.]*"); echo "$p $(basename $(readlink -f /sys/bus/pci/devices/$c/driver)) $c $([ -z "$a" ] || cat /sys/class/ata_port/$a/port_no) $(dd if=/dev/$(basename $d) bs=512 skip=1 count=1 2>/dev/null | head -c 8)"; done`,
	);
	return lines
		.trim()
		.split("\n")
		.map((line) => {
			const match = /target\d+:0:(\d+)\/\S+ (\S+) (\S+) (\d*) (.*)$/.exec(line);
			if (match === null) throw new Error(`not a disk: ${line}`);
			const [, target, driver, address, port, content] = match.map((text) => text.trim());
			return `${address} ${driver} ${port === "" ? target : Number(port) - 1} ${content}`;
		})
		.sort();
};

const alive = (pid: number): boolean => {
	try {
		process.kill(pid, 0);
		return true;
	} catch {
		return false;
	}
};

let seen: string[];
let description: VmDescription;

t.test("made, and backed up while it runs", async (t) => {
	mkdirSync(source.path("vm"));
	for (const { name } of disks) {
		const file = source.path("vm", `${name}.raw`);
		if (name === "system") copyFileSync(uefiImage(), file);
		else writeFileSync(file, Buffer.concat([Buffer.alloc(512), Buffer.from(name.padEnd(8)), Buffer.alloc(MIB - 520)]));
	}
	source.define(
		"vm",
		id,
		Object.fromEntries(disks.map(({ name }) => [name, { source: `${name}.raw`, format: "raw" }])),
		{},
		{ firmware: "uefi", secureBoot: true, tpm: true, memoryMiB: 384, controllers, disks },
	);
	const host = source.host();
	t.strictSame(await host.problems((await host.readConfig(id)).config), []);
	t.strictSame((await host.readConfig(id)).files, [], "it has none before it was on");
	await host.power(id, "on");
	const guest = (command: string) => source.shell("vm", command, BOOT_MS);
	t.equal(await guest(readVariable("SecureBoot")), "01");
	t.match(await guest("dmesg | grep locked"), /Kernel is locked down from EFI Secure Boot/);
	t.equal(await guest("cat /sys/class/tpm/tpm0/tpm_version_major"), "2\n");
	for (const command of tpmWrite(SECRET)) t.match(await guest(command), /^8002........00000000/);
	// From now on it boots by its boot entry only.
	const entry = loadOption(source.path("vm/system.raw"), "\\EFI\\debian\\shimx64.efi");
	await guest(writeVariable("Boot0077", entry));
	await guest(writeVariable("BootOrder", Buffer.from([0x77, 0])));
	await guest(
		"d=$(ls /sys/block/*/*1/partition | cut -d/ -f5); mount -t vfat /dev/$d /mnt && rm -r /mnt/EFI/BOOT && umount /mnt",
	);
	seen = await disksSeen(source, "vm");
	t.strictSame(
		seen.map((line) => line.replace(/^\S+ /, "")),
		["ahci 0 d3", "ahci 4 d4", "vmw_pvscsi 1 d0", "virtio-pci 0 d1", "virtio-pci 2 EFI PART"],
		"controllers as they are listed, disks at their units",
	);
	const snapshot = await host.snapshot(id);
	description = await host.readConfig(id);
	for (const { name } of disks) {
		const { image } = await host.openDisk(snapshot, name);
		writeFileSync(elsewhere.path(`${name}.raw`), await contentOf(image));
		await image.close();
	}
	await host.removeSnapshot(snapshot);
	t.match(description.files, [{ name: "nvram.fd" }, { name: TPM_STATE }]);
	await host.power(id, "off");
	t.notOk(existsSync(source.path("vm/.springback/tpm.pid")), "its TPM ended");
});

t.test("made anew elsewhere: it boots, and has all of it", async (t) => {
	const host = elsewhere.host();
	const { config, files } = description;
	t.equal(config.nvram, "nvram.fd");
	await host.register({
		name: "copy",
		config: vmConfigFrom(JSON.parse(JSON.stringify(config)))!,
		disks: disks.map(({ name }) => ({ name, source: elsewhere.path(`${name}.raw`), format: "raw" })),
		networks: {},
		session: "a-session",
		files,
	});
	t.strictSame((await host.readConfig("copy")).files, files);
	await host.power("copy", "on");
	const guest = (command: string) => elsewhere.shell("copy", command, BOOT_MS);
	t.equal(await guest(readVariable("BootCurrent")), "7700", "by the entry that its NVRAM kept");
	t.equal(await guest(readVariable("SecureBoot")), "01");
	t.match(await guest(tpmRead(SECRET.length)), new RegExp(SECRET.toString("hex")));
	t.strictSame(await disksSeen(elsewhere, "copy"), seen);
	const tpm = Number(readFileSync(elsewhere.path("copy/.springback/tpm.pid"), "latin1"));
	process.kill(elsewhere.pid("copy")!, "SIGKILL");
	for (let waited = 0; alive(tpm); waited += 20) {
		if (waited > 10_000) throw new Error("the TPM outlives its QEMU");
		await sleep(20);
	}
	t.strictSame(await host.cleanUp(), []);
	await host.unregister("copy");
	t.notOk(existsSync(elsewhere.path("copy")), "nothing stays but its disks");
});
