/** Which exports a peer may use: the allow-list of addresses, and on this machine the owner of the peer's socket. */
import type { ExportEntry, FileSystem, Node } from "../../vfs/vfs.js";
import { inNetwork } from "./address.js";
import type { Peer } from "./peer.js";

/** The address is on the export's list. */
export function listed(peer: Peer, entry: ExportEntry): boolean {
	return entry.clients.some((network) => inNetwork(peer.bytes, network));
}

/** Ports that only root may use (IPPORT_RESERVED of the C library). */
const PRIVILEGED_PORTS_END = 1024;

/** As `admitsFrom`, and where the export wants it the port is a privileged one. */
export function admits(peer: Peer, entry: ExportEntry): boolean {
	if (entry.privilegedPorts && !(peer.port > 0 && peer.port < PRIVILEGED_PORTS_END)) return false;
	return admitsFrom(peer, entry);
}

/** The address is listed and, for a peer on this machine, its socket belongs to root or the export's owner. */
export function admitsFrom(peer: Peer, entry: ExportEntry): boolean {
	if (peer.local && peer.uid !== 0 && peer.uid !== entry.ownerUid) return false;
	return listed(peer, entry);
}

export type Level = "none" | "read" | "write";

/** Answers for one connection what it may do to a node; remembers each export's answer by the entry's identity. */
export class Admission {
	readonly #peer: Peer;
	readonly #fileSystem: FileSystem;
	readonly #known = new WeakMap<ExportEntry, boolean>();

	constructor(peer: Peer, fileSystem: FileSystem) {
		this.#peer = peer;
		this.#fileSystem = fileSystem;
	}

	level(node: Node): Level {
		const entries = this.#fileSystem.exportsOf?.(node) ?? this.#fileSystem.exports();
		let level: Level = "none";
		for (const entry of entries) {
			if (!this.#admits(entry)) continue;
			if (!entry.readOnly) return "write";
			level = "read";
		}
		return level;
	}

	#admits(entry: ExportEntry): boolean {
		let known = this.#known.get(entry);
		if (known === undefined) {
			known = admits(this.#peer, entry);
			this.#known.set(entry, known);
		}
		return known;
	}
}
