/**
 * The backup of a VM through its hypervisor: find it, bring it to rest, take a moment of all its disks, store what
 * changed, give the moment back. Whatever happens, the VM runs on as before, and nothing of ours is left on the host.
 */
import type { HostVm, Hypervisor, Snapshot } from "../hypervisor/index.js";
import { ReadLimit, timerUntil } from "../image/index.js";
import {
	type DiskResult,
	type Point,
	type Progress,
	type Repository,
	RepositoryError,
} from "../repository/contract.js";
import { clockWarnings } from "./clock.js";
import { checkInterrupted, reason } from "./errors.js";
import { configOfPoint } from "./host-config.js";
import { type MinimumConsistency, requireConsistency } from "./host-consistency.js";
import { type OpenHostDisk, openHostDisk } from "./host-disks.js";
import { type HostFacts, lastPointOf } from "./host-facts.js";
import { type HostScripts, withScripts } from "./host-scripts.js";
import { findHostVm, pointNameOf } from "./host-vm.js";

export interface HostBackupOptions {
	/** as `hosts.yaml` has it */
	host: { name: string; type: string; uri: string };
	/** open; stays open */
	hypervisor: Hypervisor;
	/** id or name of the VM on the host */
	vm: string;
	/** name of the VM in the repository; default: its name on the host */
	as?: string;
	/** less than this fails the run; default "crash" */
	consistency?: MinimumConsistency;
	/** false: the guest is not asked to come to rest */
	quiesce?: boolean;
	/** ms that the guest's file systems may be frozen; default: the driver's */
	freezeMs?: number;
	/** local folder for old content of what the guest overwrites meanwhile; default: the driver's */
	scratch?: string;
	scripts?: HostScripts;
	/** bytes per second, all disks together; or a limit that others share */
	readLimit?: number | ReadLimit;
	/** "none", "lz4", "zstd" or "zstd:LEVEL"; default the repository's */
	compression?: string;
	tags?: string[];
	/** takes what a person should know while it runs, one sentence each */
	say?: (line: string) => void;
	progress?: (progress: Progress) => void;
	signal?: AbortSignal;
	/** injected clock; default the system's */
	now?: () => Date;
}

export interface HostBackupReport {
	/** id of the new restore point */
	point: string;
	/** its name in the repository */
	vm: string;
	disks: (DiskResult & {
		/** only what changed was read */
		tracked: boolean;
		/** why all was read; null otherwise */
		why: string | null;
	})[];
	seconds: number;
	host: string;
	/** UUID of the VM */
	id: string;
	consistency: Snapshot["consistency"];
	/** why it is not more; null when it is what was asked of the host */
	why: string | null;
	/** ms that the guest's file systems were frozen */
	frozenMs: number;
	/** disks that are not in the point, and why */
	left: Snapshot["left"];
	/** what somebody should look at, one sentence each */
	warnings: string[];
}

/** Rejects with SourceError, HypervisorError or RepositoryError: one line for the user each, and no restore point. */
export async function hostBackup(repository: Repository, options: HostBackupOptions): Promise<HostBackupReport> {
	const { host, hypervisor, signal } = options;
	const vm = findHostVm(await hypervisor.list(), options.vm, host.name);
	const points = await repository.points();
	const name = pointNameOf(points, vm, options.as);
	if (vm.session !== null)
		options.say?.(
			`it runs from session ${vm.session}: springback backup --session ${vm.session} reads only what it changed`,
		);
	for (const line of await hypervisor.cleanUp(vm.id)) options.say?.(`left by a run that died, taken away: ${line}`);
	const about = { VM: vm.name, VM_ID: vm.id, HOST: host.name, REPO: repository.path, NAME: name };
	return withScripts(options, about, () => {
		checkInterrupted(signal, "backup");
		return ofSnapshot(repository, options, vm, name, lastPointOf(points, host, vm.id));
	});
}

