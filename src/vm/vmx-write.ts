/**
 * The `.vmx` of a published VM: the original with what must not survive a recovery taken out and our disks put
 * in, or a sane one made from the model.
 */
import { vmwareUuid } from "./identifiers.js";
import { type Bus, DEFAULT_CPUS, DEFAULT_MEMORY_MIB, type Nic, type VmConfig } from "./model.js";
import { VmxDictionary } from "./vmx-dictionary.js";
import { devicesOf, isDisk } from "./vmx-read.js";

export interface PublishedDisk {
	/** name in the restore point */
	name: string;
	/** descriptor's file name in the published folder */
	file: string;
}

export interface PublishedVmx {
	/** shown name */
	name: string;
	/** undefined: the point has no configuration */
	config: VmConfig | undefined;
	/** the `.vmx` as backed up */
	original?: Uint8Array;
	/** every disk of the point, in its order */
	disks: PublishedDisk[];
	/** the NVRAM's file name in the published folder, when the point has one */
	nvram?: string;
	/** "keep": same identity as the original; "create": a copy with an identity of its own */
	uuidAction: "keep" | "create";
	/** source network → network of the target host; a NIC whose network is not in it starts disconnected */
	networks?: ReadonlyMap<string, string>;
}

/** Hardware version 13 (ESXi 6.5): the oldest with secure boot and NVMe, and every supported host runs it. */
const HARDWARE_VERSION = "13";

/** State of the old place: snapshots, suspend, vMotion, swap, change tracking, files that are not published. */
const STALE =
	/^(migrate\.|checkpoint\.|snapshot\.|vmotion\.|sched\.swap\.derivedname$|sched\.swap\.dir$|workingdir$|extendedconfigfile$|uuid\.location$|log\.filename$|vmxstats\.filename$|(.+\.)?ctkenabled$|.+\.redo$|fileSearchPath$|suspend\.directory$)/i;

/** Throws ConfigError when `original` does not parse. */
export function publishedVmx(options: PublishedVmx): string {
	const vmx = options.original ? fromOriginal(options, VmxDictionary.parse(options.original)) : synthesized(options);
	vmx.set("displayName", options.name);
	vmx.set("uuid.action", options.uuidAction);
	if (options.nvram) vmx.set("nvram", options.nvram);
	else vmx.delete("nvram");
	return vmx.toString();
}

function fromOriginal(options: PublishedVmx, vmx: VmxDictionary): VmxDictionary {
	for (const key of vmx.keys()) if (STALE.test(key)) vmx.delete(key);
	const waiting = new Map(options.disks.map((disk) => [disk.name, disk]));
	for (const { prefix, bus, controller, unit } of devicesOf(vmx)) {
		if (!isDisk(vmx, prefix)) {
			// A CD image or host drive of the old place: there, but empty.
			if (vmx.flag(`${prefix}.present`)) vmx.set(`${prefix}.startConnected`, "FALSE");
			continue;
		}
		const known = options.config?.disks.find((d) => d.bus === bus && d.controller === controller && d.unit === unit);
		const disk = waiting.get(known?.name ?? "");
		if (disk) {
			vmx.set(`${prefix}.fileName`, disk.file);
			waiting.delete(disk.name);
		} else vmx.set(`${prefix}.present`, "FALSE");
	}
	for (const disk of waiting.values()) addDisk(vmx, disk, "scsi", 0, undefined, scsiModel(options.config));
	for (const key of vmx.keys()) {
		const port = /^((?:serial|parallel|floppy)\d+)\.present$/.exec(key)?.[1];
		if (port && vmx.flag(key)) vmx.set(`${port}.startConnected`, "FALSE");
		const nic = /^(ethernet\d+)\.present$/.exec(key)?.[1];
		if (nic && vmx.flag(key)) connect(vmx, nic, vmx.get(`${nic}.networkName`) ?? null, options.networks);
	}
	return vmx;
}

function synthesized(options: PublishedVmx): VmxDictionary {
	const { config } = options;
	const vmx = new VmxDictionary();
	vmx.set("config.version", "8");
	vmx.set("virtualHW.version", HARDWARE_VERSION);
	vmx.set("guestOS", guestOs(config));
	// Hosts want a multiple of 4 MiB.
	vmx.set("memSize", String(Math.max(4, Math.ceil((config?.memoryMiB ?? DEFAULT_MEMORY_MIB) / 4) * 4)));
	const cpus = Math.max(1, config?.cpus ?? DEFAULT_CPUS);
	vmx.set("numvcpus", String(cpus));
	const cores = config?.coresPerSocket;
	if (cores && cpus % cores === 0) vmx.set("cpuid.coresPerSocket", String(cores));
	if (config?.firmware === "uefi") {
		vmx.set("firmware", "efi");
		if (config.secureBoot) vmx.set("uefi.secureBoot.enabled", "TRUE");
	}
	if (config?.uuid) vmx.set("uuid.bios", vmwareUuid(Buffer.from(config.uuid.replaceAll("-", ""), "hex")));
	// PCI Express slots for paravirtual adapters: one bridge for PCI, four root ports of eight functions.
	vmx.set("pciBridge0.present", "TRUE");
	for (const n of [4, 5, 6, 7]) {
		vmx.set(`pciBridge${n}.present`, "TRUE");
		vmx.set(`pciBridge${n}.virtualDev`, "pcieRootPort");
		vmx.set(`pciBridge${n}.functions`, "8");
	}
	vmx.set("vmci0.present", "TRUE");
	vmx.set("hpet0.present", "TRUE");
	for (const disk of options.disks) {
		const known = config?.disks.find((d) => d.name === disk.name);
		const native = known && known.bus !== "virtio" && known.bus !== "usb";
		const model = config?.controllers.find((c) => c.bus === "scsi" && c.number === known?.controller)?.model;
		const scsi = model && SCSI_MODELS.has(model) ? model : scsiModel(config);
		if (native) addDisk(vmx, disk, known.bus, known.controller, known.unit, scsi);
		else addDisk(vmx, disk, "scsi", 0, undefined, scsiModel(config));
	}
	for (const [i, nic] of (config?.nics ?? []).slice(0, 10).entries())
		addNic(vmx, `ethernet${i}`, nic, options.networks);
	return vmx;
}

