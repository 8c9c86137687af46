/** Statistics of an imagined mount process. */
import { Meter } from "../../src/mountd/nbd/meter.js";
import type { ProcedureCounts, SessionStats, StatsResult } from "../../src/mountd/stats-result.js";
import { LatencyHistogram, NO_LATENCIES } from "../../src/nfs/stats-histogram.js";

/** Latencies in milliseconds, as a snapshot. */
export function latencies(...milliseconds: number[]) {
	const histogram = new LatencyHistogram();
	for (const one of milliseconds) histogram.record(one);
	return histogram.snapshot();
}

export const counts = (...milliseconds: number[]): ProcedureCounts => ({
	calls: milliseconds.length,
	failures: 0,
	bytesIn: 100 * milliseconds.length,
	bytesOut: 4000 * milliseconds.length,
	latency: latencies(...milliseconds),
});

export const session = (change: Partial<SessionStats> = {}): SessionStats => ({
	session: "web",
	uuid: "00".repeat(16),
	vm: "web1",
	since: "2026-01-02T03:04:05.000Z",
	procedures: {},
	failed: false,
	live: 4096,
	disk: 1 << 24,
	free: 1e9,
	total: 1e10,
	lastWrite: null,
	unprotectedSince: null,
	syncs: NO_LATENCIES,
	nbd: new Meter(() => new Date(0)).counts(),
	...change,
});

export const statistics = (change: Partial<StatsResult> = {}): StatsResult => ({
	time: "2026-01-02T03:05:00.000Z",
	uptime: 10_000,
	pid: 77,
	version: "0.0.0",
	listen: "127.0.0.1",
	nfs: {
		connections: 2,
		connectionsTotal: 5,
		connectionsRefused: 0,
		batches: 9,
		replays: 1,
		malformed: 0,
		unsentBytes: 0,
		procedures: {},
	},
	cache: { budgetBytes: 1 << 29, allocatedBytes: 1 << 26, pinnedBytes: 65536, hits: 90, misses: 10 },
	process: { rss: 1e8, heapUsed: 1e7, external: 1e6, cpu: 1500 },
	loop: { active: 5000, delay: latencies(0.1, 0.2) },
	sessions: [],
	broken: [],
	...change,
});
