/** How a mount process is started. */
export interface MountdConfig {
	/** absolute state directory */
	state: string;
	/** address to listen on */
	listen: string;
	/** 0 = pick a free one */
	nfsPort: number;
	mountPort: number;
	portmap: "auto" | "own" | "register" | "off";
	/** addresses or CIDR networks that may mount /springback; empty = loopback only */
	clients: string[];
	/** /springback only for clients that come from a port below 1024 */
	privilegedPorts?: boolean;
	/** bytes of the decoded-block cache */
	cacheBytes: number;
	/** where metrics are served, on the same address; 0 = pick a free one; absent: nowhere */
	metricsPort?: number;
	/** NBD over TCP on the same address; 0 = pick a free one; absent: not over TCP */
	nbdPort?: number;
	/** NBD's Unix socket; absent: beside the control socket */
	nbdSocket?: string;
	/** directory with server-cert.pem and server-key.pem: over TCP everything is TLS; with ca-cert.pem, clients need one too */
	nbdTls?: string;
	/** set by the supervisor after the first start: take the same ports again */
	restart?: boolean;
}

/** What a mount process of an address was last started with, ports as they came out: kept beside its socket. */
export type RememberedConfig = Pick<
	MountdConfig,
	| "nfsPort"
	| "mountPort"
	| "portmap"
	| "clients"
	| "privilegedPorts"
	| "cacheBytes"
	| "metricsPort"
	| "nbdPort"
	| "nbdSocket"
	| "nbdTls"
>;

/** The line written to STARTED_FD. */
export type Started = { event: "listening"; pid: number } | { event: "error"; code: string; message: string };

export const STARTED_FD = 3;
/** socket between supervisor and mount process, for keys of repositories (keys.ts) */
export const KEYS_FD = 4;
export const DEFAULT_NFS_PORT = 2049;
export const DEFAULT_MOUNT_PORT = 20048;
export const DEFAULT_CACHE_BYTES = 512 * 1024 * 1024;
/** Who may mount when nobody says: this machine alone. */
export const LOOPBACK = ["127.0.0.0/8", "::1"];
