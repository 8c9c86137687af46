/** What the MOUNT procedures share: the exports, and who has mounted what. */
import type { ExportEntry, FileSystem } from "../../vfs/vfs.js";
import { admits } from "../access/admission.js";
import type { Peer } from "../access/peer.js";
import type { Call } from "../rpc/program.js";

/** Clients forget to unmount; the list is only informative. */
const MAX_MOUNTS = 1024;

export interface Mounted {
	address: string;
	/** as the client would mount it */
	path: string;
	entry: ExportEntry;
}

/** Who has mounted what, in memory: RFC 1813 section 5.2 does not rely on it. */
export class MountList {
	#mounts: Mounted[] = [];

	add(mounted: Mounted): void {
		this.remove(mounted.address, mounted.path);
		this.#mounts.push(mounted);
		if (this.#mounts.length > MAX_MOUNTS) this.#mounts.shift();
	}

	remove(address: string, path: string): void {
		this.#mounts = this.#mounts.filter((mount) => mount.address !== address || mount.path !== path);
	}

	removeAll(address: string): void {
		this.#mounts = this.#mounts.filter((mount) => mount.address !== address);
	}

	all(): readonly Mounted[] {
		return this.#mounts;
	}
}

export class MountContext {
	readonly fileSystem: FileSystem;
	readonly mounts: MountList;
	readonly #call: Call;

	constructor(call: Call, fileSystem: FileSystem, mounts: MountList) {
		this.#call = call;
		this.fileSystem = fileSystem;
		this.mounts = mounts;
	}

	get peer(): Peer {
		return this.#call.peer;
	}

	get version(): number {
		return this.#call.version;
	}

	admits(entry: ExportEntry): boolean {
		return admits(this.peer, entry);
	}

	/** Exports the peer may mount; it learns of no others. */
	visible(): ExportEntry[] {
		return this.fileSystem.exports().filter((entry) => this.admits(entry));
	}
}
