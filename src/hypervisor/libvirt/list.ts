/** The inventory: every VM of the host, its disks, and how well a backup can follow them. */
import type { HostDisk, HostVm } from "../contract.js";
import { causeOf } from "../errors.js";
import { RAW } from "./checkpoints.js";
import {
	allDomains,
	type Described,
	type Domain,
	definitionOf,
	described,
	diskSizes,
	type Host,
	stateOf,
} from "./domain.js";

/** VMs that are asked at once. */
const TOGETHER = 4;

export const listVms = async (host: Host): Promise<HostVm[]> => {
	const domains = await allDomains(host);
	const vms: HostVm[] = [];
	for (let n = 0; n < domains.length; n += TOGETHER)
		vms.push(...(await Promise.all(domains.slice(n, n + TOGETHER).map(describe))));
	return vms;
};

const describe = async (domain: Domain): Promise<HostVm> => {
	const { id, name } = domain;
	try {
		const [state, xml, sizes] = await Promise.all([stateOf(domain), definitionOf(domain, "now"), diskSizes(domain)]);
		const { disks, session } = described(domain, xml);
		return {
			id,
			name,
			state,
			disks: disks.map((disk) => describeDisk(disk, sizes.get(disk.target) ?? null)),
			session,
			problem: null,
		};
	} catch (error) {
		return { id, name, state: "off", disks: [], session: null, problem: causeOf(error) };
	}
};

const describeDisk = ({ name, format, unprotected }: Described["disks"][number], size: number | null): HostDisk => {
	const common = { name, size };
	if (unprotected !== null) return { ...common, protected: false, tracking: "none", why: unprotected };
	if (format !== "qcow2") return { ...common, protected: true, tracking: "none", why: RAW };
	return { ...common, protected: true, tracking: "persistent", why: null };
};
