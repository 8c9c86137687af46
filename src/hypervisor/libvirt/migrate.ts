/**
 * Moves a VM's disks while it runs: libvirt's block copy into a new file, then the pivot. A note in the VM's metadata
 * says what is being done, so that a run that dies is undone, or finished where the VM already uses the new file.
 */
import { existsSync, statfsSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { content, first, parseXml } from "../../vm/index.js";
import type { MigrationOptions } from "../contract.js";
import { causeOf, HypervisorError } from "../errors.js";
import { cleanDomain } from "./clean-up.js";
import { type Domain, definitionOf, described, diskSizes, mirrorReady, stateOf } from "./domain.js";
import { blockJob, refuseBusy } from "./jobs.js";
import { lockDomain } from "./lock.js";
import { removeNote, writeNote } from "./notes.js";
import { settleMove, uses } from "./settle-move.js";

const POLL_MS = 200;
const FORMAT = "qcow2";

export const migrateStorage = async (domain: Domain, options: MigrationOptions): Promise<void> => {
	const { host, name } = domain;
	if (!host.uri.local)
		throw new HypervisorError(
			"UNSUPPORTED",
			`VM ${name}: run springback on the host itself, with qemu:///system, to move its disks`,
		);
	const folder = await folderOf(domain, options.to);
	const lock = lockDomain(domain);
	try {
		await cleanDomain(domain);
		await refuseBusy(domain);
		if ((await stateOf(domain)) === "off") throw new HypervisorError("STATE", `VM ${name} is off`);
		for (const disk of described(domain, await definitionOf(domain, "now")).disks)
			if (disk.unprotected === null && (options.disks?.includes(disk.name) ?? true))
				await moveDisk(domain, disk, folder, options);
	} finally {
		lock.release();
	}
};

/** A folder is itself; anything else is the name of a pool that is a folder. */
const folderOf = async ({ host }: Domain, to: string): Promise<string> => {
	let folder = to;
	if (!to.startsWith("/")) {
		const xml = await host.virsh.bytes(["pool-dumpxml", to]).catch((error) => {
			throw new HypervisorError("NOT_FOUND", `${to}: no folder, and no storage pool of the host: ${causeOf(error)}`);
		});
		folder = content(first(first(parseXml(xml, "pool", "storage pool"), "target"), "path")) ?? "";
	}
	if (statSync(folder, { throwIfNoEntry: false })?.isDirectory() === true) return folder;
	throw new HypervisorError(
		"NOT_FOUND",
		`${to}: there is no such folder to move disks to${to.startsWith("/") ? "" : " (pools of other kinds are not supported)"}`,
	);
};

const moveDisk = async (
	domain: Domain,
	{ name: disk, target }: { name: string; target: string },
	folder: string,
	options: MigrationOptions,
): Promise<void> => {
	const { host, id, name } = domain;
	const to = join(folder, `${name}-${disk}.${FORMAT}`);
	if (await uses(domain, target, to, "now")) return;
	if (existsSync(to))
		throw new HypervisorError("STATE", `${to} exists already: move it away, or choose another folder`);
	const note = { move: target, to };
	await writeNote(domain, note);
	let paused = false;
	try {
		const rate = options.rate === undefined ? [] : ["--bandwidth", String(Math.max(1, options.rate)), "--bytes"];
		await host.virsh.call(["blockcopy", id, target, "--dest", to, "--format", FORMAT, "--transient-job", ...rate], {
			ms: 180_000,
		});
		await untilReady(domain, { name: disk, target }, options);
		if (options.leavePaused === true && (await stateOf(domain)) === "running") {
			await host.virsh.call(["suspend", id]);
			paused = true;
		}
		await host.virsh.call(["blockjob", id, target, "--pivot"], { ms: 180_000 });
		if (!(await uses(domain, target, to, "now"))) throw new Error("libvirt did not change over to the copy");
	} catch (error) {
		const room = roomIn(folder);
		const size = (await diskSizes(domain)).get(target) ?? 0;
		await settleMove(domain, note);
		await removeNote(domain);
		if (paused) await host.virsh.call(["resume", id]).catch(() => {});
		if (options.signal?.aborted)
			throw new HypervisorError(
				"INTERRUPTED",
				`moving disk ${disk} of VM ${name} was stopped; it goes on where it was`,
			);
		const space = (error as HypervisorError).code === "NO_SPACE" || (room < size && room < FULL);
		throw new HypervisorError(
			space ? "NO_SPACE" : "FAILED",
			`disk ${disk} of VM ${name} was not moved to ${folder}: ${space ? "it is full" : causeOf(error)}; the VM goes on where it was`,
			{ cause: error },
		);
	}
	await removeNote(domain);
};

/** bytes; a copy that ends with less than that left ended for want of room: libvirt does not tell why */
const FULL = 16 * 1024 * 1024;

const roomIn = (folder: string): number => {
	const { bavail, bsize } = statfsSync(folder);
	return bavail * bsize;
};

const untilReady = async (
	domain: Domain,
	{ name, target }: { name: string; target: string },
	{ progress, signal }: MigrationOptions,
): Promise<void> => {
	for (;;) {
		signal?.throwIfAborted();
		const job = await blockJob(domain, target);
		if (job === undefined) throw new Error("libvirt ended the copy");
		progress?.({ disk: name, done: job.done, total: job.total });
		signal?.throwIfAborted();
		if (job.done === job.total && (await mirrorReady(domain, target))) return;
		await sleep(POLL_MS);
	}
};
