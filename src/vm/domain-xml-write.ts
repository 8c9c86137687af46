/** A libvirt domain for a VM that comes back: its original with new disks, networks and identity, or one made anew. */
import { parseDomain } from "./domain-xml.js";
import { newDomain } from "./domain-xml-new.js";
import type { Nic, VmConfig } from "./model.js";
import { diskNames, RUN_ELEMENT, SESSION_ELEMENT, SESSION_URI } from "./own-metadata.js";
import { ConfigError } from "./text.js";
import { checkedXml } from "./xml.js";
import {
	attr,
	child,
	children,
	type Node,
	node,
	parseNodes,
	remove,
	setAttr,
	setChild,
	tagOf,
	writeNodes,
} from "./xml-tree.js";

export interface DomainChanges {
	name: string;
	/** lower case, dashed */
	uuid: string;
	/** UUID of the VM generation: new for each copy of a VM */
	generation: string;
	/** of ours, that it belongs to; empty: none */
	session: string;
	config: VmConfig;
	/** for disks of `config`, by name; others are left out */
	disks: { name: string; source: string; format: "raw" | "qcow2" }[];
	/** network of each of `config.nics`: a libvirt network, "bridge:NAME", or what it was called; null: it has no link */
	networks: (string | null)[];
	/** what a card without a network is: "ethernet" needs a daemon of root's */
	loose: "ethernet" | "user";
	/** for a domain made anew */
	type: "kvm" | "qemu";
	/** file that gets what the serial console says; undefined: as in the original */
	console?: string;
	/** seconds that QEMU waits for an NBD server that went away; undefined where libvirt has no such setting (before 9.3) */
	reconnectDelay?: number;
}

/** Throws ConfigError when `original` is not a domain. */
export function domainFor(original: Uint8Array | undefined, changes: DomainChanges): string {
	const text = original === undefined ? newDomain(changes) : checkedXml(original, "domain XML");
	// Names in `config` go by position: both come from the same reader.
	const targets = parseDomain(Buffer.from(text)).disks.map(({ target }) => target);
	const domain = domainOf(text);
	setChild(domain, node("name", {}, changes.name));
	setChild(domain, node("uuid", {}, changes.uuid));
	if (/^(x86_64|i686)$/.test(attr(child(child(domain, "os"), "type"), "arch") ?? "x86_64"))
		setChild(domain, node("genid", {}, changes.generation));
	ownNvram(domain);
	const devices = child(domain, "devices")!;
	metadata(domain, changes.session, rewriteDisks(devices, targets, changes));
	rewriteCards(devices, changes);
	resize(domain, changes.config);
	if (changes.console !== undefined) logConsole(devices, changes.console);
	return writeNodes([domain]);
}

/** Memory and processors, where they are to be others than the original's. */
function resize(domain: Node, { memoryMiB, cpus }: VmConfig): void {
	const { config } = parseDomain(Buffer.from(writeNodes([domain])));
	if (config.memoryMiB !== memoryMiB) {
		setChild(domain, node("memory", { unit: "MiB" }, String(memoryMiB)));
		for (const one of children(domain).filter((two) => ["currentMemory", "maxMemory"].includes(tagOf(two))))
			remove(domain, one);
	}
	if (config.cpus === cpus) return;
	setChild(domain, node("vcpu", {}, String(cpus)));
	for (const one of children(domain).filter((two) => ["vcpus", "cputune", "numatune"].includes(tagOf(two))))
		remove(domain, one);
	const cpu = child(domain, "cpu");
	for (const one of cpu === undefined ? [] : children(cpu).filter((two) => ["topology", "numa"].includes(tagOf(two))))
		remove(cpu!, one);
}

/** The first serial port also writes into a file, anew at each start. */
function logConsole(devices: Node, file: string): void {
	let serial = child(devices, "serial");
	if (serial === undefined) {
		serial = node("serial", { type: "pty" }, [node("target", { port: "0" })]);
		children(devices).push(serial);
	}
	setChild(serial, node("log", { file, append: "off" }));
}

/** The file that a VM's serial port writes into; undefined: none. */
export function consoleOf(domain: Uint8Array): string | undefined {
	const devices = child(domainOf(checkedXml(domain, "domain XML")), "devices");
	const serial = devices === undefined ? undefined : child(devices, "serial");
	return attr(serial === undefined ? undefined : child(serial, "log"), "file");
}

/** Throws ConfigError. @param text checked before */
export const domainOf = (text: string): Node => {
	const domain = parseNodes(text).find((one) => tagOf(one) === "domain");
	if (domain === undefined) throw new ConfigError("not a libvirt domain: no <domain> element");
	return domain;
};

/** Its path is the original's, which may be there: libvirt finds one for the new name. */
function ownNvram(domain: Node): void {
	const nvram = child(child(domain, "os"), "nvram");
	if (nvram === undefined) return;
	for (const one of [...children(nvram)]) remove(nvram, one);
	if (attr(nvram, "template") === undefined) remove(child(domain, "os")!, nvram);
}

function metadata(domain: Node, session: string, names: Map<string, string>): void {
	if (child(domain, "metadata") === undefined) children(domain).push(node("metadata", {}));
	const found = child(domain, "metadata")!;
	for (const one of [...children(found)])
		if ([RUN_ELEMENT, SESSION_ELEMENT].includes(tagOf(one).replace(/^.*:/, ""))) remove(found, one);
	const of = { ...(session === "" ? {} : { name: session }), disks: diskNames(names) };
	children(found).push(node(`springback:${SESSION_ELEMENT}`, { "xmlns:springback": SESSION_URI, ...of }));
}

