/** A libvirt domain from nothing but the neutral configuration: for VMs that come from elsewhere. */
import type { DomainChanges } from "./domain-xml-write.js";
import type { Bus, VmConfig, VmDisk } from "./model.js";
import { type Node, node, writeNodes } from "./xml-tree.js";

/** Disks, networks and identity are set afterwards, as in an original. */
export function newDomain({ config, type }: DomainChanges): string {
	const uefi = config.firmware === "uefi";
	const q35 = uefi || config.disks.some(({ bus }) => bus === "sata" || bus === "nvme");
	const secure = uefi && config.secureBoot;
	const flag = (name: string, on: boolean) => node("feature", { enabled: on ? "yes" : "no", name });
	return writeNodes([
		node("domain", { type }, [
			node("memory", { unit: "MiB" }, String(config.memoryMiB)),
			node("vcpu", {}, String(config.cpus)),
			node("os", uefi ? { firmware: "efi" } : {}, [
				node("type", { arch: "x86_64", machine: q35 ? "q35" : "pc" }, "hvm"),
				...(uefi ? [node("firmware", {}, [flag("secure-boot", secure), flag("enrolled-keys", secure)])] : []),
			]),
			node("features", {}, [node("acpi", {}), node("apic", {}), ...(secure ? [node("smm", { state: "on" })] : [])]),
			node("cpu", { mode: type === "kvm" ? "host-model" : "maximum" }, topology(config)),
			node("clock", { offset: "utc" }),
			node("devices", {}, [
				...controllers(config),
				...disks(config),
				...config.nics.map(({ model }) =>
					node("interface", { type: "user" }, [node("model", { type: CARDS.get(model ?? "") ?? "e1000" })]),
				),
				node("channel", { type: "unix" }, [node("target", { type: "virtio", name: "org.qemu.guest_agent.0" })]),
				node("graphics", { type: "vnc", autoport: "yes", listen: "127.0.0.1" }),
				node("video", {}, [node("model", { type: "vga" })]),
				...(config.tpm
					? [node("tpm", { model: "tpm-crb" }, [node("backend", { type: "emulator", version: "2.0" })])]
					: []),
			]),
		]),
	]);
}

/** Network cards that QEMU has, by the names that sources use. */
const CARDS: ReadonlyMap<string, string> = new Map(
	["virtio", "e1000", "e1000e", "vmxnet3", "rtl8139"].map((name) => [name, name]),
).set("virtio-net", "virtio");

const SCSI: ReadonlyMap<string, string> = new Map([
	["pvscsi", "vmpvscsi"],
	["vmpvscsi", "vmpvscsi"],
	["lsilogic", "lsilogic"],
	["lsisas1068", "lsisas1068"],
]);

/** libvirt's model for a SCSI controller of a neutral configuration. */
export const scsiModel = ({ controllers }: VmConfig, number: number): string =>
	SCSI.get(controllers.find((one) => one.bus === "scsi" && one.number === number)?.model ?? "") ?? "virtio-scsi";

function topology({ cpus, coresPerSocket: cores }: VmConfig): Node[] {
	if (cores === null || cores < 1 || cpus % cores !== 0) return [];
	return [node("topology", { sockets: String(cpus / cores), cores: String(cores), threads: "1" })];
}

function controllers(config: VmConfig): Node[] {
	const numbers = [...new Set(config.disks.filter(({ bus }) => bus === "scsi").map(({ controller }) => controller))];
	return numbers.map((number) =>
		node("controller", { type: "scsi", index: String(number), model: scsiModel(config, number) }),
	);
}

/** libvirt has no NVMe controller for such disks before version 11: guests with NVMe know AHCI, too. */
const BUS: Readonly<Record<Bus, string>> = {
	virtio: "virtio",
	scsi: "scsi",
	sata: "sata",
	nvme: "sata",
	ide: "ide",
	usb: "usb",
};
const LETTER: Readonly<Record<string, string>> = { virtio: "v", ide: "h" };

function disks(config: VmConfig): Node[] {
	const used = new Map<string, number>();
	return config.disks.map((disk, order) => {
		const bus = BUS[disk.bus];
		const kind = LETTER[bus] ?? "s";
		const number = used.get(kind) ?? 0;
		used.set(kind, number + 1);
		return node("disk", { type: "file", device: "disk" }, [
			node("target", { dev: `${kind}d${letters(number)}`, bus }),
			node("boot", { order: String(order + 1) }),
			...address(disk, config),
		]);
	});
}

/**
 * Places on a SCSI controller are the guest's to see; unit 7 is a controller of VMware's own, and never a disk's. What is
 * a unit to libvirt is a LUN to these, which have only one for each target.
 */
const BY_TARGET: readonly string[] = ["vmpvscsi", "lsisas1068"];

function address({ bus, controller, unit }: VmDisk, config: VmConfig): Node[] {
	if (bus !== "scsi") return [];
	const [target, lun] = BY_TARGET.includes(scsiModel(config, controller)) ? [unit, 0] : [0, unit];
	const place = { controller: String(controller), bus: "0", target: String(target), unit: String(lun) };
	return [node("address", { type: "drive", ...place })];
}

/** 0 → "a", 26 → "aa" */
function letters(number: number): string {
	const letter = String.fromCharCode(97 + (number % 26));
	return number < 26 ? letter : letters(Math.floor(number / 26) - 1) + letter;
}
