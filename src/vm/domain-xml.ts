/** libvirt domain XML → the neutral model (https://libvirt.org/formatdomain.html). */
import { uuidFrom } from "./identifiers.js";
import { BUSES, type Bus, type Controller, DEFAULT_MEMORY_MIB, type Nic, type VmConfig, type VmDisk } from "./model.js";
import { type OwnMetadata, ownMetadata } from "./own-metadata.js";
import { all, attribute, content, type Element, first, integer, parseXml } from "./xml.js";

/** A disk of a domain beyond what the neutral model knows. */
export interface DomainDisk {
	/** `dev` of its target: "vda" */
	target: string;
	/** "file", "block", "network", "volume", … */
	type: string;
	/** as the driver element names it; libvirt takes raw where there is none */
	format: string;
}

/** Throws ConfigError when the text is not a domain. DOCTYPE, and with it entities of one's own, is refused. */
export const parseDomainXml = (bytes: Uint8Array): VmConfig => parseDomain(bytes).config;

/** The same, with what libvirt says of each disk; `disks` goes with `config.disks`. */
export function parseDomain(bytes: Uint8Array): { config: VmConfig; disks: DomainDisk[]; own: OwnMetadata } {
	const domain = parseXml(bytes, "domain", "domain XML");
	const notes: string[] = [];
	const os = first(domain, "os");
	const devices = first(domain, "devices");
	const memory = memoryMiB(first(domain, "memory"));
	if (memory === null) notes.push(`no memory size: ${DEFAULT_MEMORY_MIB} MiB assumed`);
	const loader = first(os, "loader");
	const uefi = attribute(os, "firmware") === "efi" || attribute(loader, "type") === "pflash";
	const secure =
		attribute(loader, "secure") === "yes" ||
		all(first(os, "firmware"), "feature").some(
			(f) => attribute(f, "name") === "secure-boot" && attribute(f, "enabled") === "yes",
		);
	const topology = first(first(domain, "cpu"), "topology");
	const disks = disksOf(devices, notes);
	const config: VmConfig = {
		version: 1,
		name: content(first(domain, "name")),
		uuid: uuidFrom(content(first(domain, "uuid")) ?? undefined),
		memoryMiB: memory ?? DEFAULT_MEMORY_MIB,
		cpus: integer(content(first(domain, "vcpu"))) ?? 1,
		coresPerSocket: integer(attribute(topology, "cores")),
		firmware: uefi ? "uefi" : "bios",
		secureBoot: uefi && secure,
		tpm: all(devices, "tpm").length > 0,
		guestOs: osInfo(domain),
		controllers: controllersOf(devices),
		disks: disks.map(({ disk }) => disk),
		nics: all(devices, "interface").map(nicOf),
		nvram: content(first(os, "nvram")),
		source: "libvirt",
		notes,
	};
	return { config, disks: disks.map(({ own }) => own), own: ownMetadata(domain) };
}

function controllersOf(devices: Element | undefined): Controller[] {
	return all(devices, "controller").flatMap((element) => {
		const bus = BUSES.find((b) => b === attribute(element, "type"));
		if (!bus) return [];
		const model = attribute(element, "model")?.toLowerCase() ?? null;
		return [{ bus, number: integer(attribute(element, "index")) ?? 0, model }];
	});
}

/** Disks that QEMU itself does not read and write, by libvirt's type. */
const OUT_OF_REACH: Readonly<Record<string, string>> = {
	vhostuser: "a disk of another process (vhost-user)",
	vhostvdpa: "a disk in hardware (vDPA)",
};

function disksOf(devices: Element | undefined, notes: string[]): { disk: VmDisk; own: DomainDisk }[] {
	const disks: { disk: VmDisk; own: DomainDisk; order: number }[] = [];
	for (const element of all(devices, "disk")) {
		const device = attribute(element, "device") ?? "disk";
		if (device !== "disk" && device !== "lun") continue;
		const target = first(element, "target");
		const name = attribute(target, "dev") ?? "";
		const bus = busOf(attribute(target, "bus"), name);
		const address = first(element, "address");
		const drive = attribute(address, "type") === "drive";
		const source = first(element, "source");
		const type = attribute(element, "type") ?? "file";
		const path = ["file", "dev", "name"].map((key) => attribute(source, key)).find((value) => value) ?? null;
		if (first(element, "transient")) notes.push(`disk ${name} is transient: its changes vanish at power-off`);
		const disk: VmDisk = {
			bus,
			// libvirt calls an IDE cable a bus; VMware calls it a controller.
			controller: (drive ? integer(attribute(address, bus === "ide" ? "bus" : "controller")) : null) ?? 0,
			unit: (drive ? driveUnit(bus, address) : null) ?? letters(name),
			path,
			name: null,
			unprotected: device === "lun" ? "SCSI passthrough" : (OUT_OF_REACH[type] ?? null),
		};
		const own = { target: name, type, format: attribute(first(element, "driver"), "type") ?? "raw" };
		disks.push({ disk, own, order: integer(attribute(first(element, "boot"), "order")) ?? Number.MAX_SAFE_INTEGER });
	}
	// Disks with a boot order come first; sort keeps the document's order otherwise.
	return disks.sort((a, b) => a.order - b.order);
}

function busOf(named: string | undefined, target: string): Bus {
	const known = BUSES.find((bus) => bus === named);
	if (known) return known;
	if (target.startsWith("vd")) return "virtio";
	return target.startsWith("hd") ? "ide" : "scsi";
}

/** SCSI disks are told apart by unit on virtio-scsi, by target on the others. */
function driveUnit(bus: Bus, address: Element | undefined): number | null {
	const unit = integer(attribute(address, "unit"));
	if (bus === "scsi") return unit === 0 ? (integer(attribute(address, "target")) ?? 0) : unit;
	return unit;
}

/** "vda" → 0, "sdaa" → 26. */
function letters(target: string): number {
	const tail = /^[a-z]d([a-z]{1,3})$/.exec(target)?.[1] ?? "a";
	return Array.from(tail).reduce((n, c) => n * 26 + c.charCodeAt(0) - 96, 0) - 1;
}

function nicOf(element: Element): Nic {
	const mac = attribute(first(element, "mac"), "address")?.toLowerCase() ?? "";
	const source = first(element, "source");
	return {
		mac: /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/.test(mac) ? mac : null,
		model: attribute(first(element, "model"), "type")?.toLowerCase() ?? null,
		network: attribute(source, "network") ?? attribute(source, "bridge") ?? attribute(source, "dev") ?? null,
		connected: attribute(first(element, "link"), "state") !== "down",
	};
}

const UNITS: Readonly<Record<string, number>> = {
	b: 1,
	bytes: 1,
	kb: 1000,
	k: 1024,
	kib: 1024,
	mb: 1e6,
	m: 1024 ** 2,
	mib: 1024 ** 2,
	gb: 1e9,
	g: 1024 ** 3,
	gib: 1024 ** 3,
	tb: 1e12,
	t: 1024 ** 4,
	tib: 1024 ** 4,
};

function memoryMiB(element: Element | undefined): number | null {
	const value = integer(content(element));
	const unit = (attribute(element, "unit") ?? "KiB").toLowerCase();
	if (value === null || !Object.hasOwn(UNITS, unit)) return null;
	return Math.ceil((value * UNITS[unit]) / 1024 ** 2);
}

/** libosinfo's id in the metadata, e.g. "http://microsoft.com/win/2k22". */
function osInfo(domain: Element): string | null {
	const info = first(first(domain, "metadata"), "libosinfo");
	return attribute(first(info, "os"), "id") ?? null;
}
