/** libvirt domain XML → the neutral model (https://libvirt.org/formatdomain.html). */
import { createRequire } from "node:module";
import { uuidFrom } from "./identifiers.js";
import { BUSES, type Bus, type Controller, DEFAULT_MEMORY_MIB, type Nic, type VmConfig, type VmDisk } from "./model.js";
import { ConfigError, decode, MAX_CONFIG_BYTES } from "./text.js";

/** Every element is an array of these, so that one disk and two disks look the same. */
type Element = Record<string, unknown>;

/** Throws ConfigError when the text is not a domain. DOCTYPE, and with it entities of one's own, is refused. */
export function parseDomainXml(bytes: Uint8Array): VmConfig {
	if (bytes.length > MAX_CONFIG_BYTES) throw new ConfigError(`domain XML larger than ${MAX_CONFIG_BYTES} bytes`);
	const text = decode(bytes, "UTF-8").replace(/^\ufeff/, "");
	if (/<!(DOCTYPE|ENTITY)/i.test(text)) throw new ConfigError("domain XML with a DOCTYPE is refused");
	const domain = domainOf(text);
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
	return {
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
		disks: disksOf(devices, notes),
		nics: all(devices, "interface").map(nicOf),
		nvram: content(first(os, "nvram")),
		source: "libvirt",
		notes,
	};
}

/** Loaded when a domain is parsed, so that commands that parse none start sooner. */
const parser = (): typeof import("fast-xml-parser") => createRequire(import.meta.url)("fast-xml-parser");

function domainOf(text: string): Element {
	const { XMLParser, XMLValidator } = parser();
	const valid = XMLValidator.validate(text);
	if (valid !== true) throw new ConfigError(`domain XML, line ${valid.err.line}: ${valid.err.msg}`);
	let document: unknown;
	try {
		document = new XMLParser({
			ignoreAttributes: false,
			attributeNamePrefix: "@",
			removeNSPrefix: true,
			parseTagValue: false,
			parseAttributeValue: false,
			isArray: (name: string) => !name.startsWith("@"),
			ignoreDeclaration: true,
			ignorePiTags: true,
		}).parse(text);
	} catch (cause) {
		throw new ConfigError(`domain XML: ${(cause as Error).message.split("\n")[0]}`, { cause });
	}
	const domain = first(isElement(document) ? document : undefined, "domain");
	if (!domain) throw new ConfigError("not a libvirt domain: no <domain> element");
	return domain;
}

function controllersOf(devices: Element | undefined): Controller[] {
	return all(devices, "controller").flatMap((element) => {
		const bus = BUSES.find((b) => b === attribute(element, "type"));
		if (!bus) return [];
		const model = attribute(element, "model")?.toLowerCase() ?? null;
		return [{ bus, number: integer(attribute(element, "index")) ?? 0, model }];
	});
}

function disksOf(devices: Element | undefined, notes: string[]): VmDisk[] {
	const disks: { disk: VmDisk; order: number }[] = [];
	for (const element of all(devices, "disk")) {
		if ((attribute(element, "device") ?? "disk") !== "disk") continue;
		const target = first(element, "target");
		const name = attribute(target, "dev") ?? "";
		const bus = busOf(attribute(target, "bus"), name);
		const address = first(element, "address");
		const drive = attribute(address, "type") === "drive";
		const source = first(element, "source");
		const path = ["file", "dev", "name"].map((key) => attribute(source, key)).find((value) => value) ?? null;
		if (first(element, "transient")) notes.push(`disk ${name} is transient: its changes vanish at power-off`);
		const disk: VmDisk = {
			bus,
			// libvirt calls an IDE cable a bus; VMware calls it a controller.
			controller: (drive ? integer(attribute(address, bus === "ide" ? "bus" : "controller")) : null) ?? 0,
			unit: (drive ? driveUnit(bus, address) : null) ?? letters(name),
			path,
			name: null,
			unprotected: null,
		};
		disks.push({ disk, order: integer(attribute(first(element, "boot"), "order")) ?? Number.MAX_SAFE_INTEGER });
	}
	// Disks with a boot order come first; sort keeps the document's order otherwise.
	return disks.sort((a, b) => a.order - b.order).map(({ disk }) => disk);
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

const isElement = (value: unknown): value is Element => typeof value === "object" && value !== null;

function all(element: Element | undefined, name: string): Element[] {
	const value = element && Object.hasOwn(element, name) ? element[name] : undefined;
	if (!Array.isArray(value)) return [];
	return value.map((item) => (isElement(item) ? item : { "#text": item }));
}

const first = (element: Element | undefined, name: string): Element | undefined => all(element, name)[0];

function attribute(element: Element | undefined, name: string): string | undefined {
	const value = element && Object.hasOwn(element, `@${name}`) ? element[`@${name}`] : undefined;
	return typeof value === "string" ? value : undefined;
}

function content(element: Element | undefined): string | null {
	const value = element?.["#text"];
	return typeof value === "string" && value.trim() !== "" ? value.trim() : null;
}

const integer = (value: string | null | undefined): number | null =>
	value != null && /^\d{1,15}$/.test(value) ? Number(value) : null;
