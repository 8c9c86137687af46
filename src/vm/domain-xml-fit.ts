/**
 * A libvirt domain made to fit a host that is not its own: what that host lacks is left out or exchanged, and each change
 * is said in a sentence. What cannot be done without is refused.
 */
import { domainOf } from "./domain-xml-write.js";
import { checkedXml } from "./xml.js";
import { attr, child, children, type Node, node, remove, setAttr, setChild, tagOf, writeNodes } from "./xml-tree.js";

/** What a host must be asked about before a domain can be fitted to it. */
export interface DomainNeeds {
	type: string;
	machine: string | null;
	emulator: string | null;
	/** the element as text where it names a model that the host must have; null otherwise */
	cpu: string | null;
	/** mode of the processor that only KVM gives */
	passthroughCpu: boolean;
}

/** What the host has instead; null: the domain's own will do. */
export interface HostGives {
	/** of a file or device that the definition names; undefined: the host's files cannot be seen from here */
	has: ((path: string) => boolean) | undefined;
	type: "qemu" | null;
	machine: string | null;
	/** false: the host has no such program, libvirt chooses one */
	emulator: boolean;
	/** logical processors that there are */
	processors: number;
	/** `why` in words of libvirt */
	cpu: { mode: "host-model" | "maximum"; why: string } | null;
}

export interface FittedDomain {
	text: string;
	/** one sentence each */
	changed: string[];
	refused: string[];
}

/** Throws ConfigError when it is no domain. */
export function domainNeeds(original: Uint8Array): DomainNeeds {
	const domain = domainOf(checkedXml(original, "domain XML"));
	const cpu = child(domain, "cpu");
	const mode = attr(cpu, "mode") ?? "custom";
	// Without a check libvirt did not hold the original's host to it either.
	const named = cpu !== undefined && mode === "custom" && child(cpu, "model") !== undefined;
	return {
		type: attr(domain, "type") ?? "qemu",
		machine: attr(child(child(domain, "os"), "type"), "machine") ?? null,
		emulator: textOf(child(child(domain, "devices"), "emulator")),
		cpu: named && attr(cpu, "check") !== "none" ? writeNodes([cpu]) : null,
		passthroughCpu: mode === "host-passthrough",
	};
}

/** Throws ConfigError when it is no domain. */
export function fitDomain(original: Uint8Array, gives: HostGives): FittedDomain {
	const domain = domainOf(checkedXml(original, "domain XML"));
	const changed: string[] = [];
	const refused: string[] = [];
	if (gives.type !== null) {
		setAttr(domain, "type", gives.type);
		changed.push("its processor is emulated, for the host has no KVM: it will be slow");
	}
	const os = child(domain, "os");
	const type = child(os, "type");
	if (gives.machine !== null && type !== undefined) {
		changed.push(`its machine ${attr(type, "machine")} is not known to the host: it gets ${gives.machine}`);
		setAttr(type, "machine", gives.machine);
	}
	for (const tag of ["loader", "kernel", "initrd"]) {
		const path = textOf(child(os, tag));
		if (path !== null && gives.has?.(path) === false)
			refused.push(`it boots with ${path}, which the host does not have: put that file there`);
	}
	fitCpu(domain, gives, changed);
	fitPins(domain, gives, changed);
	const devices = child(domain, "devices");
	if (devices !== undefined) fitDevices(devices, gives, changed);
	return { text: writeNodes([domain]), changed, refused };
}

function fitCpu(domain: Node, { cpu: instead }: HostGives, changed: string[]): void {
	const cpu = child(domain, "cpu");
	if (instead === null || cpu === undefined) return;
	const model = textOf(child(cpu, "model")) ?? attr(cpu, "mode");
	changed.push(`its processor ${model} is not to be had (${instead.why}): it gets the best that the host has`);
	setAttr(cpu, "mode", instead.mode);
	for (const key of ["match", "check", "migratable"]) setAttr(cpu, key, undefined);
	for (const one of [...children(cpu)])
		if (["model", "vendor", "cache", "maxphysaddr"].includes(tagOf(one)) || isWanted(one)) remove(cpu, one);
}

/** Processors that the guest's were bound to. */
function fitPins(domain: Node, { processors }: HostGives, changed: string[]): void {
	const beyond = (cpuset: string | undefined): boolean =>
		(cpuset?.match(/\d+/g) ?? []).some((number) => Number(number) >= processors);
	const vcpu = child(domain, "vcpu");
	const tune = child(domain, "cputune");
	const pins = (tune === undefined ? [] : children(tune)).filter((one) => attr(one, "cpuset") !== undefined);
	if (!beyond(attr(vcpu, "cpuset")) && !pins.some((one) => beyond(attr(one, "cpuset")))) return;
	if (vcpu !== undefined) setAttr(vcpu, "cpuset", undefined);
	for (const one of pins) remove(tune!, one);
	changed.push(`it was bound to processors beyond the ${processors} of the host: it is bound to none`);
}

