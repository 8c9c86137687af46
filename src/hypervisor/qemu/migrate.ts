/**
 * Moves a VM's disks while it runs: a mirror into a new file, then the pivot. A note beside the VM says what is being
 * done, so that a run that dies is undone, or finished where the guest already uses the new file.
 */
import { existsSync, mkdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { MigrationOptions } from "../contract.js";
import { causeOf, HypervisorError } from "../errors.js";
import { blockNode, OURS, usedNode } from "./block-nodes.js";
import { cleanVm } from "./clean-up.js";
import { createImage } from "./create-image.js";
import { fileOf } from "./definition.js";
import { concluded, ourJobs } from "./jobs.js";
import type { Qmp } from "./qmp.js";
import { MOVED_FORMAT as FORMAT, type Move, noteMove, settleMove } from "./settle-move.js";
import { lockVm, type Vm, vmIn, withQmp } from "./vm.js";

const POLL_MS = 200;

export const migrateStorage = async (host: string, vm: Vm, options: MigrationOptions): Promise<void> => {
	const folder = statSync(options.to, { throwIfNoEntry: false });
	if (folder?.isDirectory() !== true)
		throw new HypervisorError("NOT_FOUND", `${options.to}: there is no such folder to move disks to`);
	const lock = lockVm(vm);
	try {
		await cleanVm(vm);
		for (const [index, { name }] of vm.definition.config.disks.entries()) {
			if (options.disks !== undefined && !options.disks.includes(name!)) continue;
			// Read anew: the disks before it have moved.
			const now = vmIn(host, vm.name);
			await withQmp(now, (qmp) => moveDisk(now, qmp, index, name!, options));
		}
	} finally {
		lock.release();
	}
};

const moveDisk = async (vm: Vm, qmp: Qmp, index: number, disk: string, options: MigrationOptions): Promise<void> => {
	const node = await usedNode(qmp, index);
	if (node === undefined) throw new HypervisorError("STATE", `VM ${vm.name}: QEMU has no disk ${disk}`);
	const to = join(options.to, `${vm.name}-${disk}.${FORMAT}`);
	const from = vm.definition.disks[disk];
	if (fileOf(vm.places.folder, from) === to) return;
	if (existsSync(to))
		throw new HypervisorError("STATE", `${to} exists already: move it away, or choose another folder`);
	const newNode = `disk-${index}-${Date.now().toString(36)}`;
	const move: Move = { disk, index, from: node.name, node: newNode, to, pivoting: false };
	mkdirSync(vm.places.own, { recursive: true, mode: 0o700 });
	noteMove(vm, move);
	const job = `${OURS}move-${index}`;
	let paused = false;
	try {
		await createImage(qmp, to, FORMAT, node.size, `m${index}`);
		await qmp.execute("blockdev-add", blockNode(index, to, FORMAT, move.node));
		await qmp.execute("blockdev-mirror", {
			"job-id": job,
			device: node.name,
			target: move.node,
			sync: "full",
			"filter-node-name": `${OURS}mf${index}`,
			"auto-dismiss": false,
			...(options.rate === undefined ? {} : { speed: options.rate }),
		});
		await untilReady(qmp, job, disk, options);
		if (options.leavePaused === true) paused = await pause(qmp);
		noteMove(vm, { ...move, pivoting: true });
		await qmp.execute("job-complete", { id: job });
		await concluded(qmp, job);
	} catch (error) {
		await settleMove(vm, qmp);
		if (paused) await qmp.execute("cont").catch(() => {});
		if (options.signal?.aborted)
			throw new HypervisorError(
				"INTERRUPTED",
				`moving disk ${disk} of VM ${vm.name} was stopped; it goes on where it was`,
			);
		const space = /No space left/i.test(causeOf(error));
		throw new HypervisorError(
			space ? "NO_SPACE" : "FAILED",
			`disk ${disk} of VM ${vm.name} was not moved to ${options.to}: ${causeOf(error)}; the VM goes on where it was`,
			{ cause: error },
		);
	}
	await settleMove(vm, qmp);
};

/** True when it ran. */
const pause = async (qmp: Qmp): Promise<boolean> => {
	const { status } = await qmp.execute<{ status: string }>("query-status");
	if (status !== "running") return false;
	await qmp.execute("stop");
	return true;
};

const untilReady = async (
	qmp: Qmp,
	id: string,
	disk: string,
	{ progress, signal }: MigrationOptions,
): Promise<void> => {
	for (;;) {
		signal?.throwIfAborted();
		const job = (await ourJobs(qmp)).find((one) => one.id === id);
		if (job === undefined || job.status === "concluded" || job.error !== undefined) {
			await concluded(qmp, id);
			throw new Error("QEMU ended the copy");
		}
		progress?.({ disk, done: job["current-progress"], total: job["total-progress"] });
		if (job.status === "ready") return;
		await sleep(POLL_MS);
	}
};
