/**
 * A VM, or one disk, from a restore point onto storage of a host, without a session. Disks are written first, whole; then
 * they are put into place and the VM is registered over them. Until then nothing on the host has changed.
 */
import { randomUUID } from "node:crypto";
import { statfsSync, statSync } from "node:fs";
import { isAbsolute } from "node:path";
import { exportDisk, findDisk } from "../backup/index.js";
import type { Hypervisor } from "../hypervisor/index.js";
import type { Point, PointDisk, Progress, Repository } from "../repository/index.js";
import { checkInterrupted, RecoveryError } from "./errors.js";
import { makePlan, type Plan, type PlanRequest } from "./plan.js";
import { type Placing, RestoreFiles } from "./restore-files.js";
import { filesOf, replaceOriginal, restoreOriginal } from "./steps.js";
import type { NamedHost, World } from "./world.js";

export interface RestoreOptions {
	host: string;
	/** folder of the host */
	to: string;
	overwrite: boolean;
	progress?: (p: Progress) => void;
}

export interface RestoreVmRequest extends RestoreOptions, Omit<PlanRequest, "overwrite"> {
	powerOn: boolean;
	dryRun: boolean;
}

export interface RestoredDisk {
	disk: string;
	path: string;
	/** bytes */
	size: number;
	written: number;
}

export interface Restored {
	plan: Plan;
	/** of the VM on the host; empty for a dry run */
	id: string;
	disks: RestoredDisk[];
}

export const restoreVm = async (
	request: RestoreVmRequest,
	repository: Repository,
	point: Point,
	world: World,
): Promise<Restored> => {
	const target = world.host(request.host);
	checkFolder(request.to, target);
	const host = await target.open();
	const name = request.name ?? (point.config as { name?: string | null } | null)?.name ?? point.vm;
	if (request.dryRun) return { plan: await planOf(request, repository, point, target, world), id: "", disks: [] };
	return withFiles(request.to, name, host, world, async (files) => {
		const plan = await planOf(request, repository, point, target, world);
		for (const { level, what, message } of plan.findings)
			if (level !== "ok" && level !== "refused") world.say(`${level}: ${what}: ${message}`);
		if (plan.refused.length > 0)
			throw new RecoveryError("REFUSED", `${point.vm} is not restored to ${target.name}: ${plan.refused.join("; ")}`);
		const paths = point.disks.map((disk) => files.path(plan.name, disk.name));
		await refuseTaken(paths, plan.overwritten?.id, request.overwrite, host);
		checkSpace(request.to, point.disks);
		const disks = await writeDisks(point.disks, plan.name, files, request, repository, point, world);
		const id = plan.config.uuid!;
		const { overwritten, replaced } = plan;
		const aside = overwritten && { id: randomUUID(), name: asideName(overwritten.name, world.now()), was: overwritten };
		files.note(id, paths, { aside, replaced });
		try {
			if (replaced !== null) await replaceOriginal({ replaced }, world);
			if (aside !== null) await host.rename!(aside.was.id, { id: aside.id, name: aside.name });
			files.place(paths);
			await host.register({
				...{ name: plan.name, config: plan.config, networks: plan.networks, session: "" },
				files: await filesOf(repository, point),
				disks: disks.map(({ disk, path }) => ({ name: disk, source: path, format: "raw" as const })),
			});
		} catch (error) {
			if (aside !== null) await putBack(aside, host);
			if (replaced !== null) await restoreOriginal(replaced, world, replaced.wasRunning);
			throw error;
		}
		if (aside !== null) await forget(aside, paths, host, world);
		if (request.powerOn) await host.power(id, "on");
		return { plan, id, disks };
	});
};

/** One disk into a VM that is off: one more, or in the place of the one that it has. */
export const restoreDisk = async (
	request: RestoreOptions & { disk: string; attach: string },
	repository: Repository,
	point: Point,
	world: World,
): Promise<{ vm: string; disk: RestoredDisk; before: string | null }> => {
	const target = world.host(request.host);
	checkFolder(request.to, target);
	const host = await target.open();
	const disk = findDisk(point, request.disk);
	const { config } = await host.readConfig(request.attach);
	const vm = (await host.list()).find(({ id }) => id === config.uuid)!;
	if (host.attachDisk === undefined)
		throw new RecoveryError(
			"REFUSED",
			`hosts of type ${host.type} cannot be given a disk: springback export, and attach it there`,
		);
	if (vm.state !== "off") throw new RecoveryError("STATE", `VM ${vm.name} is ${vm.state}: power it off first`);
	const before = config.disks.find(({ name }) => name === disk.name);
	if (before !== undefined && !request.overwrite)
		throw new RecoveryError(
			"REFUSED",
			`VM ${vm.name} has a disk ${disk.name} already: --overwrite gives it the restored one in its place`,
		);
	return withFiles(request.to, `${vm.name}-${disk.name}`, host, world, async (files) => {
		const path = files.path(vm.name, disk.name);
		await refuseTaken([path], vm.id, request.overwrite, host);
		checkSpace(request.to, [disk]);
		const [written] = await writeDisks([disk], vm.name, files, request, repository, point, world);
		files.note("", [path]);
		files.place([path]);
		await host.attachDisk!(vm.id, { name: disk.name, source: path, format: "raw" }, request.overwrite);
		return { vm: vm.name, disk: written, before: before?.path ?? null };
	});
};

