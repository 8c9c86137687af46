/**
 * The control protocol: one JSON document per line over a UNIX socket, requests `{id, method, params}`,
 * replies `{id, result}` or `{id, error: {code, message}}`.
 */

import type { StatsResult } from "./stats-result.js";

export interface HelloResult {
	version: string;
	pid: number;
	listen: string;
	nfsPort: number;
	mountPort: number;
	/** null: metrics are off */
	metricsPort: number | null;
	/** null: NBD is not served over TCP, or on no socket */
	nbdPort: number | null;
	nbdSocket: string | null;
	/** directory of its certificate; null: no TLS */
	nbdTls: string | null;
	/** "own", "registered" or "off" */
	portmap: string;
	sessions: number;
}

export interface PublishParams {
	/** VM[@POINT] */
	spec: string;
	/** absolute path */
	repository: string;
	/** of an encrypted repository: its id and master key (hex). Only ever in memory and on owner-only sockets */
	key?: { repository: string; master: string };
	/** name of the session to make or to continue */
	session?: string;
	/** addresses or CIDR networks; default loopback only */
	clients?: string[];
	/** make every write stable before it is answered */
	sync?: boolean;
	/** clients may change nothing, for as long as it is served this time */
	readOnly?: boolean;
	/** clients must come from a port below 1024 */
	privilegedPorts?: boolean;
	/** uid that may mount over loopback besides root */
	ownerUid: number;
	/** existing directory, absolute, that takes what is written to a new session; default: the state directory */
	redirect?: string;
}

export interface PublishResult {
	session: string;
	url: string;
	nfsPort: number;
	mountPort: number;
	/** when metrics are served */
	metricsPort?: number;
	/** the disks over NBD */
	nbd: NbdDisk[];
	/** names in the session's folder */
	files: string[];
	point: string;
	vm: string;
	/** true when an earlier session was continued with its writes */
	continued: boolean;
	/** control request to ready */
	milliseconds: number;
}

export interface NbdDisk {
	/** name in the restore point */
	disk: string;
	uris: string[];
}

export interface SessionInfo {
	session: string;
	uuid: string;
	state: "open" | "parked" | "trash" | "failed";
	vm: string;
	point: string;
	pointTime: string;
	repository: string;
	created: string;
	listen: string;
	/** clients may change nothing */
	readOnly: boolean;
	/** bytes the guest has written that are still live; null when not known (not served) */
	written: number | null;
	/** bytes on disk */
	disk: number | null;
	lastWrite: string | null;
	/** since when data exists that is in no restore point; null: nothing was written */
	unprotectedSince: string | null;
	/** why a "failed" session is not served */
	error?: string;
	/** trash: when it is deleted for good */
	expires?: string;
	/** pid of the mount process that serves it */
	pid?: number;
}

export interface FinishParams {
	session: string;
	/** "moved": the content is proven to be elsewhere, nothing is kept */
	how: "keep" | "discard" | "auto" | "moved";
	/** the session's name again, wanted by "discard" */
	confirm?: string;
}

export interface FinishResult {
	session: string;
	/** parked: data kept, not served; trash: kept for 7 days; removed: nothing had been written */
	outcome: "parked" | "trash" | "removed";
	written: number;
	lastWrite: string | null;
	created: string;
}

export interface CloseResult {
	session: string;
	outcome: "parked" | "removed";
	/** true when no session is left and the mount process ends */
	ending: boolean;
}

export interface ControlMethods {
	hello: { params: Record<string, never>; result: HelloResult };
	publish: { params: PublishParams; result: PublishResult };
	close: { params: { session: string }; result: CloseResult };
	finish: { params: FinishParams; result: FinishResult };
	/** a restore point has what was written until `until` (UTC); `session`: its UUID */
	protected: { params: { session: string; until: string }; result: Record<string, never> };
	sessions: { params: Record<string, never>; result: SessionInfo[] };
	stats: { params: Record<string, never>; result: StatsResult };
}

export type Method = keyof ControlMethods;

/** A failure that the user caused or can mend: `code` is stable, `message` one line. */
export class ControlError extends Error {
	override readonly name = "ControlError";
	constructor(
		readonly code: string,
		message: string,
		options?: ErrorOptions,
	) {
		super(message, options);
	}
}
