/** VMs without a guest system on a `qemu` host, written to through their disks' devices; and a repository. */
import type { Test } from "tap";
import { type HostBackupOptions, hostBackup } from "../../src/backup/index.js";
import type { Hypervisor } from "../../src/hypervisor/index.js";
import { vmIn, withQmp } from "../../src/hypervisor/qemu/vm.js";
import { initRepository, openRepository, type Repository } from "../../src/repository/index.js";
import { contentOf } from "../hypervisor/content.js";
import { QemuLab, qemuImg } from "../hypervisor/qemu-lab.js";

export const VM_ID = "77777777-2222-3333-4444-555555555555";

export class HostLab extends QemuLab {
	readonly hypervisor = this.host();
	readonly definedHost = { name: "lab", type: "qemu", uri: this.uri };
	readonly said: string[] = [];
	repository!: Repository;

	static async make(t: Test): Promise<HostLab> {
		const lab = new HostLab();
		t.teardown(() => lab.close());
		await initRepository(lab.path("repo"));
		lab.repository = await openRepository(lab.path("repo"));
		t.teardown(() => lab.repository.close());
		return lab;
	}

	/** A VM that is off and has no system: its firmware finds nothing to boot. */
	bare(name: string, disks: Record<string, { format: "raw" | "qcow2"; size: number }>, uuid = VM_ID): void {
		const sources = Object.entries(disks).map(([disk, { format }]) => [disk, { source: `${disk}.${format}`, format }]);
		this.define(name, uuid, Object.fromEntries(sources));
		for (const [disk, { format, size }] of Object.entries(disks))
			qemuImg("create", "-q", "-f", format, this.path(name, `${disk}.${format}`), String(size));
	}

	/** As the guest would: through disk number `index`, whatever lies under it just now. */
	async write(name: string, index: number, letter: string, offset: number, length: number): Promise<void> {
		const device = `/machine/peripheral/disk-${index}-device/virtio-backend`;
		const command = `qemu-io -d ${device} "write -P ${letter.charCodeAt(0)} ${offset} ${length}"`;
		const words = await withQmp(vmIn(this.folder, name), (qmp) =>
			qmp.execute<string>("human-monitor-command", { "command-line": command }),
		);
		if (words !== "") throw new Error(`${command}: ${words}`);
	}

	resize(name: string, index: number, size: number): Promise<unknown> {
		return withQmp(vmIn(this.folder, name), (qmp) =>
			qmp.execute("block_resize", { "node-name": `disk-${index}`, size }),
		);
	}

	/** Without asking the guest: nobody is there to answer. */
	backup(vm: string, more: Partial<HostBackupOptions> = {}): ReturnType<typeof hostBackup> {
		return hostBackup(this.repository, {
			host: this.definedHost,
			hypervisor: this.hypervisor,
			vm,
			quiesce: false,
			say: (line) => this.said.push(line),
			...more,
		});
	}

	async stored(point: string, disk: string): Promise<Buffer> {
		const found = (await this.repository.points()).find(({ id }) => id === point);
		const image = await this.repository.openDisk(found!, disk);
		try {
			return await contentOf(image);
		} finally {
			await image.close();
		}
	}
}

/** The host, with something done right after a snapshot was taken, or instead of another call. */
export const changed = (hypervisor: Hypervisor, changes: Partial<Hypervisor>): Hypervisor =>
	new Proxy(hypervisor, {
		get(target, key) {
			const value = changes[key as keyof Hypervisor] ?? target[key as keyof Hypervisor];
			return typeof value === "function" ? value.bind(target) : value;
		},
	});
