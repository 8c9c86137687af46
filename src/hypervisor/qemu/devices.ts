/** The neutral configuration as QEMU's devices: controllers and disks in their order, network cards. */
import type { Bus, Nic, VmConfig } from "../../vm/index.js";
import { HypervisorError } from "../errors.js";
import { deviceId } from "./block-nodes.js";
import { type DefinedDisk, isUri } from "./definition.js";

const SCSI: Readonly<Record<string, string>> = {
	pvscsi: "pvscsi",
	lsilogic: "lsi53c895a",
	buslogic: "lsi53c895a",
	lsisas1068: "mptsas1068",
};
const CARDS: Readonly<Record<string, string>> = {
	vmxnet3: "vmxnet3",
	e1000: "e1000",
	e1000e: "e1000e",
	rtl8139: "rtl8139",
	virtio: "virtio-net-pci",
};

/** A guest whose disk's server is away waits; it never sees an error that ends when the server is back. */
const WAITS = { werror: "stop", rerror: "stop" };

/** `-device` arguments; disk number i of the configuration uses node `disk-i`. */
export const diskDevices = (config: VmConfig, defined: Record<string, DefinedDisk>): object[] => {
	const controllers = new Map<string, object>();
	const disks = config.disks.map(({ name, bus, controller, unit }, index) => {
		const policy = bus !== "nvme" && isUri(defined[name!].source) ? WAITS : {};
		const common = { id: deviceId(index), drive: `disk-${index}`, bootindex: index + 1, ...policy };
		const on = `${bus}-${controller}`;
		switch (bus) {
			case "virtio":
				return { driver: "virtio-blk-pci", ...common };
			case "nvme":
				return { driver: "nvme", serial: `disk${index}`, ...common };
			case "scsi": {
				const model = config.controllers.find((one) => one.bus === bus && one.number === controller)?.model ?? "";
				controllers.set(on, { driver: SCSI[model] ?? "virtio-scsi-pci", id: on });
				return { driver: "scsi-hd", bus: `${on}.0`, "scsi-id": unit, ...common };
			}
			case "sata":
				controllers.set(on, { driver: "ahci", id: on });
				return { driver: "ide-hd", bus: `${on}.${unit}`, ...common };
			case "ide":
				return { driver: "ide-hd", bus: `ide.${controller}`, unit, ...common };
			case "usb":
				controllers.set(on, { driver: "qemu-xhci", id: on });
				return { driver: "usb-storage", bus: `${on}.0`, ...common };
			default:
				return refuseBus(bus);
		}
	});
	return [...controllers.values(), ...disks];
};

const refuseBus = (bus: never): never => {
	throw new HypervisorError("UNSUPPORTED", `disks on bus ${String(bus as Bus)} are not supported by QEMU`);
};

/**
 * `-netdev` and `-device` arguments. `user` is QEMU's own network, `bridge:NAME` a bridge of the host; a card of another
 * network, or none, has no link.
 */
export const networkCards = (nics: Nic[]): { netdevs: object[]; devices: object[] } => {
	const netdevs: object[] = [];
	const devices = nics.map(({ mac, model, network, connected }, index) => {
		const id = `net-${index}`;
		const bridge = /^bridge:(.+)$/.exec(network ?? "")?.[1];
		if (connected && network === "user") netdevs.push({ type: "user", id });
		else if (connected && bridge !== undefined) netdevs.push({ type: "bridge", id, br: bridge });
		else netdevs.push({ type: "hubport", id, hubid: index + 1000 });
		return { driver: CARDS[model ?? ""] ?? "virtio-net-pci", netdev: id, id: `nic-${index}`, ...(mac ? { mac } : {}) };
	});
	return { netdevs, devices };
};
