/** A VM of a host: found by id or name, and what libvirt says of it. */
import {
	all,
	attribute,
	ConfigError,
	type DomainDisk,
	first,
	parseDomain,
	parseXml,
	type VmConfig,
} from "../../vm/index.js";
import type { PowerState } from "../contract.js";
import { HypervisorError } from "../errors.js";
import type { HostUri } from "./uri.js";
import type { Virsh } from "./virsh.js";

export interface Host {
	virsh: Virsh;
	uri: HostUri;
}

export interface Domain {
	host: Host;
	/** UUID; every call names the VM by it, because a name may look like a number */
	id: string;
	name: string;
}

export const allDomains = async (host: Host): Promise<Domain[]> =>
	(await host.virsh.call(["list", "--all", "--uuid", "--name"]))
		.split("\n")
		.flatMap((line) => {
			const match = /^\s*([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\s+(.*)$/.exec(line);
			return match === null ? [] : [{ host, id: match[1], name: match[2].trim() }];
		})
		.sort((a, b) => (a.name < b.name ? -1 : 1));

/** By id or name; libvirt keeps both unique. */
export const findDomain = async (host: Host, wanted: string): Promise<Domain> => {
	const found = await allDomains(host);
	const domain = found.find(({ id }) => id === wanted.toLowerCase()) ?? found.find(({ name }) => name === wanted);
	if (domain !== undefined) return domain;
	throw new HypervisorError("NOT_FOUND", `no VM ${wanted} on ${host.uri.text}: springback vms lists them`);
};

const STATES: Readonly<Record<string, PowerState>> = {
	running: "running",
	idle: "running",
	"in shutdown": "running",
	paused: "paused",
	pmsuspended: "paused",
	"shut off": "off",
	crashed: "off",
};

export const stateOf = async ({ host, id, name }: Domain): Promise<PowerState> => {
	const words = (await host.virsh.call(["domstate", id])).trim();
	const state = STATES[words];
	if (state === undefined) throw new HypervisorError("STATE", `VM ${name}: libvirt calls its state "${words}"`);
	return state;
};

/** Paused by QEMU: `error_policy` of a disk is "stop", and it failed. */
export const stoppedByDisk = async ({ host, id }: Domain): Promise<boolean> =>
	(await host.virsh.call(["domstate", id, "--reason"])).trim() === "paused (I/O error)";

/** Definitions: as the next start will read it, or as it is now. */
export const definitionOf = async ({ host, id }: Domain, which: "stored" | "now"): Promise<Buffer> =>
	host.virsh.bytes(["dumpxml", id, ...(which === "stored" ? ["--inactive"] : [])]);

export interface Described {
	config: VmConfig;
	disks: (DomainDisk & { name: string; unprotected: string | null })[];
	/** made by a recovery of ours */
	session: string | null;
}

/** A definition in our words: each disk has the name of its target, or what we noted when we made the VM. */
export const described = (domain: Domain, xml: Buffer): Described => {
	try {
		const { config, disks, own } = parseDomain(xml);
		const nameOf = ({ target }: DomainDisk) => own.disks.get(target) ?? target;
		return {
			config: { ...config, disks: config.disks.map((disk, n) => ({ ...disk, name: nameOf(disks[n]) })) },
			disks: disks.map((disk, n) => ({ ...disk, name: nameOf(disk), unprotected: config.disks[n].unprotected })),
			session: own.session,
		};
	} catch (error) {
		if (!(error instanceof ConfigError)) throw error;
		throw new HypervisorError("INVALID", `VM ${domain.name}: ${error.message}`);
	}
};

/** bytes by target; what cannot be told is not in it */
export const diskSizes = async ({ host, id }: Domain): Promise<Map<string, number>> => {
	const sizes = new Map<string, number>();
	const lines = await host.virsh.call(["domblkinfo", id, "--all"]).catch(() => "");
	for (const line of lines.split("\n")) {
		const [target, capacity] = line.trim().split(/\s+/);
		if (/^\d+$/.test(capacity ?? "")) sizes.set(target, Number(capacity));
	}
	return sizes;
};

/** The definition says when a copy has both sides: its numbers alone may be equal a moment before that. */
export const mirrorReady = async (domain: Domain, target: string): Promise<boolean> => {
	const xml = parseXml(await definitionOf(domain, "now"), "domain", "domain XML");
	const disk = all(first(xml, "devices"), "disk").find((one) => attribute(first(one, "target"), "dev") === target);
	return attribute(first(disk, "mirror"), "ready") === "yes";
};
