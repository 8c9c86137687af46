/** Which VM of a host is meant, and what its restore points are called. */
import type { HostVm } from "../hypervisor/index.js";
import { checkVmName, type Point } from "../repository/index.js";
import { SourceError } from "./errors.js";
import { hostFactsOf } from "./host-facts.js";

/** By id, or by name where that is unique. Throws SourceError SOURCE. */
export function findHostVm(vms: readonly HostVm[], wanted: string, host: string): HostVm {
	const fail = (why: string) => new SourceError("SOURCE", why);
	const named = vms.filter(({ id, name }) => id === wanted.toLowerCase() || name === wanted);
	if (named.length === 0) throw fail(`no VM ${wanted} on host ${host}: springback vms --host ${host} lists them`);
	if (named.length > 1)
		throw fail(
			`${named.length} VMs of host ${host} are called ${wanted}: use the id: ${named.map(({ id, name, state }) => `${id} (${name}, ${state})`).join(", ")}`,
		);
	const [vm] = named;
	if (vm.problem !== null) throw fail(`VM ${wanted} of host ${host} cannot be backed up: ${vm.problem}`);
	const twins = vms.filter(({ id }) => id === vm.id);
	if (twins.length > 1)
		throw fail(
			`VMs ${twins.map(({ name }) => name).join(" and ")} of host ${host} have the same id ${vm.id}: give the copy a new one`,
		);
	return vm;
}

/**
 * The name of the new point: the VM's own, or `as`. A name whose newest point is another VM's is refused unless `as` says
 * so: who recovers by that name must get the VM that he means. Throws SourceError USAGE or SOURCE.
 */
export function pointNameOf(points: readonly Point[], vm: HostVm, as: string | undefined): string {
	const name = as ?? vm.name;
	try {
		checkVmName(name);
	} catch (error) {
		throw new SourceError("USAGE", `${(error as Error).message}: name the restore points with --as NAME`);
	}
	const newest = points.findLast((point) => point.vm === name);
	const other = newest === undefined ? undefined : hostFactsOf(newest);
	if (as === undefined && other !== undefined && other.vm !== vm.id)
		throw new SourceError(
			"SOURCE",
			`restore points called ${name} belong to another VM (${other.vm} on ${other.host}): give --as OTHER, or --as ${name} if this VM takes its place`,
		);
	return name;
}
