/**
 * Scratch files: where the old content of blocks goes that the guest overwrites while a backup reads. When one is full
 * or hangs, the snapshot breaks, never the guest.
 */
import { mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { readFileWhole, replaceFileDurably } from "../../../native/durable-file.js";
import { deviceId, OURS, usedNode } from "./block-nodes.js";
import { createImage } from "./create-image.js";
import type { Qmp } from "./qmp.js";
import type { Vm } from "./vm.js";

/** s that a guest's write waits at most for the copy of what was there. */
const COPY_SECONDS = 20;

const scratchNode = (index: number): string => `${OURS}s${index}`;
const filterNode = (index: number): string => `${OURS}c${index}`;
/** the disk as it was */
export const accessNode = (index: number): string => `${OURS}a${index}`;
const notePath = (vm: Vm): string => join(vm.places.own, "scratch");
const prefix = (vm: Vm): string => `springback-${vm.id}-`;

interface Note {
	folder: string;
	/** what each disk uses otherwise */
	nodes: { index: number; node: string }[];
}

/** Says what will be there before there is anything. */
export const beginScratch = (vm: Vm, folder: string, nodes: Note["nodes"]): void => {
	for (const path of [vm.places.own, folder]) mkdirSync(path, { recursive: true, mode: 0o700 });
	replaceFileDurably(notePath(vm), Buffer.from(JSON.stringify({ folder, nodes })));
};

const readNote = (vm: Vm): Note | undefined => {
	try {
		return JSON.parse(readFileWhole(notePath(vm)).toString("utf8")) as Note;
	} catch (error) {
		if ((error as { code?: string }).code === "ENOENT") return undefined;
		throw error;
	}
};

/** A filter over `node` that copies what is overwritten into a new file; nothing goes through it yet. */
export const addFilter = async (
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
	// Its content is worth nothing after a crash.
	const cache = { direct: false, "no-flush": true };
	await qmp.execute("blockdev-add", { driver: "qcow2", "node-name": name, file: `${name}-file`, backing: null, cache });
	await qmp.execute("blockdev-add", {
		driver: "copy-before-write",
		"node-name": filterNode(index),
		file: node.name,
		target: name,
		"on-cbw-error": "break-snapshot",
		"cbw-timeout": COPY_SECONDS,
	});
};

const setDrive = async (qmp: Qmp, index: number, value: string): Promise<void> => {
	await qmp.execute("qom-set", { path: `/machine/peripheral/${deviceId(index)}`, property: "drive", value });
};

/** The moment: from now on the guest's disk uses the filter. */
export const useFilter = (qmp: Qmp, index: number): Promise<void> => setDrive(qmp, index, filterNode(index));

export const addAccess = (qmp: Qmp, index: number): Promise<unknown> =>
	qmp.execute("blockdev-add", { driver: "snapshot-access", "node-name": accessNode(index), file: filterNode(index) });

/** Takes the guest's disks off the filters again. Nobody may read the moment any more. */
export const leaveFilters = async (vm: Vm, qmp: Qmp): Promise<void> => {
	const present = new Set(
		(await qmp.execute<{ "node-name": string }[]>("query-named-block-nodes", { flat: true })).map(
			(one) => one["node-name"],
		),
	);
	for (const { index, node } of readNote(vm)?.nodes ?? []) {
		if (present.has(accessNode(index))) await qmp.execute("blockdev-del", { "node-name": accessNode(index) });
		// QEMU 7.2 dies, and the guest with it, when a disk is told to use what it uses already: a run may have been killed
		// before its filters were.
		const uses = present.has(filterNode(index)) && (await usedNode(qmp, index))?.name !== node;
		if (uses) await setDrive(qmp, index, node);
	}
};

/** Removes the files; their number. */
export const removeScratch = (vm: Vm): number => {
	const folder = readNote(vm)?.folder;
	if (folder === undefined) return 0;
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
	rmSync(notePath(vm), { force: true });
	return count;
};
