/** The note of a move of a disk, and its end: after success, failure, or the death of the run that made it. */
import { rmSync } from "node:fs";
import { readFileWhole, replaceFileDurably } from "../../../native/durable-file.js";
import { HypervisorError } from "../errors.js";
import { OURS, usedNode } from "./block-nodes.js";
import { writeDefinition } from "./definition.js";
import { cancelJob } from "./jobs.js";
import type { Qmp } from "./qmp.js";
import type { Vm } from "./vm.js";

export const MOVED_FORMAT = "qcow2";

export interface Move {
	disk: string;
	index: number;
	/** node of the old place */
	from: string;
	/** of the new file */
	node: string;
	to: string;
	/** QEMU was asked to use the new file */
	pivoting: boolean;
}

export const noteMove = (vm: Vm, move: Move): void =>
	replaceFileDurably(vm.places.move, Buffer.from(JSON.stringify(move)));

/**
 * Ends a move as the guest's disk says: it uses the new file, or that goes. Whoever calls this has the VM's lock. Without
 * `qmp` the VM is off; rejects with STATE when then nobody can tell which file is the right one.
 */
export const settleMove = async (vm: Vm, qmp: Qmp | undefined): Promise<string[]> => {
	const move = readMove(vm);
	if (move === undefined) return [];
	const { disk, index, from, node, to } = move;
	const finished = qmp === undefined ? notFinished(vm, move) : await pivoted(qmp, index, node);
	if (finished) {
		const { config, disks } = vm.definition;
		const moved = config.disks.map((one) => (one.name === disk ? { ...one, path: to } : one));
		writeDefinition(vm.places.definition, {
			...vm.definition,
			config: { ...config, disks: moved },
			disks: { ...disks, [disk]: { source: to, format: MOVED_FORMAT } },
		});
		// A server of the old place would wait for us to leave.
		await qmp?.execute("blockdev-del", { "node-name": from }).catch(() => {});
	} else {
		await qmp?.execute("blockdev-del", { "node-name": node }).catch(() => {});
		rmSync(to, { force: true });
	}
	rmSync(vm.places.move, { force: true });
	return [`VM ${vm.name}: the move of disk ${disk} to ${to} (${finished ? "finished" : "undone"})`];
};

const pivoted = async (qmp: Qmp, index: number, node: string): Promise<boolean> => {
	await cancelJob(qmp, `${OURS}move-${index}`);
	return (await usedNode(qmp, index))?.name === node;
};

const notFinished = (vm: Vm, { disk, to, pivoting }: Move): false => {
	if (!pivoting) return false;
	throw new HypervisorError(
		"STATE",
		`VM ${vm.name} went off in the moment in which disk ${disk} was moved to ${to}: see which file is newer, name that in ${vm.places.definition}, and remove ${vm.places.move}`,
	);
};

const readMove = (vm: Vm): Move | undefined => {
	try {
		return JSON.parse(readFileWhole(vm.places.move).toString("utf8")) as Move;
	} catch (error) {
		if ((error as { code?: string }).code === "ENOENT") return undefined;
		throw error;
	}
};
