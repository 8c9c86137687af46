/** Opens the disks of a snapshot, and says what of each must be read: what changed since the last point, or all, and why. */
import type { Hypervisor, Snapshot } from "../hypervisor/index.js";
import { type Image, LimitedImage, type ReadLimit } from "../image/index.js";
import type { ChangedSince, Point } from "../repository/contract.js";
import type { VmConfig } from "../vm/index.js";
import type { HostFacts } from "./host-facts.js";

export interface OpenHostDisk {
	name: string;
	path: string | null;
	image: Image;
	/** undefined: all is read */
	changed?: ChangedSince;
	/** why all is read, in one sentence; null otherwise */
	why: string | null;
}

/** What the disk may go on from: a change id to ask with and the point that has that content, or why there is none. */
type Base = { changeId: string; point: string } | { why: string };

export async function openHostDisk(
	hypervisor: Hypervisor,
	snapshot: Snapshot,
	name: string,
	{ config, last, limit }: { config: VmConfig; last?: { point: Point; facts: HostFacts }; limit?: ReadLimit },
): Promise<OpenHostDisk> {
	const path = config.disks.find((disk) => disk.name === name)?.path ?? null;
	const base = baseOf(name, path, last);
	const asked = "changeId" in base ? base.changeId : undefined;
	const { image: whole, changed, whyAll } = await hypervisor.openDisk(snapshot, name, asked);
	const image = limit === undefined ? whole : new LimitedImage(whole, limit);
	if ("why" in base) return { name, path, image, why: base.why };
	if (changed === undefined) return { name, path, image, why: whyAll ?? "the host does not tell what changed" };
	return { name, path, image, changed: { since: base.point, extents: changed }, why: null };
}

function baseOf(name: string, path: string | null, last: { point: Point; facts: HostFacts } | undefined): Base {
	if (last === undefined) return { why: "it is the first backup of this VM from this host" };
	const { point, facts } = last;
	const before = facts.disks.find((disk) => disk.name === name);
	if (before === undefined || !point.disks.some((disk) => disk.name === name))
		return { why: `the last restore point (${point.id.slice(0, 8)}) does not have this disk` };
	if (before.path !== path)
		return {
			why: `the disk lies elsewhere than at the last backup (${before.path ?? "unknown"}, now ${path ?? "unknown"})`,
		};
	return { changeId: facts.changeId, point: point.id };
}
