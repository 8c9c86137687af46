/**
 * What every hypervisor does for us. `test/hypervisor/compliance.ts` holds a driver to it, against the real thing.
 *
 * Calls reject with HypervisorError. VMs are named by id (UUID) or, where that is unique, by name. Whatever a driver
 * makes on a host can be told from what is there otherwise, and is found again by `cleanUp` after a crash.
 */
import type { Image } from "../image/image.js";
import type { VmConfig } from "../vm/index.js";

export type PowerState = "running" | "paused" | "off";
export type PowerAction = "on" | "shutdown" | "off" | "reset" | "pause" | "resume";

export interface HostDisk {
	/** name of the disk within the VM */
	name: string;
	/** bytes; null where it cannot be told */
	size: number | null;
	/** false: a backup leaves it out */
	protected: boolean;
	/** how changed blocks are known: kept over power cycles, only while it runs, or by comparing all content */
	tracking: "persistent" | "running" | "none";
	/** why it is not protected, or why tracking is less than persistent; null otherwise */
	why: string | null;
}

export interface HostVm {
	/** UUID, lower case, dashed */
	id: string;
	name: string;
	state: PowerState;
	disks: HostDisk[];
	/** made by a recovery of ours: name of its session */
	session: string | null;
	/** why its definition cannot be used; null when it can */
	problem: string | null;
}

export interface VmDescription {
	config: VmConfig;
	/** NVRAM and what else belongs to the configuration */
	files: { name: string; content: Buffer }[];
}

/** Name of the file with a TPM's state: swtpm's own name follows the dash. That of the NVRAM is `config.nvram`. */
export const TPM_STATE = "tpm-tpm2-00.permall";

/** One thing that is needed of a host, as `hosts add` checks it. */
export interface HostCheck {
	what: string;
	ok: boolean;
	/** what was found, or how to mend it */
	message: string;
}

export interface SnapshotOptions {
	/** asks the guest to bring its file systems to rest; when it cannot, the snapshot is made without */
	quiesce?: boolean;
	/** ms that the guest may be frozen at most; default 10 000 */
	freezeMs?: number;
	/**
	 * The change id that `openDisk` will be asked with. A driver that must know it at the moment itself (libvirt) takes
	 * that of the last snapshot when it is not given.
	 */
	since?: string;
	/** local folder for old content of blocks that the guest overwrites meanwhile; default: beside the VM */
	scratch?: string;
}

export interface Snapshot {
	/** id of the VM */
	vm: string;
	/** names this moment for a later `openDisk` with `since` */
	changeId: string;
	/** what was reached */
	consistency: "application" | "filesystem" | "crash";
	/** why it is not more; null when it is what was asked for */
	why: string | null;
	/** ms that the guest's file systems were frozen */
	frozenMs: number;
	disks: { name: string; size: number }[];
	/** disks that are left out, and why */
	left: { name: string; why: string }[];
}

export interface SnapshotDisk {
	image: Image;
	/**
	 * What changed since the change id that was asked for: everything outside is as it was then (as long as the disk's
	 * size is the same). Undefined: not known, all must be read.
	 */
	changed?: { offset: number; length: number }[];
	/** why `changed` is not known, in one sentence */
	whyAll?: string;
}

export interface RegisterDisk {
	name: string;
	/** absolute path on the host, or URI (`nfs://…`, `nbd://…`, `nbd+unix://…`) that the host can reach */
	source: string;
	/** never probed: a guest writes what is in a raw disk */
	format: "raw" | "qcow2";
}

export interface RegisterRequest {
	name: string;
	config: VmConfig;
	/** for the disks of `config`, by name */
	disks: RegisterDisk[];
	/** source network → network of the host; cards of others come up without a link */
	networks: Record<string, string>;
	/** kept with the VM: finds it again; empty: it is of none */
	session: string;
	/** keeps what the serial console says, for `console`; gives the VM one when it has none */
	console?: boolean;
	/** those of `readConfig`: a driver that wrote them takes from them what `config` cannot say (NVRAM, TPM, devices) */
	files?: VmDescription["files"];
}

export interface MigrationProgress {
	disk: string;
	/** bytes */
	done: number;
	total: number;
}