const isWanted = (one: Node): boolean =>
	tagOf(one) === "feature" && !["disable", "forbid", "optional"].includes(attr(one, "policy") ?? "");

function fitDevices(devices: Node, { has, emulator }: HostGives, changed: string[]): void {
	const leaveOut = (element: Node, words: string): void => {
		remove(devices, element);
		changed.push(words);
	};
	for (const element of [...children(devices)]) {
		const source = child(element, "source");
		switch (tagOf(element)) {
			case "emulator":
				if (!emulator)
					leaveOut(element, `its emulator ${textOf(element)} is not on the host: libvirt chooses another of its own`);
				break;
			case "disk":
				fitDrive(element, has, changed);
				break;
			case "hostdev":
				leaveOut(
					element,
					`the passed-through ${deviceName(element)} is left out: add it to the VM when it is where it is to stay`,
				);
				break;
			case "interface":
				if (attr(element, "type") === "hostdev") {
					changed.push(
						`the passed-through card ${attr(child(element, "mac"), "address") ?? ""} becomes an emulated one`,
					);
					setAttr(element, "type", "user");
					setAttr(element, "managed", undefined);
					for (const one of [...children(element)])
						if (["source", "driver", "teaming"].includes(tagOf(one))) remove(element, one);
					if (child(element, "model") === undefined) setChild(element, node("model", { type: "e1000" }));
				}
				break;
			case "tpm":
				if (attr(child(element, "backend"), "type") === "passthrough")
					leaveOut(element, "its TPM is the one of its old host, and left out: have the keys ready that it kept");
				break;
			case "filesystem": {
				const path = attr(source, "dir") ?? attr(source, "file");
				if (path !== undefined && has?.(path) === false)
					leaveOut(element, `the shared folder ${path} is not on the host, and left out`);
				break;
			}
			case "serial":
			case "parallel":
			case "console": {
				const path = attr(source, "path");
				if (attr(element, "type") === "dev" && path !== undefined && has?.(path) === false)
					leaveOut(element, `the ${tagOf(element)} port ${path} is not on the host, and left out`);
			}
		}
	}
}

/** A drive stays without its medium. */
function fitDrive(element: Node, has: HostGives["has"], changed: string[]): void {
	const device = attr(element, "device");
	const source = child(element, "source");
	if ((device !== "cdrom" && device !== "floppy") || source === undefined) return;
	const path = attr(source, "file") ?? attr(source, "dev");
	if (path === undefined) return;
	if (has === undefined) {
		if (attr(source, "file") !== undefined) setAttr(source, "startupPolicy", "optional");
		return;
	}
	if (has(path)) return;
	for (const one of [...children(element)]) if (["source", "backingStore"].includes(tagOf(one))) remove(element, one);
	const drive = attr(child(element, "target"), "dev") ?? device;
	changed.push(`${path} is not on the host: the drive ${drive} is empty`);
}

/** What a VM that is made from the neutral configuration alone comes back without. Throws ConfigError. */
export function devicesBeyondModel(original: Uint8Array): string[] {
	const devices = child(domainOf(checkedXml(original, "domain XML")), "devices");
	return (devices === undefined ? [] : children(devices)).flatMap((element) => {
		const source = child(element, "source");
		const path = attr(source, "file") ?? attr(source, "dev") ?? attr(source, "dir");
		switch (tagOf(element)) {
			case "disk": {
				const device = attr(element, "device");
				const drive = device === "cdrom" || device === "floppy";
				return drive && path !== undefined ? [`the drive ${attr(child(element, "target"), "dev")} with ${path}`] : [];
			}
			case "hostdev":
				return [`the passed-through ${deviceName(element)}`];
			case "filesystem":
				return path === undefined ? [] : [`the shared folder ${path}`];
			default:
				return [];
		}
	});
}

/** "PCI device 0000:0a:10.0" */
function deviceName(element: Node): string {
	const type = attr(element, "type") ?? "";
	const source = child(element, "source");
	const address = child(source, "address");
	const hex = (key: string): string => (attr(address, key) ?? "0").replace(/^0x/, "");
	if (type === "pci")
		return `PCI device ${hex("domain").padStart(4, "0")}:${hex("bus").padStart(2, "0")}:${hex("slot").padStart(2, "0")}.${hex("function")}`;
	if (type === "usb") {
		const ids = ["vendor", "product"].map((tag) => attr(child(source, tag), "id")?.replace(/^0x/, ""));
		return ids[0] === undefined ? "USB device" : `USB device ${ids.join(":")}`;
	}
	const name = attr(child(source, "adapter"), "name") ?? attr(address, "uuid");
	return [type === "mdev" ? "mediated" : type.toUpperCase(), "device", name].filter(Boolean).join(" ");
}

/** Of an element that holds nothing else. */
function textOf(one: Node | undefined): string | null {
	const text = one === undefined ? undefined : children(one).find((two) => tagOf(two) === "#text")?.["#text"];
	return typeof text === "string" && text.trim() !== "" ? text.trim() : null;
}
