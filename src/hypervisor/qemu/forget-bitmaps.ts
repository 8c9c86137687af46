/** Dirty bitmaps that QEMU itself no longer trusts: of no use, and in the way when a disk is to grow. */
import { usedNode } from "./block-nodes.js";
import { inconsistent } from "./change-tracking.js";
import type { Qmp } from "./qmp.js";
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
