/** Ends a move as libvirt's definition says: the VM uses the new file, or that goes. */
import { rmSync } from "node:fs";
import { type Domain, definitionOf, described } from "./domain.js";
import { blockJob } from "./jobs.js";
import type { RunNote } from "./notes.js";

/** Whoever calls this has the VM's lock. */
export const settleMove = async (domain: Domain, { move, to }: RunNote): Promise<string[]> => {
	if (move === undefined || to === undefined) return [];
	// Off: there is no job any more.
	const job = await blockJob(domain, move).catch(() => undefined);
	if (job !== undefined) await domain.host.virsh.call(["blockjob", domain.id, move, "--abort"]);
	const finished = (await uses(domain, move, to, "now")) || (await uses(domain, move, to, "stored"));
	if (!finished) rmSync(to, { force: true });
	return [`VM ${domain.name}: the move of disk ${move} to ${to} (${finished ? "finished" : "undone"})`];
};

export const uses = async (domain: Domain, target: string, path: string, which: "now" | "stored"): Promise<boolean> => {
	const { config, disks } = described(domain, await definitionOf(domain, which));
	return disks.some((disk, n) => disk.target === target && config.disks[n].path === path);
};