const planOf = async (
	request: RestoreVmRequest,
	repository: Repository,
	point: Point,
	target: NamedHost,
	world: World,
): Promise<Plan> => {
	const points = (await repository.points()).filter(({ vm }) => vm === point.vm);
	const files = await filesOf(repository, point);
	return makePlan(request, point, points, files, target, world.hosts, null, world.now());
};

const checkFolder = (to: string, { name, uri }: NamedHost): void => {
	if (new URL(uri).hostname !== "")
		throw new RecoveryError(
			"REFUSED",
			`${name} is another machine: disks can be restored to hosts on this one; recover and migrate brings a VM there`,
		);
	if (!isAbsolute(to) || statSync(to, { throwIfNoEntry: false })?.isDirectory() !== true)
		throw new RecoveryError("USAGE", `--to ${to}: name an existing folder of the host`);
};

/** Runs `work` with files of its own; takes away first what a run that died left, and last what this one leaves. */
const withFiles = async <T>(
	to: string,
	what: string,
	host: Hypervisor,
	world: World,
	work: (files: RestoreFiles) => Promise<T>,
): Promise<T> => {
	const files = new RestoreFiles(to, what);
	let done = false;
	try {
		const left = files.left();
		const registered = left !== undefined && (await isRegistered(left, host, world));
		if (left?.aside != null) {
			if (registered) await host.unregister(left.aside.id).catch(() => undefined);
			else await putBack(left.aside, host);
		}
		if (left?.replaced != null && !registered) {
			world.say(`left by a run that died: ${left.replaced.name} on ${left.replaced.host} is put back`);
			await restoreOriginal(left.replaced, world, left.replaced.wasRunning);
		}
		files.clean(left && { ...left, fresh: await unused(left.fresh, host) });
		const result = await work(files);
		done = true;
		return result;
	} finally {
		files.end(!done);
	}
};

/** Whether the restored VM is there. The original that it replaces has its id until it is set aside. */
const isRegistered = async ({ id, replaced }: Placing, host: Hypervisor, world: World): Promise<boolean> => {
	if (!(await host.list()).some((vm) => vm.id === id)) return false;
	if (replaced == null || replaced.id !== id) return true;
	const there = await (await world.host(replaced.host).open()).list();
	return there.some((vm) => vm.id === replaced.aside.id);
};

const asideName = (name: string, now: Date): string =>
	`${name}-overwritten-${now.toISOString().slice(0, 19).replaceAll(":", "")}Z`;

/** The VM that gave way; its disks stay, where they are not the restored ones. */
const forget = async (
	{ id, was }: NonNullable<Placing["aside"]>,
	paths: string[],
	host: Hypervisor,
	{ say }: World,
): Promise<void> => {
	const { disks } = (await host.readConfig(id)).config;
	await host.unregister(id);
	const old = disks.flatMap(({ path }) => (path === null || paths.includes(path) ? [] : path));
	if (old.length > 0) say(`old disks of ${was.name} stay, and belong to no VM: ${old.join(", ")}`);
};

/** Those that are no disk of a VM. */
const unused = async (paths: string[], host: Hypervisor): Promise<string[]> => {
	const used = new Set<string | null>();
	for (const { id, problem } of await host.list())
		if (problem === null) for (const { path } of (await host.readConfig(id)).config.disks) used.add(path);
	return paths.filter((path) => !used.has(path));
};

const putBack = async ({ id, was }: NonNullable<Placing["aside"]>, host: Hypervisor): Promise<void> => {
	const vms = await host.list();
	const there = vms.find((vm) => vm.id === id) ?? vms.find((vm) => vm.id === was.id && vm.name !== was.name);
	if (there !== undefined) await host.rename!(there.id, was);
};

/** No other VM uses a file that would be replaced, and none is replaced without being told. */
const refuseTaken = async (
	paths: string[],
	own: string | undefined,
	overwrite: boolean,
	host: Hypervisor,
): Promise<void> => {
	for (const { id, name, problem } of await host.list()) {
		if (problem !== null || id === own) continue;
		const { disks } = (await host.readConfig(id)).config;
		const used = disks.find(({ path }) => path !== null && paths.includes(path));
		if (used !== undefined)
			throw new RecoveryError("REFUSED", `${used.path} is a disk of VM ${name}: choose another --to or --name`);
	}
	const there = paths.find((path) => statSync(path, { throwIfNoEntry: false }) !== undefined);
	if (there !== undefined && !overwrite)
		throw new RecoveryError("REFUSED", `${there} exists already: --overwrite replaces it`);
};

const checkSpace = (to: string, disks: PointDisk[]): void => {
	const { bavail, bsize } = statfsSync(to);
	const size = disks.reduce((sum, disk) => sum + disk.size, 0);
	if (size > bavail * bsize)
		throw new RecoveryError(
			"REFUSED",
			`${to} has ${bavail * bsize} bytes free, the disks may take ${size}: make room, or name another place`,
		);
};

const writeDisks = async (
	disks: PointDisk[],
	vm: string,
	files: RestoreFiles,
	{ progress }: RestoreOptions,
	repository: Repository,
	point: Point,
	{ signal }: World,
): Promise<RestoredDisk[]> => {
	const done: RestoredDisk[] = [];
	for (const { name, size } of disks) {
		const path = files.path(vm, name);
		const { written } = await exportDisk(repository, point, name, files.staged(path), {
			...{ overwrite: true, progress, signal },
		});
		done.push({ disk: name, path, size, written });
	}
	checkInterrupted(signal, "the restore");
	return done;
};
