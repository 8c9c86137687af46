/** What the portmap procedures share. Addresses that no export lists learn nothing. */
import { isIP } from "node:net";
import type { FileSystem } from "../../vfs/vfs.js";
import { listed } from "../access/admission.js";
import type { Call } from "../rpc/program.js";
import { type Registration, type Registry, universalAddress } from "./registry.js";

export interface PortmapOptions {
	fileSystem: FileSystem;
	registry: Registry;
	/** the address listened on */
	listen: string;
	/** ns since the epoch */
	now: () => bigint;
}

export class PortmapContext {
	readonly options: PortmapOptions;
	readonly #call: Call;
	/** of the socket the call came through */
	readonly transport: "tcp" | "udp";

	constructor(call: Call, options: PortmapOptions, transport: "tcp" | "udp") {
		this.#call = call;
		this.options = options;
		this.transport = transport;
	}

	/** The owner of a local socket does not matter here: ports are no secret to those who may mount. */
	#admitted(): boolean {
		return this.options.fileSystem.exports().some((entry) => listed(this.#call.peer, entry));
	}

	all(): readonly Registration[] {
		return this.#admitted() ? this.options.registry.all : [];
	}

	find(program: number, version: number, netid: string, anyVersion: boolean): Registration | undefined {
		return this.#admitted() ? this.options.registry.find(program, version, netid, anyVersion) : undefined;
	}

	/** Where the caller finds a registration: at the address it reached us by. */
	universalAddress({ netid, port }: Registration): string {
		const v6 = netid.endsWith("6");
		const candidates = [this.#call.peer.own, this.options.listen];
		const own = candidates.find((address) => address !== undefined && isIP(address) === (v6 ? 6 : 4));
		return universalAddress(own ?? (v6 ? "::" : "0.0.0.0"), port);
	}
}
