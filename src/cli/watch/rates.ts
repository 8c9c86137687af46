/** What happened between two looks at a mount process: rates per second, quantiles of exactly that time. */
import type { NbdCounts, ProcedureCounts, Procedures, SessionStats, StatsResult } from "../../mountd/stats-result.js";
import {
	type LatencySnapshot,
	latenciesSince,
	mergeLatencies,
	NO_LATENCIES,
	quantile,
} from "../../nfs/stats-histogram.js";

/** Classes of procedures: the three that move or secure data, and all others together. */
export const CLASSES = ["read", "write", "commit", "other"] as const;
export type ProcedureClass = (typeof CLASSES)[number];

export interface Latencies {
	perSecond: number;
	/** milliseconds; 0 when there was none */
	p50: number;
	p99: number;
	max: number;
}

export interface ClassRates extends Latencies {
	failuresPerSecond: number;
	/** record bytes, headers included */
	bytesInPerSecond: number;
	bytesOutPerSecond: number;
	/** since the session is served */
	calls: number;
}

export interface SessionRates {
	session: string;
	uuid: string;
	vm: string;
	since: string;
	failed: boolean;
	live: number;
	disk: number;
	free: number;
	lastWrite: string | null;
	unprotectedSince: string | null;
	classes: Record<ProcedureClass, ClassRates>;
	syncs: Latencies;
	/** null: no NBD client has used its disks since it is served */
	nbd: NbdRates | null;
}

export interface NbdRates {
	readsPerSecond: number;
	bytesReadPerSecond: number;
	writesPerSecond: number;
	bytesWrittenPerSecond: number;
	failuresPerSecond: number;
}

export interface ProcessRates {
	listen: string;
	pid: number;
	version: string;
	/** seconds that these rates are of */
	seconds: number;
	connections: number;
	unsentBytes: number;
	/** bytes of resident memory */
	rss: number;
	/** share of the time (0 to 1) in which the event loop had work; how much too late timers came, in ms */
	busy: number;
	delay: Latencies;
	cache: {
		/** share of look-ups (0 to 1); null when there was none */
		hitRate: number | null;
		hitsPerSecond: number;
		missesPerSecond: number;
		budgetBytes: number;
		allocatedBytes: number;
		pinnedBytes: number;
	};
	sessions: SessionRates[];
	broken: string[];
}

/** `earlier`: the last look at that listening address, if there was one; void when the process is another one since. */
export function processRates(later: StatsResult, earlier: StatsResult | undefined): ProcessRates {
	const before = earlier && earlier.pid === later.pid && earlier.uptime < later.uptime ? earlier : undefined;
	const seconds = (later.uptime - (before?.uptime ?? 0)) / 1000;
	const { cache, loop, nfs } = later;
	const hits = cache.hits - (before?.cache.hits ?? 0);
	const misses = cache.misses - (before?.cache.misses ?? 0);
	return {
		listen: later.listen,
		pid: later.pid,
		version: later.version,
		seconds,
		connections: nfs.connections,
		unsentBytes: nfs.unsentBytes,
		rss: later.process.rss,
		busy: Math.min(1, (loop.active - (before?.loop.active ?? 0)) / 1000 / seconds),
		delay: latencies(loop.delay, before?.loop.delay, seconds),
		cache: {
			hitRate: hits + misses > 0 ? hits / (hits + misses) : null,
			hitsPerSecond: hits / seconds,
			missesPerSecond: misses / seconds,
			budgetBytes: cache.budgetBytes,
			allocatedBytes: cache.allocatedBytes,
			pinnedBytes: cache.pinnedBytes,
		},
		sessions: later.sessions.map((session) => {
			const same = before?.sessions.find(({ uuid, since }) => uuid === session.uuid && since === session.since);
			return sessionRates(session, same, seconds);
		}),
		broken: later.broken,
	};
}

function sessionRates(later: SessionStats, before: SessionStats | undefined, seconds: number): SessionRates {
	const { session, uuid, vm, since, failed, live, disk, free, lastWrite, unprotectedSince } = later;
	const rates = (kind: ProcedureClass) =>
		classRates(inClass(later.procedures, kind), inClass(before?.procedures ?? {}, kind), seconds);
	return {
		session,
		uuid,
		vm,
		since,
		failed,
		live,
		disk,
		free,
		lastWrite,
		unprotectedSince,
		classes: { read: rates("read"), write: rates("write"), commit: rates("commit"), other: rates("other") },
		syncs: latencies(later.syncs, before?.syncs, seconds),
		nbd: nbdRates(later.nbd, before?.nbd, seconds),
	};
}

function nbdRates(later: NbdCounts, before: NbdCounts | undefined, seconds: number): NbdRates | null {
	if (later.reads + later.writes === 0) return null;
	const rate = (of: (counts: NbdCounts) => number): number => (of(later) - (before ? of(before) : 0)) / seconds;
	return {
		readsPerSecond: rate(({ reads }) => reads),
		bytesReadPerSecond: rate(({ bytesRead }) => bytesRead),
		writesPerSecond: rate(({ writes }) => writes),
		bytesWrittenPerSecond: rate(({ bytesWritten }) => bytesWritten),
		failuresPerSecond: rate(({ failures }) => failures),
	};
}

function inClass(procedures: Procedures, kind: ProcedureClass): ProcedureCounts {
	const chosen = Object.entries(procedures).filter(([name]) => classOf(name) === kind);
	const sum = (value: (counts: ProcedureCounts) => number) =>
		chosen.reduce((total, [, counts]) => total + value(counts), 0);
	return {
		calls: sum(({ calls }) => calls),
		failures: sum(({ failures }) => failures),
		bytesIn: sum(({ bytesIn }) => bytesIn),
		bytesOut: sum(({ bytesOut }) => bytesOut),
		latency: mergeLatencies(chosen.map(([, { latency }]) => latency)),
	};
}

function classOf(name: string): ProcedureClass {
	if (name === "NFS READ") return "read";
	if (name === "NFS WRITE") return "write";
	return name === "NFS COMMIT" ? "commit" : "other";
}

function classRates(later: ProcedureCounts, before: ProcedureCounts, seconds: number): ClassRates {
	return {
		...latencies(later.latency, before.latency, seconds),
		perSecond: (later.calls - before.calls) / seconds,
		failuresPerSecond: (later.failures - before.failures) / seconds,
		bytesInPerSecond: (later.bytesIn - before.bytesIn) / seconds,
		bytesOutPerSecond: (later.bytesOut - before.bytesOut) / seconds,
		calls: later.calls,
	};
}

function latencies(later: LatencySnapshot, before: LatencySnapshot | undefined, seconds: number): Latencies {
	const since = latenciesSince(later, before ?? NO_LATENCIES);
	return {
		perSecond: since.count / seconds,
		p50: quantile(since, 0.5),
		p99: quantile(since, 0.99),
		max: since.max,
	};
}
