/** The dry run, which always goes first: what the VM will be on the host, and what is fixed, missing or in the way. */
import { statfsSync } from "node:fs";
import { totalmem } from "node:os";
import type { HostVm, Hypervisor, VmDescription } from "../hypervisor/index.js";
import type { Point } from "../repository/index.js";
import type { VmConfig } from "../vm/index.js";
import { configOf } from "./config-of.js";
import { type Finding, Findings } from "./findings.js";
import { decideIdentity, type Wishes } from "./identity.js";
import { lookForOriginal } from "./original.js";
import type { Replaced } from "./records.js";
import type { NamedHost } from "./world.js";

const MIB = 2 ** 20;

export interface PlanRequest extends Wishes {
	/** of the VM on the host; default: as it was called */
	name?: string;
	/** a person says that the original is gone */
	originalGone: boolean;
	/** a VM of that name on the host gives way, if it is off */
	overwrite?: boolean;
}

export interface Space {
	/** directory that takes what the VM writes */
	place: string;
	/** bytes */
	free: number;
	memory: number;
	/** the most that a backup of this VM found new, or a tenth of its disks */
	change: number;
}

export interface Plan {
	name: string;
	config: VmConfig;
	networks: Record<string, string>;
	replaced: Replaced | null;
	/** the VM that gives way: id and name */
	overwritten: { id: string; name: string } | null;
	/** false: the VM has new UUID and MAC addresses */
	kept: boolean;
	/** null: nothing is kept in a session */
	space: Space | null;
	findings: Finding[];
	/** what refuses it, in words; empty: it may begin */
	refused: string[];
}

/**
 * @param points all of this VM
 * @param files what is stored beside the disks of `point`
 * @param place where its writes go; null: into its own disks
 */
export const makePlan = async (
	request: PlanRequest,
	point: Point,
	points: Point[],
	files: VmDescription["files"],
	target: NamedHost,
	hosts: NamedHost[],
	place: string | null,
	now: Date,
): Promise<Plan> => {
	const findings = new Findings();
	const host = await target.open();
	const vms = await host.list();
	const { stored, withDisks } = configOf(point, findings);
	const home = homeOf(point, hosts);
	const where = await lookForOriginal(stored, home, hosts, request.originalGone);
	const name = request.name ?? stored.name ?? point.vm;
	const holder = request.overwrite === true ? vms.find((vm) => vm.name === name) : undefined;
	const others = vms.filter((vm) => vm !== holder);
	const { config, replaced, kept } = decideIdentity(withDisks, where, request, others, findings, now);
	await checkRename(replaced, hosts, findings);
	checkOverwritten(holder, host, findings);
	checkName(name, others, replaced?.host === target.name ? replaced.id : null, target.name, findings);
	await checkHost(host, target, config, files, findings);
	const networks = mapNetworks(config, request, home === target.name, findings);
	const space = place === null ? null : measureSpace(config, point, points, place, findings);
	for (const note of stored.notes) findings.warning("configuration", note);
	return {
		...{ name, config: { ...config, name }, networks, replaced, kept, space },
		overwritten: holder === undefined ? null : { id: holder.id, name: holder.name },
		findings: findings.all,
		refused: findings.refusals.map(({ what, message }) => `${what}: ${message}`),
	};
};

/** The host that the point was made through, by its name here if it is known here; undefined for points made from files. */
const homeOf = ({ facts }: Point, hosts: NamedHost[]): string | undefined => {
	const { host, type, uri } = (facts.hypervisor ?? {}) as Partial<Record<"host" | "type" | "uri", unknown>>;
	const here = hosts.find((one) => one.type === type && one.uri === uri);
	return here?.name ?? (typeof host === "string" ? `${host} (${String(uri)})` : undefined);
};

const checkRename = async (replaced: Replaced | null, hosts: NamedHost[], findings: Findings): Promise<void> => {
	if (replaced === null) return;
	const host = await hosts.find(({ name }) => name === replaced.host)!.open();
	if (host.rename === undefined)
		findings.refused(
			"original",
			`hosts of type ${host.type} cannot rename a VM: power ${replaced.name} off and rename it, then leave --replace out`,
		);
};

