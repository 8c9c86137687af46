/**
 * Checkpoints of libvirt: a dirty bitmap for each qcow2 disk, under one name. Each snapshot begins one. They are
 * validated, not trusted: what does not fit is not used, and a sentence says why.
 */
import { all, attribute, content, type Element, first, parseXml } from "../../vm/index.js";
import type { Domain } from "./domain.js";

/** Checkpoints kept for each VM: how many snapshots back `since` may lie. */
export const CHECKPOINTS_KEPT = 4;
const OURS = "springback-";
const NAME = /^springback-(\d{8})-[0-9a-f]{8}$/;
/** Begins the description in which a checkpoint keeps the sizes of its disks. */
const SIZES = "sizes ";

export const changeIdOf = (name: string): string => name.slice(OURS.length);
export const nameOf = (changeId: string): string => OURS + changeId;
export const descriptionOf = (sizes: Map<string, number>): string =>
	SIZES + [...sizes].map(([target, size]) => `${target}=${size}`).join(" ");

/** Ours, oldest first. */
export const ourCheckpoints = async ({ host, id }: Domain): Promise<string[]> =>
	(await host.virsh.call(["checkpoint-list", id, "--name"]))
		.split("\n")
		.map((line) => line.trim())
		.filter((line) => NAME.test(line))
		.sort();

/** `random`: 8 hex digits */
export const nextCheckpoint = (ours: string[], random: string): string =>
	`${OURS}${String(Number(NAME.exec(ours.at(-1) ?? "")?.[1] ?? 0) + 1).padStart(8, "0")}-${random}`;

/** How the changes of a disk since a checkpoint are known: not at all (`why`), or from its bitmap. */
export type Known = { why: string } | { checkpoint: string };

export const RAW = "libvirt keeps no record of changes for disks that are not qcow2, so all of it is compared";
const GONE =
	"libvirt has no record of what changed since then (the VM was registered anew, its host crashed, or that backup is too long ago)";

/** For each disk (its size in bytes), what is known since the change id. */
export const knownSince = async (
	domain: Domain,
	changeId: string,
	disks: Map<string, number>,
): Promise<Map<string, Known>> => {
	const name = nameOf(changeId);
	const same = (known: Known) => new Map([...disks.keys()].map((target) => [target, known]));
	if (!NAME.test(name)) return same({ why: `${changeId} is no change id of libvirt's checkpoints` });
	let checkpoint: Element;
	try {
		const xml = await domain.host.virsh.bytes(["checkpoint-dumpxml", domain.id, name]);
		checkpoint = parseXml(xml, "domaincheckpoint", "checkpoint");
	} catch {
		return same({ why: GONE });
	}
	const uuid = content(first(first(checkpoint, "domain"), "uuid"));
	if (uuid !== domain.id) return same({ why: "libvirt's checkpoint of then is one of another VM" });
	const sizes = new Map((content(first(checkpoint, "description")) ?? "").slice(SIZES.length).split(" ").map(pair));
	const tracked = all(first(checkpoint, "disks"), "disk")
		.filter((disk) => attribute(disk, "checkpoint") === "bitmap")
		.map((disk) => attribute(disk, "name"));
	return new Map(
		[...disks].map(([target, size]): [string, Known] => {
			if (!tracked.includes(target)) return [target, { why: "its changes were not recorded then" }];
			if (sizes.get(target) !== size) return [target, { why: `its size was ${sizes.get(target) ?? "another"} then` }];
			return [target, { checkpoint: name }];
		}),
	);
};

const pair = (text: string): [string, number] => {
	const [target, size] = text.split("=");
	return [target, Number(size)];
};

/** A checkpoint whose bitmaps are damaged or gone is forgotten nevertheless. */
export const deleteCheckpoint = async ({ host, id }: Domain, name: string): Promise<void> => {
	await host.virsh.call(["checkpoint-delete", id, name]).catch(async (error: { code?: string }) => {
		if (error.code === "STATE") throw error;
		await host.virsh.call(["checkpoint-delete", id, name, "--metadata"]);
	});
};

/** Those that are too old. Bitmaps go from disks only while the VM runs. */
export const deleteOld = async (domain: Domain): Promise<void> => {
	for (const name of (await ourCheckpoints(domain)).slice(0, -CHECKPOINTS_KEPT)) await deleteCheckpoint(domain, name);
};
