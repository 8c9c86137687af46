/** What a restore point remembers of the host it came from: by that the next backup finds what it can go on from. */
import type { Point } from "../repository/contract.js";

/** Under "hypervisor" in the facts of a point. Fields are only ever added. */
export interface HostFacts {
	/** the host's name when it was made: a label */
	host: string;
	/** host and VM are known by these three: "qemu", its URI, the VM's UUID */
	type: string;
	uri: string;
	vm: string;
	/** the VM's name on the host when it was made */
	name: string;
	state: "running" | "paused" | "off";
	/** names the moment for the hypervisor: what changed since? */
	changeId: string;
	/** ms that the guest's file systems were frozen */
	frozenMs: number;
	/** why the consistency is not more; null when it is what was asked for */
	why: string | null;
	disks: HostDiskFacts[];
	/** disks that are not in the point, and why */
	left: { name: string; why: string }[];
}

export interface HostDiskFacts {
	name: string;
	/** where the hypervisor has it; null when it does not tell */
	path: string | null;
	/** the point since which only changes were read; null: all was */
	since: string | null;
	/** why all was read; null otherwise */
	why: string | null;
}

export interface HostIdentity {
	type: string;
	uri: string;
}

/** Undefined for a point that was not made through a host. Facts are free-form: whatever is not as expected does not count. */
export function hostFactsOf({ facts }: Pick<Point, "facts">): HostFacts | undefined {
	const found = facts.hypervisor as Partial<HostFacts> | undefined | null;
	if (typeof found !== "object" || found === null) return undefined;
	const texts = [found.host, found.type, found.uri, found.vm, found.name, found.changeId];
	if (!texts.every((text) => typeof text === "string") || !Array.isArray(found.disks)) return undefined;
	return { ...(found as HostFacts), left: Array.isArray(found.left) ? found.left : [] };
}

/** The newest point of this VM of this host, whatever it was called then; `points`: newest last. */
export function lastPointOf(
	points: readonly Point[],
	{ type, uri }: HostIdentity,
	vm: string,
): { point: Point; facts: HostFacts } | undefined {
	for (const point of [...points].reverse()) {
		const facts = hostFactsOf(point);
		if (facts !== undefined && facts.type === type && facts.uri === uri && facts.vm === vm) return { point, facts };
	}
	return undefined;
}