/** Names of what is there then, by target. */
function rewriteDisks(
	devices: Node,
	targets: string[],
	{ config, disks, reconnectDelay }: DomainChanges,
): Map<string, string> {
	const names = new Map<string, string>();
	for (const element of children(devices).filter((one) => tagOf(one) === "disk")) {
		const device = attr(element, "device") ?? "disk";
		if (device !== "disk" && device !== "lun") continue;
		const target = attr(child(element, "target"), "dev") ?? "";
		const name = config.disks[targets.indexOf(target)]?.name;
		const disk = disks.find((one) => one.name === name);
		if (disk === undefined) {
			remove(devices, element);
			continue;
		}
		placeDisk(element, disk, reconnectDelay);
		names.set(target, disk.name);
	}
	return names;
}

/** Gives a disk element its content. */
function placeDisk(element: Node, disk: DomainChanges["disks"][number], reconnectDelay: number | undefined): void {
	for (const one of [...children(element)]) if (REPLACED.has(tagOf(one))) remove(element, one);
	const far = !disk.source.startsWith("/");
	setAttr(element, "device", "disk");
	setAttr(element, "type", far ? "network" : "file");
	setAttr(element, "rawio", undefined);
	setAttr(element, "sgio", undefined);
	const driver = child(element, "driver") ?? node("driver", {});
	setAttr(driver, "name", "qemu");
	setAttr(driver, "type", disk.format);
	// A guest that waits can go on when the server is back; one that saw an error cannot.
	setAttr(driver, "error_policy", "stop");
	setAttr(driver, "rerror_policy", undefined);
	if (far) for (const key of ["io", "cache"]) setAttr(driver, key, undefined);
	setChild(element, driver);
	setChild(element, sourceNode(disk.source, reconnectDelay));
}

/** The same VM under another name and id. */
export function renamedDomain(original: Uint8Array, name: string, uuid: string): string {
	const domain = domainOf(checkedXml(original, "domain XML"));
	setChild(domain, node("name", {}, name));
	setChild(domain, node("uuid", {}, uuid));
	ownNvram(domain);
	return writeNodes([domain]);
}

/** The same VM with one more disk, or with other content for the one whose target is called so. */
export function domainWithDisk(
	original: Uint8Array,
	disk: DomainChanges["disks"][number],
	reconnectDelay?: number,
): string {
	const domain = domainOf(checkedXml(original, "domain XML"));
	const devices = child(domain, "devices")!;
	const disks = children(devices).filter((one) => tagOf(one) === "disk");
	const targets = disks.map((one) => attr(child(one, "target"), "dev"));
	let element = disks[targets.indexOf(disk.name)];
	if (element === undefined) {
		const free = Array.from("abcdefghijklmnopqrstuvwxyz", (letter) => `vd${letter}`).find(
			(dev) => !targets.includes(dev),
		);
		if (free === undefined) throw new ConfigError("the VM has 26 disks already");
		const target = /^vd[a-z]{1,2}$/.test(disk.name) ? disk.name : free;
		element = node("disk", {}, [node("target", { dev: target, bus: "virtio" })]);
		children(devices).push(element);
	}
	placeDisk(element, disk, reconnectDelay);
	return writeNodes([domain]);
}

const REPLACED = new Set(["source", "backingStore", "mirror", "auth", "encryption", "transient", "shareable"]);

function sourceNode(source: string, reconnectDelay: number | undefined): Node {
	if (source.startsWith("/")) return node("source", { file: source });
	const url = new URL(source);
	const path = decodeURIComponent(url.pathname);
	if (url.protocol === "nfs:")
		return node("source", { protocol: "nfs", name: path }, [
			node("host", { name: url.hostname }),
			node("identity", { user: "+0", group: "+0" }),
		]);
	const socket = url.searchParams.get("socket");
	const host =
		socket === null
			? node("host", { name: url.hostname.replace(/^\[(.*)\]$/, "$1"), port: url.port || "10809" })
			: node("host", { transport: "unix", socket });
	const more = reconnectDelay === undefined ? [] : [node("reconnect", { delay: String(reconnectDelay) })];
	return node("source", { protocol: "nbd", name: path.slice(1) }, [host, ...more]);
}

function rewriteCards(devices: Node, { config, networks, loose }: DomainChanges): void {
	for (const [n, element] of children(devices)
		.filter((one) => tagOf(one) === "interface")
		.entries()) {
		const card: Nic | undefined = config.nics[n];
		const network = networks[n] ?? null;
		if (card?.mac != null) setChild(element, node("mac", { address: card.mac }));
		else for (const one of children(element).filter((two) => tagOf(two) === "mac")) remove(element, one);
		// The one it was on: a bridge or a device, not only a network of libvirt's, and how it was on it.
		const source = child(element, "source");
		if (network !== null && ["network", "bridge", "dev"].some((key) => attr(source, key) === network)) {
			setChild(element, node("link", { state: card?.connected !== false ? "up" : "down" }));
			continue;
		}
		for (const one of [...children(element)]) if (OF_A_NETWORK.has(tagOf(one))) remove(element, one);
		const bridge = network?.startsWith("bridge:") ? network.slice("bridge:".length) : undefined;
		// One that is on nothing but this machine stays so, without its link.
		const unmapped = attr(element, "type") === "user" ? "user" : loose;
		setAttr(element, "type", network === null ? unmapped : bridge === undefined ? "network" : "bridge");
		if (network !== null) setChild(element, node("source", bridge === undefined ? { network } : { bridge }));
		setChild(element, node("link", { state: network !== null && card?.connected !== false ? "up" : "down" }));
	}
}

const OF_A_NETWORK = new Set([
	"source",
	"target",
	"backend",
	"virtualport",
	"filterref",
	"link",
	"port",
	"vlan",
	"guest",
]);
