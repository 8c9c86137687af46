/**
 * A moment of all disks, kept readable while the guest goes on: each disk gets a new dirty bitmap, changes over to a
 * filter that keeps what is overwritten, and the old bitmap stops.
 */
import { randomBytes } from "node:crypto";
import type { Snapshot, SnapshotOptions } from "../contract.js";
import { causeOf, HypervisorError } from "../errors.js";
import { type UsedNode, usedNode } from "./block-nodes.js";
import { changeIdOf, GRANULARITY, inconsistent, nextBitmap, recording } from "./change-tracking.js";
import { cleanVm } from "./clean-up.js";
import { atRest, type Rest } from "./freeze.js";
import { startHelper } from "./helper.js";
import { paused } from "./pause.js";
import type { Qmp } from "./qmp.js";
import { removeSnapshot } from "./remove-snapshot.js";
import { accessNode, addAccess, addFilter, beginScratch, useFilter } from "./scratch.js";
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
	/** name of the node that shows a disk as it was; of a VM that is off that is the disk itself */
	access: (index: number) => string;
	serving: boolean;
	closed: boolean;
}

export const snapshot = async (
	vm: Vm,
	options: SnapshotOptions,
): Promise<{ snapshot: Snapshot; open: OpenSnapshot }> => {
	const lock = lockVm(vm);
	const open: OpenSnapshot = {
		vm,
		lock,
		socket: vm.places.qmp,
		bitmap: "",
		nodes: [],
		access: (index) => `disk-${index}`,
		serving: false,
		closed: false,
	};
	try {
		await cleanVm(vm);
		const off = (await stateOf(vm)) === "off";
		if (off) {
			open.socket = vm.places.helper;
			await startHelper(vm);
		}
		return await withQmp(vm, (qmp) => take(open, qmp, options, off), open.socket);
	} catch (error) {
		await removeSnapshot(open, true).catch(() => {});
		if (error instanceof HypervisorError) throw error;
		throw new HypervisorError("FAILED", `VM ${vm.name}: no snapshot: ${causeOf(error)}`, { cause: error });
	}
};

const take = async (open: OpenSnapshot, qmp: Qmp, options: SnapshotOptions, off: boolean) => {
	const { vm } = open;
	const left: Snapshot["left"] = [];
	for (const [index, { name, bus, unprotected }] of vm.definition.config.disks.entries()) {
		const node = unprotected === null && (off || bus !== "usb") ? await usedNode(qmp, index) : undefined;
		if (node !== undefined) open.nodes.push({ disk: name!, index, node });
		else
			left.push({
				name: name!,
				why:
					unprotected ??
					(bus === "usb"
						? "disks on USB only while the VM is off"
						: "QEMU has no such disk: was it started by something else?"),
			});
	}
	if (open.nodes.length === 0)
		throw new HypervisorError("UNSUPPORTED", `VM ${vm.name} has no disk that can be backed up`);
	for (const { node } of open.nodes)
		for (const name of inconsistent(node)) await qmp.execute("block-dirty-bitmap-remove", { node: node.name, name });
	open.bitmap = nextBitmap(
		open.nodes.map(({ node }) => node),
		randomBytes(4).toString("hex"),
	);
	let rest: Rest = { consistency: "crash", why: null, frozenMs: 0 };
	if (off) await qmp.execute("transaction", { actions: bitmapActions(open, ["begin", "stop"]) });
	else rest = await ofRunning(open, qmp, options);
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

const ofRunning = async (open: OpenSnapshot, qmp: Qmp, options: SnapshotOptions): Promise<Rest> => {
	const { vm, nodes } = open;
	const folder = options.scratch ?? vm.places.own;
	beginScratch(
		vm,
		folder,
		nodes.map(({ index, node }) => ({ index, node: node.name })),
	);
	for (const { index, node } of nodes) await addFilter(vm, qmp, folder, index, node);
	const moment = async () => {
		// The new bitmaps begin before the moment and the old ones stop behind it: both may say too much, neither too little.
		await qmp.execute("transaction", { actions: bitmapActions(open, ["begin"]) });
		const change = async () => {
			for (const { index } of nodes) await useFilter(qmp, index);
		};
		// Several disks change over at one moment: the guest stands still meanwhile, for milliseconds.
		await (nodes.length > 1 ? paused(vm, qmp, change) : change());
		const stop = bitmapActions(open, ["stop"]);
		if (stop.length > 0) await qmp.execute("transaction", { actions: stop });
	};
	let rest: Rest = { consistency: "crash", why: null, frozenMs: 0 };
	if (options.quiesce === true) rest = await atRest(vm, options.freezeMs ?? FREEZE_MS, moment);
	else await moment();
	for (const { index } of nodes) await addAccess(qmp, index);
	open.access = accessNode;
	return rest;
};

const bitmapActions = ({ nodes, bitmap }: OpenSnapshot, what: ("begin" | "stop")[]): object[] =>
	nodes.flatMap(({ node }) => [
		...(what.includes("begin")
			? [
					{
						type: "block-dirty-bitmap-add",
						data: { node: node.name, name: bitmap, granularity: GRANULARITY, persistent: node.driver === "qcow2" },
					},
				]
			: []),
		...(what.includes("stop")
			? recording(node)
					.filter((name) => !inconsistent(node).includes(name))
					.map((name) => ({ type: "block-dirty-bitmap-disable", data: { node: node.name, name } }))
			: []),
	]);
