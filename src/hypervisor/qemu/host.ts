/** The driver `qemu`: VMs are folders below one folder of this machine, each a QEMU process when it runs. No daemon. */

import type { VmConfig } from "../../vm/index.js";
import type {
	GuestResult,
	HostCheck,
	HostVm,
	Hypervisor,
	MigrationOptions,
	PowerAction,
	RegisterDisk,
	RegisterRequest,
	Snapshot,
	SnapshotDisk,
	SnapshotOptions,
	VmDescription,
} from "../contract.js";
import { HypervisorError } from "../errors.js";
import { attachDisk } from "./attach-disk.js";
import { checkHost, qemuVersion } from "./check.js";
import { cleanUp } from "./clean-up.js";
import { consoleText } from "./console.js";
import { addresses, heartbeat, runInGuest } from "./guest.js";
import { withKeptFiles } from "./kept-files.js";
import { folderOf } from "./layout.js";
import { listVms } from "./list.js";
import { migrateStorage } from "./migrate.js";
import { openDisk } from "./open-disk.js";
import { power } from "./power.js";
import { changes, problems } from "./problems.js";
import { register, unregister } from "./register.js";
import { release } from "./release.js";
import { removeSnapshot } from "./remove-snapshot.js";
import { rename } from "./rename.js";
import { screenshot } from "./screenshot.js";
import { type OpenSnapshot, snapshot } from "./snapshot.js";
import { configOf, findVm } from "./vm.js";

export class QemuHost implements Hypervisor {
	readonly type = "qemu";
	readonly #folder: string;
	readonly #snapshots = new Map<string, OpenSnapshot>();

	/** Throws INVALID for a URI that is none of this driver. */
	constructor(readonly uri: string) {
		this.#folder = folderOf(uri);
	}

	check(): Promise<HostCheck[]> {
		return checkHost(this.#folder);
	}

	list(): Promise<HostVm[]> {
		return listVms(this.#folder);
	}

	async readConfig(vm: string): Promise<VmDescription> {
		const found = findVm(this.#folder, vm);
		return withKeptFiles(found.places, configOf(found));
	}

	async snapshot(vm: string, options: SnapshotOptions = {}): Promise<Snapshot> {
		const { snapshot: taken, open } = await snapshot(findVm(this.#folder, vm), options);
		this.#snapshots.set(keyOf(taken), open);
		return taken;
	}

	async openDisk(snapshot: Snapshot, disk: string, since?: string): Promise<SnapshotDisk> {
		const open = this.#snapshots.get(keyOf(snapshot));
		if (open === undefined)
			throw new HypervisorError("NOT_FOUND", `there is no snapshot ${snapshot.changeId} any more`);
		return openDisk(open, disk, since);
	}

	async removeSnapshot(snapshot: Snapshot, { forget = false } = {}): Promise<void> {
		const open = this.#snapshots.get(keyOf(snapshot));
		if (open === undefined) return;
		await removeSnapshot(open, forget);
		this.#snapshots.delete(keyOf(snapshot));
	}

	async register(request: RegisterRequest): Promise<string> {
		return register(
			this.#folder,
			request,
			(await this.list()).map(({ id }) => id),
		);
	}

	async power(vm: string, action: PowerAction): Promise<void> {
		await power(findVm(this.#folder, vm), action);
	}

	async heartbeat(vm: string): Promise<boolean> {
		return heartbeat(findVm(this.#folder, vm));
	}

	async addresses(vm: string): Promise<string[]> {
		return addresses(findVm(this.#folder, vm));
	}

	async screenshot(vm: string): Promise<Buffer> {
		return screenshot(findVm(this.#folder, vm));
	}

	async console(vm: string): Promise<string> {
		return consoleText(findVm(this.#folder, vm));
	}

	async generation(vm: string): Promise<string | null> {
		return findVm(this.#folder, vm).definition.generation ?? null;
	}

	async versions(): Promise<Record<string, string>> {
		const qemu = await qemuVersion();
		return qemu === undefined ? {} : { qemu };
	}

	async run(vm: string, program: string, args: string[], timeoutMs?: number): Promise<GuestResult> {
		return runInGuest(findVm(this.#folder, vm), program, args, timeoutMs);
	}

	async migrateStorage(vm: string, options: MigrationOptions): Promise<void> {
		await migrateStorage(this.#folder, findVm(this.#folder, vm), options);
	}

	async unregister(vm: string): Promise<void> {
		await unregister(findVm(this.#folder, vm));
	}

	async problems(config: VmConfig): Promise<string[]> {
		return problems(config);
	}

	async changes(config: VmConfig, files: VmDescription["files"]): Promise<string[]> {
		return changes(config, files);
	}

	async rename(vm: string, to: { name: string; id: string }): Promise<void> {
		const found = findVm(this.#folder, vm);
		const others = (await this.list()).filter(({ name }) => name !== found.name);
		await rename(
			found,
			to,
			others.map(({ id }) => id),
		);
	}

	async release(vm: string): Promise<void> {
		release(this.#folder, findVm(this.#folder, vm));
	}

	async attachDisk(vm: string, disk: RegisterDisk, replace: boolean): Promise<void> {
		await attachDisk(findVm(this.#folder, vm), disk, replace);
	}

	cleanUp(vm?: string): Promise<string[]> {
		return cleanUp(this.#folder, vm === undefined ? undefined : findVm(this.#folder, vm).name);
	}

	async close(): Promise<void> {
		for (const open of this.#snapshots.values()) await removeSnapshot(open, false);
		this.#snapshots.clear();
	}
}

const keyOf = ({ vm, changeId }: Snapshot): string => `${vm} ${changeId}`;
