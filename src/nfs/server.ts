/** The NFS server: NFSv3 and MOUNT over TCP, and portmap so that clients find them. */
import { SlabPool } from "../net/slabs.js";
import type { FileSystem } from "../vfs/vfs.js";
import { admitsFrom } from "./access/admission.js";
import type { Peer } from "./access/peer.js";
import { type Listener, listenTcp } from "./listen.js";
import { mountProgram } from "./mount/program.js";
import { RPCBIND_SOCKET } from "./portmap/register.js";
import { type Portmap, type PortmapMode, startPortmap } from "./portmap/start.js";
import { LIMITS, type Limits } from "./rpc/connection.js";
import { ReplayCache } from "./rpc/replay-cache.js";
import { NfsStats } from "./stats.js";
import { nfsProgram } from "./v3/program.js";

export interface NfsServerOptions {
	fileSystem: FileSystem;
	/** address to listen on, IPv4 or IPv6 */
	listen: string;
	/** 0 picks a free one; customary are 2049 and 20048. The same number twice makes one port serve both. */
	nfsPort: number;
	mountPort: number;
	portmap: PortmapMode;
	/** injected clock, ns since the epoch */
	now: () => bigint;
	/** takes one line */
	log: (line: string) => void;
	/** default 111 */
	portmapPort?: number;
	/** local socket of the machine's rpcbind */
	rpcbindSocket?: string;
	limits?: Partial<Limits>;
}

export interface NfsServer {
	nfsPort: number;
	mountPort: number;
	/** how clients find the ports: "own, on …", "registered with rpcbind", "off", "off: why" */
	portmap: string;
	/** where portmap is answered, when we do it ourselves */
	portmapPort?: number;
	stats: NfsStats;
	/** Unregisters, answers what is in flight (for at most 2 s), closes all connections. */
	close(): Promise<void>;
}

/** Receive and reply slabs that are kept for use again, in bytes. */
const KEPT_SLABS = 32 * 1024 * 1024;
/** Portmap calls are small. */
const PORTMAP_MAX_RECORD = 16 * 1024;

/**
 * Starts to serve. Rejects with an Error of one clear line; its `code` is "EADDRINUSE" when a port is taken, and
 * nothing is left open then.
 */
export async function startNfsServer(options: NfsServerOptions): Promise<NfsServer> {
	const { fileSystem, listen, now, log } = options;
	const limits = { ...LIMITS, ...options.limits };
	const stats = new NfsStats();
	const pool = new SlabPool(KEPT_SLABS);
	const service = {
		programs: [nfsProgram(fileSystem), mountProgram(fileSystem)],
		replays: new ReplayCache(now),
		stats,
		log,
		knows: (peer: Peer) => fileSystem.exports().some((entry) => admitsFrom(peer, entry)),
		left: (peer: object) => fileSystem.left?.(peer),
	};
	const open: { close(): Promise<void> }[] = [];
	const close = async (): Promise<void> => {
		for (const part of open.splice(0).reverse()) await part.close();
	};
	try {
		const nfs = await listenTcp(listen, options.nfsPort, "NFS", service, pool, limits);
		open.push(nfs);
		let mount: Listener = nfs;
		if (options.mountPort === 0 || options.mountPort !== options.nfsPort) {
			mount = await listenTcp(listen, options.mountPort, "MOUNT", service, pool, limits);
			open.push(mount);
		}
		const portmap: Portmap = await startPortmap({
			mode: options.portmap,
			port: options.portmapPort ?? 111,
			rpcbindSocket: options.rpcbindSocket ?? RPCBIND_SOCKET,
			nfsPort: nfs.port,
			mountPort: mount.port,
			fileSystem,
			listen,
			now,
			service,
			listenTcp: (port, what, programs) =>
				listenTcp(listen, port, what, { ...service, programs }, pool, { ...limits, maxRecord: PORTMAP_MAX_RECORD }),
		});
		open.push(portmap);
		return {
			nfsPort: nfs.port,
			mountPort: mount.port,
			portmap: portmap.state,
			portmapPort: portmap.port,
			stats,
			close,
		};
	} catch (error) {
		await close();
		throw error;
	}
}