const checkOverwritten = (holder: HostVm | undefined, host: Hypervisor, findings: Findings): void => {
	if (holder === undefined) return;
	const { name, state, session } = holder;
	if (state !== "off") findings.refused("overwrite", `VM ${name} is ${state}: power it off first`);
	else if (session !== null)
		findings.refused(
			"overwrite",
			`VM ${name} is the recovery of session ${session}: springback finish ${session} first`,
		);
	else if (host.rename === undefined)
		findings.refused("overwrite", `hosts of type ${host.type} cannot set a VM aside: remove VM ${name} there first`);
	else findings.changed("overwrite", `VM ${name} gives way to the restored one`);
};

const checkName = (name: string, vms: HostVm[], leaving: string | null, host: string, findings: Findings): void => {
	const holder = vms.find((vm) => vm.name === name && vm.id !== leaving);
	if (holder === undefined) return;
	const who = holder.session === null ? `a VM that is ${holder.state}` : `the recovery of session ${holder.session}`;
	const remedy = holder.session === null ? "" : `, or end that one: springback finish ${holder.session}`;
	findings.refused("name", `${name} is taken on ${host} (${who}): choose another with --name${remedy}`);
};

const checkHost = async (
	host: Hypervisor,
	{ name, uri }: NamedHost,
	config: VmConfig,
	files: VmDescription["files"],
	findings: Findings,
): Promise<void> => {
	for (const problem of (await host.problems?.(config, files)) ?? []) findings.refused(`host ${name}`, problem);
	for (const change of (await host.changes?.(config, files)) ?? []) findings.changed(`host ${name}`, change);
	const local = new URL(uri).hostname === "";
	if (host.problems === undefined && local && config.memoryMiB * MIB > totalmem())
		findings.refused(
			`host ${name}`,
			`it has ${config.memoryMiB} MiB of memory, more than the ${Math.floor(totalmem() / MIB)} MiB of this machine`,
		);
};

/** On the host that it comes from a VM finds its networks; elsewhere a person says which is which. */
const mapNetworks = (
	{ nics }: VmConfig,
	{ networks: said }: PlanRequest,
	same: boolean,
	findings: Findings,
): Record<string, string> => {
	const has = new Set(nics.flatMap(({ network }) => network ?? []));
	for (const from of Object.keys(said))
		if (!has.has(from))
			findings.refused(
				"network",
				`no card is in ${from}: ${has.size === 0 ? "this VM has no card with a network" : `--network takes ${[...has].join(", ")}`}`,
			);
	const networks = { ...(same ? Object.fromEntries([...has].map((network) => [network, network])) : {}), ...said };
	for (const { mac, network, connected } of nics)
		if (connected && (network === null || networks[network] === undefined))
			findings.warning(
				"network",
				`the card ${mac ?? "without address"} has no link: ${network === null ? "its network is not known" : `--network ${network}=NETWORK connects it`}`,
			);
	// Whatever a driver makes of cards without a link: these are not to be connected.
	const connected = new Set(nics.flatMap((nic) => (nic.connected && nic.network !== null ? nic.network : [])));
	return Object.fromEntries(Object.entries(networks).filter(([network]) => connected.has(network)));
};

/** What the VM may write, its memory once for a guest that swaps or hibernates. */
const measureSpace = (config: VmConfig, point: Point, points: Point[], place: string, findings: Findings): Space => {
	const { bavail, bsize } = statfsSync(place);
	const grown = points.filter(({ parent }) => parent !== null).map(({ size_new }) => size_new);
	const size = point.disks.reduce((sum, disk) => sum + disk.size, 0);
	const change = grown.length > 0 ? Math.max(...grown) : Math.ceil(size / 10);
	const space = { place, free: bavail * bsize, memory: config.memoryMiB * MIB, change };
	const mib = (n: number): string => `${Math.round(n / MIB)} MiB`;
	const words = `${mib(space.free)} free in ${place}; memory ${mib(space.memory)} and an expected change of ${mib(change)}`;
	if (space.free >= space.memory + change) findings.ok("space", words);
	else findings.warning("space", `${words}: may become full; --redirect DIR names another place`);
	return space;
};