async function ofSnapshot(
	repository: Repository,
	options: HostBackupOptions,
	vm: HostVm,
	name: string,
	last: { point: Point; facts: HostFacts } | undefined,
): Promise<HostBackupReport> {
	const { host, hypervisor, consistency = "crash", quiesce = true, freezeMs, scratch, signal, say } = options;
	const began = performance.now();
	const description = await hypervisor.readConfig(vm.id);
	const snapshot = await hypervisor.snapshot(vm.id, { quiesce, freezeMs, scratch, since: last?.facts.changeId });
	const taken = (options.now ?? (() => new Date()))();
	const disks: OpenHostDisk[] = [];
	const warnings: string[] = [];
	let stored: { point: Point; disks: DiskResult[] } | undefined;
	// A host that hangs must not keep an interrupted backup waiting: closing a disk fails its reads.
	const giveUp = () => void closeAll(disks).catch(() => {});
	signal?.addEventListener("abort", giveUp, { once: true });
	try {
		requireConsistency(snapshot, consistency, vm);
		if (snapshot.why !== null) say?.(`consistency ${snapshot.consistency}: ${snapshot.why}`);
		const config = configOfPoint(description, snapshot);
		const { readLimit } = options;
		const limit = typeof readLimit === "number" ? new ReadLimit(readLimit, timerUntil(signal)) : readLimit;
		for (const { name: disk } of snapshot.disks) {
			checkInterrupted(signal, "backup");
			disks.push(await openHostDisk(hypervisor, snapshot, disk, { config, last, limit }));
		}
		for (const { name: disk, why } of disks) if (why !== null) say?.(`${disk}: all of it is read: ${why}`);
		if (last !== undefined && last.facts.name !== vm.name)
			say?.(`this VM was called ${last.facts.name} at its last backup (${last.point.vm}@${last.point.id.slice(0, 8)})`);
		const store = () =>
			repository.backup({
				vm: name,
				disks: disks.map(({ name: disk, image, changed }) => ({ name: disk, image, changed })),
				config,
				files: description.files,
				consistency: snapshot.consistency,
				facts: { hypervisor: factsOf(host, vm, snapshot, disks) },
				compression: options.compression,
				tags: options.tags,
				now: () => taken,
				progress: options.progress,
				signal,
			});
		stored = await store().catch((error: unknown) => {
			checkInterrupted(signal, "backup");
			if (!forgetBase(disks, error)) throw error;
			say?.(`the last restore point cannot be gone on from (${reason(error)}): all is read`);
			return store();
		});
	} catch (error) {
		// What failed because we closed it under its reader was interrupted, not broken.
		checkInterrupted(signal, "backup");
		throw error;
	} finally {
		signal?.removeEventListener("abort", giveUp);
		await closeAll(disks).catch(() => {});
		await hypervisor.removeSnapshot(snapshot, { forget: stored === undefined }).catch((error: unknown) => {
			const line = `VM ${vm.name}: the snapshot is still there, the next backup takes it away: ${reason(error)}`;
			if (stored === undefined) say?.(line);
			else warnings.push(line);
		});
	}
	warnings.push(...(await clockWarnings(repository, stored.point)));
	for (const { name: disk, why } of snapshot.left) warnings.push(`disk ${disk} is NOT in the restore point: ${why}`);
	return {
		point: stored.point.id,
		vm: name,
		disks: stored.disks.map((result, n) => ({ ...result, tracked: disks[n].why === null, why: disks[n].why })),
		seconds: Math.round(performance.now() - began) / 1000,
		host: host.name,
		id: vm.id,
		consistency: snapshot.consistency,
		why: snapshot.why,
		frozenMs: snapshot.frozenMs,
		left: snapshot.left,
		warnings,
	};
}

function factsOf(
	host: HostBackupOptions["host"],
	vm: HostVm,
	{ changeId, frozenMs, why, left }: Snapshot,
	disks: readonly OpenHostDisk[],
): HostFacts {
	return {
		host: host.name,
		type: host.type,
		uri: host.uri,
		vm: vm.id,
		name: vm.name,
		state: vm.state,
		changeId,
		frozenMs,
		why,
		disks: disks.map(({ name, path, changed, why: all }) => ({ name, path, since: changed?.since ?? null, why: all })),
		left,
	};
}

/** The point that was to be shared went away, or cannot be read: true when all can be read instead. */
function forgetBase(disks: OpenHostDisk[], error: unknown): boolean {
	const ofBase = error instanceof RepositoryError && ["DAMAGED", "UNKNOWN_POINT", "LOCKED"].includes(error.code);
	if (!ofBase || disks.every(({ changed }) => changed === undefined)) return false;
	for (const disk of disks) {
		if (disk.changed === undefined) continue;
		disk.changed = undefined;
		disk.why = "the last restore point could not be read";
	}
	return true;
}

async function closeAll(disks: readonly OpenHostDisk[]): Promise<void> {
	await Promise.all(disks.map(({ image }) => image.close()));
}
