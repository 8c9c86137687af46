/** Scratch files: where the old content of blocks goes that the guest overwrites while a backup reads. */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { OURS } from "./block-nodes.js";
import { createImage } from "./create-image.js";
import type { Qmp } from "./qmp.js";
import type { Vm } from "./vm.js";

export const scratchNode = (index: number): string => `${OURS}s${index}`;
const note = (vm: Vm): string => join(vm.places.own, "scratch");
const prefix = (vm: Vm): string => `springback-${vm.id}-`;

/** Says where they are before there is one. */
export const beginScratch = (vm: Vm, folder = vm.places.own): string => {
	mkdirSync(folder, { recursive: true, mode: 0o700 });
	writeFileSync(note(vm), folder);
	return folder;
};

/** An empty overlay over `node`, as a node of its own. */
export const addScratch = async (
	vm: Vm,
	qmp: Qmp,
	folder: string,
	index: number,
	node: { name: string; size: number },
): Promise<void> => {
	const filename = join(folder, `${prefix(vm)}${index}.qcow2`);
	await createImage(qmp, filename, "qcow2", node.size, `s${index}`);
	const name = scratchNode(index);
	await qmp.execute("blockdev-add", { driver: "file", "node-name": `${name}-file`, filename });
	await qmp.execute("blockdev-add", {
		driver: "qcow2",
		"node-name": name,
		file: `${name}-file`,
		backing: node.name,
		// Its content is worth nothing after a crash.
		cache: { direct: false, "no-flush": true },
	});
};

/** Removes the files; their number. */
export const removeScratch = (vm: Vm): number => {
	let folder: string;
	try {
		folder = readFileSync(note(vm), "utf8");
	} catch {
		return 0;
	}
	let count = 0;
	try {
		for (const name of readdirSync(folder)) {
			if (!name.startsWith(prefix(vm))) continue;
			rmSync(join(folder, name), { force: true });
			count += 1;
		}
	} catch (error) {
		if ((error as { code?: string }).code !== "ENOENT") throw error;
	}
	rmSync(note(vm), { force: true });
	return count;
};
