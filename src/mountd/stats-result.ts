/**
 * What the mount process tells about its work (control method `stats`). Counters only grow while the process lives,
 * or while the session is served; who wants rates asks twice.
 */
import type { LatencySnapshot } from "../nfs/stats-histogram.js";

export interface ProcedureCounts {
	calls: number;
	failures: number;
	/** bytes of RPC records, headers included */
	bytesIn: number;
	bytesOut: number;
	/** from parsing a request to handing its reply to the socket; in milliseconds */
	latency: LatencySnapshot;
}

/** by name, as "NFS READ" or "MOUNT MNT" */
export type Procedures = Record<string, ProcedureCounts>;

/** Requests for the disks as they are now; frozen views and the restore point itself are not counted. */
export interface NbdCounts {
	reads: number;
	bytesRead: number;
	writes: number;
	bytesWritten: number;
	/** reads and writes that failed */
	failures: number;
	/** UTC; null: none yet */
	firstRead: string | null;
	/** the first that touched more than the first sector of a disk */
	firstReadBeyondSector: string | null;
}

export interface SessionStats {
	session: string;
	uuid: string;
	vm: string;
	/** served since, UTC: the counters started then */
	since: string;
	procedures: Procedures;
	/** a failed sync or write stopped the session's writes */
	failed: boolean;
	/** bytes of live data in the overlay */
	live: number;
	/** bytes of the session's files on disk */
	disk: number;
	/** bytes of the file system under the session; free ones without the reserve */
	free: number;
	total: number;
	/** UTC; null: nothing was written */
	lastWrite: string | null;
	unprotectedSince: string | null;
	/** syncs of the overlay's log, with the write that they belong to; in milliseconds */
	syncs: LatencySnapshot;
	nbd: NbdCounts;
}

export interface StatsResult {
	/** UTC */
	time: string;
	/** milliseconds that this process has lived, by the monotonic clock */
	uptime: number;
	pid: number;
	version: string;
	listen: string;
	nfs: {
		connections: number;
		connectionsTotal: number;
		connectionsRefused: number;
		batches: number;
		/** answered from the replay cache */
		replays: number;
		malformed: number;
		/** bytes of replies handed to sockets and not yet taken by the kernel */
		unsentBytes: number;
		/** what concerns no session: the root directory, MOUNT, port mapper */
		procedures: Procedures;
	};
	/** of decoded blocks, shared by all sessions */
	cache: {
		budgetBytes: number;
		allocatedBytes: number;
		/** lent to replies, or being filled */
		pinnedBytes: number;
		hits: number;
		misses: number;
	};
	/** bytes, and milliseconds of processor time */
	process: { rss: number; heapUsed: number; external: number; cpu: number };
	/** milliseconds in which the event loop had work; and how much later than asked for a timer came */
	loop: { active: number; delay: LatencySnapshot };
	sessions: SessionStats[];
	/** names of sessions that should be served and could not be opened */
	broken: string[];
}
