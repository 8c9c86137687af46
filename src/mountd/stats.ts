/** Collects what the mount process can tell about its work. Costs nothing until somebody asks, but one slow timer. */
import { performance } from "node:perf_hooks";
import type { NfsStats, VolumeStats } from "../nfs/stats.js";
import { LatencyHistogram } from "../nfs/stats-histogram.js";
import type { Publisher } from "./publisher.js";
import type { ServingSession } from "./serving.js";
import { timeOf } from "./session-info.js";
import type { Procedures, SessionStats, StatsResult } from "./stats-result.js";
import { VERSION } from "./version.js";

/** Between looks at the event loop. A stall of any length is seen once, by how much too late the timer comes. */
const LOOP_INTERVAL_MS = 50;

export class StatsCollector {
	private readonly delay = new LatencyHistogram();
	private readonly timer: NodeJS.Timeout;
	private expected = performance.now() + LOOP_INTERVAL_MS;

	constructor(
		private readonly listen: string,
		private readonly nfs: NfsStats,
		private readonly publisher: Publisher,
		private readonly now: () => Date,
	) {
		this.timer = setInterval(() => {
			const at = performance.now();
			this.delay.record(Math.max(0, at - this.expected));
			this.expected = at + LOOP_INTERVAL_MS;
		}, LOOP_INTERVAL_MS).unref();
	}

	close(): void {
		clearInterval(this.timer);
	}

	collect(): StatsResult {
		const { nfs, publisher } = this;
		const memory = process.memoryUsage();
		const cpu = process.cpuUsage();
		return {
			time: this.now().toISOString(),
			uptime: performance.now(),
			pid: process.pid,
			version: VERSION,
			listen: this.listen,
			nfs: {
				connections: nfs.connections,
				connectionsTotal: nfs.connectionsTotal,
				connectionsRefused: nfs.connectionsRefused,
				batches: nfs.batches,
				replays: nfs.replays,
				malformed: nfs.malformed,
				unsentBytes: nfs.unsentBytes,
				procedures: procedures(nfs.unattributed),
			},
			cache: publisher.cacheStats(),
			process: {
				rss: memory.rss,
				heapUsed: memory.heapUsed,
				external: memory.external,
				cpu: (cpu.user + cpu.system) / 1000,
			},
			loop: { active: performance.eventLoopUtilization().active, delay: this.delay.snapshot() },
			sessions: publisher.servingSessions().map((session) => this.session(session)),
			broken: publisher.brokenNames(),
		};
	}

	private session({ record, served, tree, since, syncs, nbd }: ServingSession): SessionStats {
		const usage = tree.usage();
		const lastWrite = usage.lastWrite === 0n ? null : timeOf(usage.lastWrite);
		return {
			session: record.name,
			uuid: record.uuid,
			vm: record.vm,
			since,
			procedures: served.volume ? procedures(this.nfs.volume(served.volume)) : {},
			failed: usage.failed,
			live: usage.liveBytes,
			disk: usage.diskBytes,
			free: usage.freeBytes,
			total: usage.totalBytes,
			lastWrite,
			// What was not noted yet is not protected; what was noted may be.
			unprotectedSince: record.unprotectedSince ?? (record.lastWrite === lastWrite ? null : lastWrite),
			syncs: syncs.snapshot(),
			nbd: nbd.counts(),
		};
	}
}

function procedures(stats: VolumeStats): Procedures {
	const all: Procedures = {};
	for (const [name, { calls, failures, bytesIn, bytesOut, latency }] of stats.procedures)
		if (calls > 0) all[name] = { calls, failures, bytesIn, bytesOut, latency: latency.snapshot() };
	return all;
}
