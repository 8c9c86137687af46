/** Takes away everything of ours in a VM's process, whichever run made it. Whoever calls this has the VM's lock. */
import { existsSync, rmSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { OURS, ourNodes } from "./block-nodes.js";
import { cancelJob, ourJobs } from "./jobs.js";
import type { Qmp } from "./qmp.js";
import { leaveFilters } from "./scratch.js";
import type { Vm } from "./vm.js";

interface Export {
	id: string;
}

/** One line for each thing that was there. */
export const takeAway = async (vm: Vm, qmp: Qmp): Promise<string[]> => {
	const lines: string[] = [];
	const exports = async () =>
		(await qmp.execute<Export[]>("query-block-exports")).filter(({ id }) => id.startsWith(OURS));
	const ours = await exports();
	for (const { id } of ours) {
		await qmp.execute("block-export-del", { id, mode: "hard" });
		lines.push(`VM ${vm.name}: export ${id}`);
	}
	while ((await exports()).length > 0) await sleep(10);
	// There is one NBD server in a process: ours when its exports were, or its socket.
	if (ours.length > 0 || existsSync(vm.places.nbd)) await qmp.execute("nbd-server-stop").catch(() => {});
	rmSync(vm.places.nbd, { force: true });
	await leaveFilters(vm, qmp);
	for (const { id } of await ourJobs(qmp)) {
		await cancelJob(qmp, id);
		lines.push(`VM ${vm.name}: job ${id}`);
	}
	// Overlays before the files under them: what is in use now can go in a later round.
	for (let left = await ourNodes(qmp), before = -1; left.length > 0 && left.length !== before; ) {
		before = left.length;
		for (const name of left) if (await removed(qmp, name)) lines.push(`VM ${vm.name}: node ${name}`);
		left = await ourNodes(qmp);
	}
	return lines;
};

const removed = (qmp: Qmp, name: string): Promise<boolean> =>
	qmp.execute("blockdev-del", { "node-name": name }).then(
		() => true,
		() => false,
	);
