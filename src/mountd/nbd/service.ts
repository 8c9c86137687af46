/** Sessions over NBD: on a Unix socket always, over TCP when a port is given. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { TlsOptions } from "node:tls";
import type { Datastore, ServedSession } from "../../datastore/datastore.js";
import { NbdServer } from "../../nbd/index.js";
import { peerOfConnection } from "../../nfs/access/peer.js";
import { describePort } from "../../nfs/listen.js";
import type { MountdConfig } from "../config.js";
import { ControlError, type NbdDisk } from "../protocol.js";
import type { OpenSession } from "../serving.js";
import { urlHost } from "../url-host.js";
import { type NbdClient, SessionExports } from "./exports.js";

/** sun_path of unix(7) holds 108 bytes with the final zero. */
const SOCKET_PATH_MAX = 107;
/** ms between attempts to listen again where a restart could not */
const RETRY_MS = 1000;

export interface NbdServiceOptions {
	config: Pick<MountdConfig, "listen" | "nbdPort" | "nbdSocket" | "nbdTls" | "restart">;
	/** of the Unix socket when the configuration names none */
	defaultSocket: string;
	datastore: Datastore;
	/** those that are served */
	sessions: () => OpenSession[];
	log: (line: string) => void;
}

export class NbdService {
	/** undefined: not over TCP */
	port: number | undefined;
	/** undefined: not on a Unix socket */
	socket: string | undefined;
	readonly #server: NbdServer<NbdClient>;
	readonly #exports: SessionExports;
	#retry: NodeJS.Timeout | undefined;

	private constructor(private readonly options: NbdServiceOptions) {
		const { datastore, sessions, log } = options;
		this.#exports = new SessionExports(datastore, sessions, log);
		this.#server = new NbdServer({
			exports: this.#exports,
			identify: (socket, kind) => {
				if (kind === "unix") return { address: "the Unix socket" };
				const tcp = peerOfConnection(socket);
				return { address: tcp.address, tcp };
			},
			log,
		});
	}

	/**
	 * Listens. Rejects with one clear line; where a mount process is started again, NFS must not wait for a port of NBD,
	 * so that then what cannot be had is logged, and tried again until it can.
	 */
	static async start(options: NbdServiceOptions): Promise<NbdService> {
		const service = new NbdService(options);
		try {
			await service.#listen();
		} catch (error) {
			if (!options.config.restart) {
				await service.close();
				throw error;
			}
			options.log(`NBD is off until it works: ${(error as Error).message}`);
			service.#listenAgain();
		}
		return service;
	}

	#listenAgain(): void {
		this.#retry = setTimeout(async () => {
			try {
				await this.#listen();
				this.options.log("NBD is on again");
			} catch {
				this.#listenAgain();
			}
		}, RETRY_MS).unref();
	}

	async #listen(): Promise<void> {
		const { config, defaultSocket, log } = this.options;
		const socket = config.nbdSocket ?? defaultSocket;
		if (this.socket === undefined) {
			if (Buffer.byteLength(socket) <= SOCKET_PATH_MAX) {
				await this.#server.listenUnix(socket).catch((error) => {
					throw describeSocket(error, socket);
				});
				this.socket = socket;
			} else if (config.nbdSocket === undefined) log(`${socket}: too long for a socket; no NBD there`);
			else throw new ControlError("USAGE", `--nbd-socket ${socket}: longer than ${SOCKET_PATH_MAX} bytes`);
		}
		const { listen, nbdPort } = config;
		if (this.port !== undefined || nbdPort === undefined) return;
		const tls = config.nbdTls === undefined ? undefined : readTls(config.nbdTls);
		this.port = await this.#server.listenTcp(listen, nbdPort, { tls, required: tls !== undefined }).catch((error) => {
			throw describePort(error, "tcp", listen, nbdPort, "NBD");
		});
	}

	/** Where the disks of a session are. */
	disks({ name, disks }: { name: string; disks: readonly { name: string }[] }): NbdDisk[] {
		const { listen, nbdTls } = this.options.config;
		return disks.map((disk) => {
			const path = `${encodeURIComponent(name)}/${encodeURIComponent(disk.name)}`;
			const uris: string[] = [];
			if (this.socket !== undefined)
				uris.push(`nbd+unix:///${path}?socket=${this.socket.split("/").map(encodeURIComponent).join("/")}`);
			if (this.port !== undefined)
				uris.push(`${nbdTls === undefined ? "nbd" : "nbds"}://${urlHost(listen)}:${this.port}/${path}`);
			return { disk: disk.name, uris };
		});
	}

	/** A client is connected that uses something of this session. */
	inUse(session: ServedSession): boolean {
		return this.#exports.inUse(session);
	}

	/** Answers what is in flight (for at most 2 s), and closes all connections. */
	async close(): Promise<void> {
		clearTimeout(this.#retry);
		await this.#server.close();
	}
}

/** Files by the names that QEMU, libvirt and nbdkit use for them. */
function readTls(directory: string): TlsOptions {
	const read = (name: string): Buffer => {
		try {
			return readFileSync(join(directory, name));
		} catch (error) {
			const { code } = error as NodeJS.ErrnoException;
			throw new ControlError("USAGE", `--nbd-tls ${directory}: ${name} cannot be read (${code})`);
		}
	};
	const authority = existsSync(join(directory, "ca-cert.pem")) ? read("ca-cert.pem") : undefined;
	const pair = { cert: read("server-cert.pem"), key: read("server-key.pem") };
	return { ...pair, ca: authority, requestCert: authority !== undefined, minVersion: "TLSv1.2" };
}

function describeSocket(error: unknown, path: string): Error {
	const { code } = error as NodeJS.ErrnoException;
	const why: Record<string, string> = {
		EADDRINUSE: "another server uses it",
		EEXIST: "something else is there",
		EACCES: "no permission",
		ENOENT: "its directory does not exist",
	};
	if (code === undefined || why[code] === undefined) return error as Error;
	return Object.assign(new Error(`--nbd-socket ${path}: ${why[code]}; choose another path`, { cause: error }), {
		code,
	});
}
