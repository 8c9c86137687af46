/**
 * A moment of all disks, kept readable while the guest goes on: in one transaction each disk gets a new dirty bitmap,
 * the old one stops, and a copy-before-write job into a scratch file begins.
 */
import { randomBytes } from "node:crypto";
import type { Snapshot, SnapshotOptions } from "../contract.js";
import { causeOf, HypervisorError } from "../errors.js";
import { OURS, type UsedNode, usedNode } from "./block-nodes.js";
import { changeIdOf, GRANULARITY, nextBitmap, recording, worthless } from "./change-tracking.js";
import { cleanVm } from "./clean-up.js";
import { atRest, type Rest } from "./freeze.js";
import { startHelper } from "./helper.js";
import type { Qmp } from "./qmp.js";
import { removeSnapshot } from "./remove-snapshot.js";
import { addScratch, beginScratch, scratchNode } from "./scratch.js";
import { lockVm, stateOf, type Vm, withQmp } from "./vm.js";

const FREEZE_MS = 10_000;

/** What a driver remembers of a snapshot that it has. */
export interface OpenSnapshot {
	vm: Vm;
	lock: { release(): void };
	/** the VM's monitor, or the helper's */
	socket: string;
	/** name of the bitmap that began with it */
	bitmap: string;
	nodes: { disk: string; index: number; node: UsedNode }[];
	serving: boolean;
	closed: boolean;
}

export const snapshot = async (
	vm: Vm,
	options: SnapshotOptions,
): Promise<{ snapshot: Snapshot; open: OpenSnapshot }> => {
	const lock = lockVm(vm);
	const open: OpenSnapshot = { vm, lock, socket: vm.places.qmp, bitmap: "", nodes: [], serving: false, closed: false };
	try {
		await cleanVm(vm);
		const off = (await stateOf(vm)) === "off";
		if (off) {
			open.socket = vm.places.helper;
			await startHelper(vm);
		}
		return await withQmp(vm, (qmp) => take(open, qmp, options, off), open.socket);
	} catch (error) {
		await removeSnapshot(open).catch(() => {});
		if (error instanceof HypervisorError) throw error;
		throw new HypervisorError("FAILED", `VM ${vm.name}: no snapshot: ${causeOf(error)}`, { cause: error });
	}
};

const take = async (open: OpenSnapshot, qmp: Qmp, options: SnapshotOptions, off: boolean) => {
	const { vm } = open;
	const left: Snapshot["left"] = [];
	for (const [index, { name, unprotected }] of vm.definition.config.disks.entries()) {
		const node = unprotected === null ? await usedNode(qmp, index) : undefined;
		if (node !== undefined) open.nodes.push({ disk: name!, index, node });
		else left.push({ name: name!, why: unprotected ?? "QEMU has no such disk: was it started by something else?" });
	}
	if (open.nodes.length === 0)
		throw new HypervisorError("UNSUPPORTED", `VM ${vm.name} has no disk that can be backed up`);
	for (const { node } of open.nodes)
		for (const name of worthless(node)) await qmp.execute("block-dirty-bitmap-remove", { node: node.name, name });
	open.bitmap = nextBitmap(
		open.nodes.map(({ node }) => node),
		randomBytes(4).toString("hex"),
	);
	const folder = beginScratch(vm, options.scratch);
	for (const { index, node } of open.nodes) await addScratch(vm, qmp, folder, index, node);
	const actions = open.nodes.flatMap(({ index, node }) => actionsFor(index, node, open.bitmap));
	const moment = async () => {
		await qmp.execute("transaction", { actions });
	};
	let rest: Rest = { consistency: "crash", why: null, frozenMs: 0 };
	if (options.quiesce === true && !off) rest = await atRest(vm, options.freezeMs ?? FREEZE_MS, moment);
	else await moment();
	return {
		open,
		snapshot: {
			vm: vm.id,
			changeId: changeIdOf(open.bitmap),
			...rest,
			disks: open.nodes.map(({ disk, node }) => ({ name: disk, size: node.size })),
			left,
		},
	};
};

const actionsFor = (index: number, node: UsedNode, bitmap: string): object[] => [
	...recording(node)
		.filter((name) => !worthless(node).includes(name))
		.map((name) => ({ type: "block-dirty-bitmap-disable", data: { node: node.name, name } })),
	{
		type: "block-dirty-bitmap-add",
		data: { node: node.name, name: bitmap, granularity: GRANULARITY, persistent: node.driver === "qcow2" },
	},
	{
		type: "blockdev-backup",
		data: {
			"job-id": `${OURS}b${index}`,
			device: node.name,
			target: scratchNode(index),
			sync: "none",
			"filter-node-name": `${OURS}f${index}`,
		},
	},
];
