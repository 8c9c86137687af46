/** The neutral configuration as QEMU's devices: controllers and disks in their order, network cards. */
import type { Bus, Nic, VmConfig, VmDisk } from "../../vm/index.js";
import { HypervisorError } from "../errors.js";
import { deviceId } from "./block-nodes.js";
import { type DefinedDisk, isUri } from "./definition.js";
import { labNetdev } from "./lab-network.js";

const SCSI: Readonly<Record<string, string>> = {
	pvscsi: "pvscsi",
	vmpvscsi: "pvscsi",
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

/** QEMU's device for the SCSI controller of that number. */
export const scsiDriver = ({ controllers }: VmConfig, number: number): string =>
	SCSI[controllers.find((one) => one.bus === "scsi" && one.number === number)?.model ?? ""] ?? "virtio-scsi-pci";

/** A guest whose disk's server is away waits; it never sees an error that ends when the server is back. */
const WAITS = { werror: "stop", rerror: "stop" };

/** One AHCI controller's ports; VMware's has 30. */
const SATA_PORTS = 6;

/**
 * `-device` arguments; disk number i of the configuration uses node `disk-i`. The configuration's order is that of
 * booting; devices are made in the order of controllers and units, by which a guest numbers them.
 */
export const diskDevices = (config: VmConfig, defined: Record<string, DefinedDisk>): object[] => {
	const controllers = new Map<string, object>();
	const namespaces = new Map<number, string>();
	const disks = inPlace(config).map(({ disk: { name, bus, controller, unit }, index }) => {
		const policy = bus !== "nvme" && isUri(defined[name!].source) ? WAITS : {};
		const common = { id: deviceId(index), drive: `disk-${index}`, bootindex: index + 1, ...policy };
		const on = `${bus}-${controller}`;
		switch (bus) {
			case "virtio":
				return { driver: "virtio-blk-pci", ...common };
			case "nvme": {
				// The first is the controller, too: QEMU does not tell firmware how to boot from the others.
				const first = namespaces.get(controller);
				if (first !== undefined) return { driver: "nvme-ns", bus: first, nsid: unit + 1, ...common };
				namespaces.set(controller, common.id);
				return { driver: "nvme", serial: on, ...common };
			}
			case "scsi": {
				controllers.set(on, { driver: scsiDriver(config, controller), id: on });
				return { driver: "scsi-hd", bus: `${on}.0`, "scsi-id": unit, ...common };
			}
			case "sata": {
				const more = Math.floor(unit / SATA_PORTS);
				const id = more === 0 ? on : `${on}-${more}`;
				controllers.set(id, { driver: "ahci", id });
				return { driver: "ide-hd", bus: `${id}.${unit % SATA_PORTS}`, ...common };
			}
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

/** Controllers as the source lists them, then the others by bus and number; `index` is the place in the order of booting. */
const inPlace = ({ controllers, disks }: VmConfig): { disk: VmDisk; index: number }[] => {
	const rank = ({ bus, controller }: VmDisk): number => {
		const listed = controllers.findIndex((one) => one.bus === bus && one.number === controller);
		return listed < 0 ? controllers.length : listed;
	};
	const byBus = (a: Bus, b: Bus): number => (a === b ? 0 : a < b ? -1 : 1);
	return disks
		.map((disk, index) => ({ disk, index }))
		.sort(
			({ disk: a }, { disk: b }) =>
				rank(a) - rank(b) || byBus(a.bus, b.bus) || a.controller - b.controller || a.unit - b.unit,
		);
};

const refuseBus = (bus: never): never => {
	throw new HypervisorError("UNSUPPORTED", `disks on bus ${String(bus as Bus)} are not supported by QEMU`);
};

/**
 * `-netdev` and `-device` arguments. `user` is QEMU's own network, `bridge:NAME` a bridge of the host, `lab:…` and
 * `restricted:…` a network of a lab (lab-network.ts); a card of another network, or none, has no link.
 */
export const networkCards = (uuid: string, nics: Nic[]): { netdevs: object[]; devices: object[] } => {
	const netdevs: object[] = [];
	const devices = nics.map(({ mac, model, network, connected }, index) => {
		const id = `net-${index}`;
		const bridge = /^bridge:(.+)$/.exec(network ?? "")?.[1];
		const lab = connected && network !== null ? labNetdev(uuid, index, network) : undefined;
		if (lab !== undefined) netdevs.push({ ...lab, id });
		else if (connected && network === "user") netdevs.push({ type: "user", id });
		else if (connected && bridge !== undefined) netdevs.push({ type: "bridge", id, br: bridge });
		else netdevs.push({ type: "hubport", id, hubid: index + 1000 });
		return { driver: CARDS[model ?? ""] ?? "virtio-net-pci", netdev: id, id: `nic-${index}`, ...(mac ? { mac } : {}) };
	});
	return { netdevs, devices };
};
