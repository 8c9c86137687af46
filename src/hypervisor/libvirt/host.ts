/** The driver `libvirt`: VMs of QEMU as libvirt keeps them, spoken to through virsh. */
import { readFileSync } from "node:fs";
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
import { agentAddresses, agentRun } from "../guest-agent.js";
import { agentOf, heartbeat } from "./agent.js";
import { attachDisk } from "./attach-disk.js";
import { checkHost } from "./check.js";
import { cleanUp } from "./clean-up.js";
import { consoleText } from "./console.js";
import { diskUser } from "./disk-user.js";
import { definitionOf, findDomain, type Host, stoppedByDisk } from "./domain.js";
import { fitted } from "./fit.js";
import { listVms } from "./list.js";
import { migrateStorage } from "./migrate.js";
import { openDisk } from "./open-disk.js";
import { power } from "./power.js";
import { problems } from "./problems.js";
import { readConfig } from "./read-config.js";
import { register, unregister } from "./register.js";
import { release } from "./release.js";
import { removeSnapshot } from "./remove-snapshot.js";
import { rename } from "./rename.js";
import { type OpenSnapshot, snapshot } from "./snapshot.js";
import { hostUri } from "./uri.js";
import { Virsh } from "./virsh.js";
import { withFiles } from "./with-files.js";

export class LibvirtHost implements Hypervisor {
	readonly type = "libvirt";
	readonly #host: Host;
	readonly #snapshots = new Map<string, OpenSnapshot>();

	/** Throws INVALID for a URI that is none of this driver. */
	constructor(readonly uri: string) {
		const parsed = hostUri(uri);
		this.#host = { uri: parsed, virsh: new Virsh(parsed.text) };
	}

	check(): Promise<HostCheck[]> {
		return checkHost(this.#host);
	}

	list(): Promise<HostVm[]> {
		return listVms(this.#host);
	}

	async readConfig(vm: string): Promise<VmDescription> {
		return readConfig(await findDomain(this.#host, vm));
	}

	async snapshot(vm: string, options: SnapshotOptions = {}): Promise<Snapshot> {
		const { snapshot: taken, open } = await snapshot(await findDomain(this.#host, vm), options);
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

	register(request: RegisterRequest): Promise<string> {
		return register(this.#host, request);
	}

	async power(vm: string, action: PowerAction): Promise<void> {
		await power(await findDomain(this.#host, vm), action);
	}

	async heartbeat(vm: string): Promise<boolean> {
		return heartbeat(await findDomain(this.#host, vm));
	}

	async addresses(vm: string): Promise<string[]> {
		return agentAddresses(agentOf(await findDomain(this.#host, vm)));
	}

	async screenshot(vm: string): Promise<Buffer> {
		const { id } = await findDomain(this.#host, vm);
		return withFiles([""], async ([path]) => {
			await this.#host.virsh.call(["screenshot", id, "--file", path]);
			return readFileSync(path);
		});
	}

	async console(vm: string): Promise<string> {
		return consoleText(await findDomain(this.#host, vm));
	}

	async generation(vm: string): Promise<string | null> {
		const xml = (await definitionOf(await findDomain(this.#host, vm), "stored")).toString("utf8");
		return /<genid>([0-9a-f-]{36})<\/genid>/i.exec(xml)?.[1] ?? null;
	}

	async versions(): Promise<Record<string, string>> {
		const text = await this.#host.virsh.call(["version", "--daemon"]);
		const of = (what: RegExp): string | undefined => what.exec(text)?.[1];
		const [libvirt, qemu] = [of(/against daemon: (\S+)/), of(/hypervisor: QEMU (\S+)/)];
		return { ...(libvirt === undefined ? {} : { libvirt }), ...(qemu === undefined ? {} : { qemu }) };
	}

	async run(vm: string, program: string, args: string[], timeoutMs?: number): Promise<GuestResult> {
		const domain = await findDomain(this.#host, vm);
		return agentRun(agentOf(domain), domain.name, program, args, timeoutMs);
	}

	async migrateStorage(vm: string, options: MigrationOptions): Promise<void> {
		await migrateStorage(await findDomain(this.#host, vm), options);
	}

	async unregister(vm: string): Promise<void> {
		await unregister(await findDomain(this.#host, vm));
	}

	diskUser(): Promise<number | null> {
		return diskUser(this.#host);
	}

	problems(config: VmConfig, files: VmDescription["files"] = []): Promise<string[]> {
		return problems(this.#host, config, files);
	}

	async changes(config: VmConfig, files: VmDescription["files"]): Promise<string[]> {
		return (await fitted(this.#host, config, files))?.changed ?? [];
	}

	async stoppedByDisk(vm: string): Promise<boolean> {
		return stoppedByDisk(await findDomain(this.#host, vm));
	}

	async rename(vm: string, to: { name: string; id: string }): Promise<void> {
		await rename(await findDomain(this.#host, vm), to);
	}

	async release(vm: string): Promise<void> {
		await release(await findDomain(this.#host, vm));
	}

	async attachDisk(vm: string, disk: RegisterDisk, replace: boolean): Promise<void> {
		await attachDisk(await findDomain(this.#host, vm), disk, replace);
	}

	cleanUp(vm?: string): Promise<string[]> {
		return cleanUp(this.#host, vm);
	}

	async close(): Promise<void> {
		for (const open of this.#snapshots.values()) await removeSnapshot(open);
		this.#snapshots.clear();
	}
}

const keyOf = ({ vm, changeId }: Snapshot): string => `${vm} ${changeId}`;
