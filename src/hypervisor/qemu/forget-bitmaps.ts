/**
 * Dirty bitmaps that are given up: those that QEMU itself no longer trusts (of no use, and in the way when a disk is to
 * grow), that of a snapshot from which nothing was stored, and those that are too old.
 */
import { describeNode, usedNode } from "./block-nodes.js";
import { bitmapBefore, inconsistent, tooOld } from "./change-tracking.js";
import type { Qmp } from "./qmp.js";
import type { OpenSnapshot } from "./snapshot.js";
import type { Vm } from "./vm.js";

/** One line for each. */
export const forgetBitmaps = async (vm: Vm, qmp: Qmp): Promise<string[]> => {
	const lines: string[] = [];
	for (const [index, { name: disk }] of vm.definition.config.disks.entries()) {
		const node = await usedNode(qmp, index);
		for (const name of node === undefined ? [] : inconsistent(node)) {
			await qmp.execute("block-dirty-bitmap-remove", { node: node!.name, name });
			lines.push(`VM ${vm.name}: the broken record ${name} of what changed on disk ${disk}`);
		}
	}
	return lines;
};

/** The snapshot is stored: records that reach further back than anybody asks are given up. */
export const forgetOld = async ({ nodes }: OpenSnapshot, qmp: Qmp): Promise<void> => {
	for (const { node } of nodes) {
		const now = await describeNode(qmp, node.name);
		for (const name of now === undefined ? [] : tooOld(now))
			await qmp.execute("block-dirty-bitmap-remove", { node: node.name, name });
	}
};

/** What the snapshot's bitmap has recorded goes into the one before, which records on: as if it had never been. */
export const forgetSnapshot = async ({ nodes, bitmap }: OpenSnapshot, qmp: Qmp): Promise<void> => {
	for (const { node } of nodes) {
		const now = await describeNode(qmp, node.name);
		if (!now?.bitmaps.some(({ name }) => name === bitmap)) continue;
		const before = bitmapBefore(now, bitmap);
		const kept =
			before === undefined
				? []
				: [
						{ type: "block-dirty-bitmap-enable", data: { node: node.name, name: before } },
						{ type: "block-dirty-bitmap-merge", data: { node: node.name, target: before, bitmaps: [bitmap] } },
					];
		await qmp.execute("transaction", {
			actions: [...kept, { type: "block-dirty-bitmap-remove", data: { node: node.name, name: bitmap } }],
		});
	}
};