const SCSI_MODELS = new Set(["pvscsi", "lsilogic", "lsisas1068", "buslogic"]);
const NIC_MODELS = new Set(["vmxnet3", "e1000", "e1000e", "vmxnet2", "vlance"]);
/** Places on a controller; SCSI unit 7 is the controller itself. */
const UNITS: Partial<Record<Bus, number>> = { scsi: 16, sata: 30, ide: 2, nvme: 15 };

const isWindows = (config: VmConfig | undefined): boolean =>
	/^(win|.*windows|.*microsoft)/i.test(config?.guestOs ?? "");

/** Linux kernels carry pvscsi; Windows installs only the LSI SAS driver by itself. */
const scsiModel = (config: VmConfig | undefined): string => (isWindows(config) ? "lsisas1068" : "pvscsi");

function guestOs(config: VmConfig | undefined): string {
	if (config?.source === "vmx" && config.guestOs) return config.guestOs;
	return isWindows(config) ? "windows9server-64" : "other4xlinux-64";
}

/** Puts a disk at its place, or, without one or when it is taken or impossible, at the bus's next free place. */
function addDisk(
	vmx: VmxDictionary,
	disk: PublishedDisk,
	bus: Bus,
	controller: number,
	unit: number | undefined,
	scsi: string,
): void {
	const units = UNITS[bus] ?? 16;
	// A place with an absent device is taken too: its other keys would apply to the disk.
	const taken = new Set(vmx.keys().map((key) => key.replace(/\..*$/, "")));
	const free = (c: number, u: number) => !taken.has(`${bus}${c}:${u}`) && !(bus === "scsi" && u === 7);
	let place =
		unit !== undefined && unit < units && controller < 4 && free(controller, unit) ? [controller, unit] : undefined;
	for (let c = 0; c < 4 && !place; c++) for (let u = 0; u < units && !place; u++) if (free(c, u)) place = [c, u];
	if (!place) throw new Error(`no free place for disk "${disk.name}" on bus ${bus}`);
	const host = `${bus}${place[0]}`;
	if (bus !== "ide" && !vmx.flag(`${host}.present`)) {
		vmx.set(`${host}.present`, "TRUE");
		if (bus === "scsi") vmx.set(`${host}.virtualDev`, scsi);
	}
	const device = `${host}:${place[1]}`;
	vmx.set(`${device}.present`, "TRUE");
	vmx.set(`${device}.fileName`, disk.file);
	vmx.set(`${device}.deviceType`, bus === "scsi" ? "scsi-hardDisk" : "disk");
}

function addNic(vmx: VmxDictionary, prefix: string, nic: Nic, networks: PublishedVmx["networks"]): void {
	vmx.set(`${prefix}.present`, "TRUE");
	vmx.set(`${prefix}.virtualDev`, nic.model && NIC_MODELS.has(nic.model) ? nic.model : "vmxnet3");
	if (nic.network) vmx.set(`${prefix}.networkName`, nic.network);
	if (nic.mac) {
		vmx.set(`${prefix}.addressType`, "static");
		vmx.set(`${prefix}.address`, nic.mac);
		// Static addresses outside of VMware's own range are refused otherwise.
		vmx.set(`${prefix}.checkMACAddress`, "FALSE");
	} else vmx.set(`${prefix}.addressType`, "generated");
	connect(vmx, prefix, nic.network, networks);
	if (!nic.connected) vmx.set(`${prefix}.startConnected`, "FALSE");
}

function connect(vmx: VmxDictionary, prefix: string, network: string | null, networks: PublishedVmx["networks"]): void {
	const target = network === null ? undefined : networks?.get(network);
	if (target === undefined) {
		vmx.set(`${prefix}.startConnected`, "FALSE");
		return;
	}
	vmx.set(`${prefix}.networkName`, target);
	// A distributed switch's port belongs to the old VM.
	for (const key of vmx.keys()) if (key.startsWith(`${prefix}.dvs.`)) vmx.delete(key);
	if (!vmx.has(`${prefix}.startConnected`)) vmx.set(`${prefix}.startConnected`, "TRUE");
}
