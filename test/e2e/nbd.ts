/** What the tests of published disks over NBD share. */
import type { Test } from "tap";
import { writeDisk } from "./content.js";
import { must, type Published, Workspace } from "./workspace.js";

export const MIB = 2 ** 20;
export const SIZE = 24 * MIB;
/** options of publish: no port that is known */
export const FREE = ["--nfs-port", "0", "--mount-port", "0", "--no-portmap"];

/** One VM with one disk, backed up. */
export async function prepared(t: Test, size = SIZE): Promise<Workspace> {
	const work = new Workspace();
	t.teardown(() => work.close());
	await work.init();
	writeDisk(work.path("source.raw"), 5, size);
	await work.backup("vm", work.path("source.raw"));
	return work;
}

/** URIs of the first disk. */
export function uris({ ready }: Published): { unix: string; tcp: string } {
	const [{ disk, uris }] = ready.nbd;
	if (disk !== "disk0") throw new Error(`the disk is called ${disk}`);
	return { unix: uris[0], tcp: uris[1] };
}

/** a frozen view of the disk; "point": the restore point */
export const view = (uri: string, name: string): string => uri.replace("disk0", `disk0@${name}`);

/** [offset, length, flags] of a context, from nbdinfo */
export async function map(uri: string, context = "base:allocation"): Promise<[number, number, number][]> {
	const json = JSON.parse(await must("nbdinfo", ["--json", `--map=${context}`, uri]));
	return json.map(({ offset, length, type }: Record<string, number>) => [offset, length, type]);
}