export interface MigrationOptions {
	/** storage of the host: a folder, or the driver's name for a pool */
	to: string;
	progress?: (p: MigrationProgress) => void;
	/** undone at any time before the pivot; the VM goes on where it was */
	signal?: AbortSignal;
	/** bytes a second at most */
	rate?: number;
	/** names; default: all */
	disks?: string[];
	/**
	 * A guest that runs is paused when the copy has caught up, just before the change-over, and still is when this
	 * resolves: so that what the old and the new place hold can be compared. After a failure it runs.
	 */
	leavePaused?: boolean;
}

export interface GuestResult {
	code: number;
	stdout: string;
	stderr: string;
}

export interface Hypervisor {
	/** "qemu", "libvirt", … */
	readonly type: string;
	readonly uri: string;
	/** Logs in and tries each privilege that the other calls need. */
	check(): Promise<HostCheck[]>;
	/** All VMs, by name. One whose definition is damaged is listed, with the problem. */
	list(): Promise<HostVm[]>;
	readConfig(vm: string): Promise<VmDescription>;
	/** All disks at one moment. One at a time for each VM (BUSY). Also of a VM that is off. */
	snapshot(vm: string, options?: SnapshotOptions): Promise<Snapshot>;
	/** A disk as it was at the moment of the snapshot; opened once, and closed before `removeSnapshot`. */
	openDisk(snapshot: Snapshot, disk: string, since?: string): Promise<SnapshotDisk>;
	/**
	 * Gives everything back; the change id stays usable. Harmless when it is gone. With `forget` nobody will ask with this
	 * change id: what is known since earlier ones is then kept as if there had been no such snapshot.
	 */
	removeSnapshot(snapshot: Snapshot, options?: { forget?: boolean }): Promise<void>;
	/** Makes a VM that is off. Resolves with its id. */
	register(request: RegisterRequest): Promise<string>;
	/** Resolves when it is done; `shutdown` when the guest was asked. */
	power(vm: string, action: PowerAction): Promise<void>;
	/** True when the guest's agent answers. */
	heartbeat(vm: string): Promise<boolean>;
	/** IP addresses of the guest, loopback and link-local ones left out. */
	addresses(vm: string): Promise<string[]>;
	/** The screen as PNG. */
	screenshot(vm: string): Promise<Buffer>;
	/** What the serial console has said since the VM was powered on, its last MiB; "" where it is not kept. */
	console?(vm: string): Promise<string>;
	/** The VM Generation ID that its guest sees; null: none. */
	generation?(vm: string): Promise<string | null>;
	/** Versions of what runs the VMs: "qemu" → "7.2.22". */
	versions?(): Promise<Record<string, string>>;
	/** Runs a program in the guest to its end; a failing one is a result, not an error. */
	run(vm: string, program: string, args: string[], timeoutMs?: number): Promise<GuestResult>;
	/** Moves all disks while the guest runs; resolves when the VM uses nothing of the old place any more. */
	migrateStorage(vm: string, options: MigrationOptions): Promise<void>;
	/** Forgets a VM that is off, with its NVRAM and TPM; its disks stay. */
	unregister(vm: string): Promise<void>;
	/** uid as which VMs open their disks on the host; null, or not there: whoever runs this */
	diskUser?(): Promise<number | null>;
	/**
	 * What a VM of this configuration needs and the host does not have, one sentence each.
	 * @param files as `register` will get them
	 */
	problems?(config: VmConfig, files?: VmDescription["files"]): Promise<string[]>;
	/**
	 * What `register` leaves out or exchanges of the definition in `files`, because this host does not have it; one sentence
	 * each.
	 */
	changes?(config: VmConfig, files: VmDescription["files"]): Promise<string[]>;
	/**
	 * The guest stands still because a disk failed it, and goes on only when it is told to. Not there where a guest goes on by
	 * itself when its disks are back.
	 */
	stoppedByDisk?(vm: string): Promise<boolean>;
	/** Another name, and id, for a VM that is off. May be called again after it died in the middle. */
	rename?(vm: string, to: { name: string; id: string }): Promise<void>;
	/** A VM that a session made is none of it any more. Also of a VM that runs. */
	release?(vm: string): Promise<void>;
	/** Gives a VM that is off one more disk or, with `replace`, other content for the one of that name. */
	attachDisk?(vm: string, disk: RegisterDisk, replace: boolean): Promise<void>;
	/**
	 * Finds and takes away what crashed runs left; one line for each thing. What living runs use stays.
	 * @param vm id of the only VM that is looked at; default: all
	 */
	cleanUp(vm?: string): Promise<string[]>;
	close(): Promise<void>;
}
