/**
 * Counters that cost next to nothing: per volume (a session) and procedure, and of the connections. An operation
 * adds to a few numbers that are reached by index; latencies of what a batch answered at once are recorded once
 * per batch and procedure. Nothing is allocated but when a volume or procedure is met for the first time.
 */
import { performance } from "node:perf_hooks";
import { LatencyHistogram } from "./stats-histogram.js";

export class ProcedureStats {
	calls = 0;
	failures = 0;
	/** record bytes, headers included */
	bytesIn = 0;
	bytesOut = 0;
	/** from parsing to handing the reply to the socket */
	readonly latency = new LatencyHistogram();
	/** calls answered at once in the batch at hand, whose time is recorded when the batch ends */
	batched = 0;

	/** sum over calls of their latencies */
	get milliseconds(): number {
		return this.latency.sum;
	}

	/** Counts a call; its latency is recorded apart. */
	count(bytesIn: number, bytesOut: number, failed: boolean): void {
		this.calls++;
		if (failed) this.failures++;
		this.bytesIn += bytesIn;
		this.bytesOut += bytesOut;
	}
}

/** What was asked of one volume, or of none. */
export class VolumeStats {
	/** by "NFS READ", "MOUNT MNT", …; those that were called */
	readonly procedures = new Map<string, ProcedureStats>();
	readonly #byNumber: (ProcedureStats | undefined)[] = [];
	readonly #names: readonly string[];

	constructor(names: readonly string[]) {
		this.#names = names;
	}

	/** By the number that `NfsStats.number` gave. */
	procedure(number: number): ProcedureStats {
		return this.#byNumber[number] ?? this.#make(number);
	}

	#make(number: number): ProcedureStats {
		// Without holes the array stays one that V8 reaches by plain index.
		while (this.#byNumber.length <= number) this.#byNumber.push(undefined);
		const stats = new ProcedureStats();
		this.#byNumber[number] = stats;
		this.procedures.set(this.#names[number], stats);
		return stats;
	}
}

export class NfsStats {
	readonly startedAt = performance.now();
	readonly #names: string[] = [];
	/** calls that concern no volume */
	readonly unattributed = new VolumeStats(this.#names);
	/** The counters of a volume go when nobody knows the volume any more. */
	readonly #volumes = new WeakMap<object, VolumeStats>();
	connections = 0;
	connectionsTotal = 0;
	/** refused because too many were open */
	connectionsRefused = 0;
	batches = 0;
	replays = 0;
	/** requests that named no known program, version or procedure, or did not parse */
	malformed = 0;
	/** bytes of replies handed to sockets and not yet sent */
	unsentBytes = 0;
	readonly #touched: ProcedureStats[] = [];
	#touchedCount = 0;

	/** The number of a procedure, by "NFS READ", "MOUNT MNT", …; small, and the same for all volumes. */
	number(name: string): number {
		const known = this.#names.indexOf(name);
		return known >= 0 ? known : this.#names.push(name) - 1;
	}

	volume(volume: object): VolumeStats {
		let stats = this.#volumes.get(volume);
		if (stats === undefined) {
			stats = new VolumeStats(this.#names);
			this.#volumes.set(volume, stats);
		}
		return stats;
	}

	/** Calls by name that concern no volume. */
	procedure(name: string): ProcedureStats {
		return this.unattributed.procedure(this.number(name));
	}

	get procedures(): ReadonlyMap<string, ProcedureStats> {
		return this.unattributed.procedures;
	}

	/** Counts a call answered at once. */
	answered(stats: ProcedureStats, bytesIn: number, bytesOut: number, failed: boolean): void {
		stats.count(bytesIn, bytesOut, failed);
		if (stats.batched++ === 0) this.#touched[this.#touchedCount++] = stats;
	}

	/** The calls answered at once since the last time took `milliseconds` each: their batch leaves as one. */
	endBatch(milliseconds: number): void {
		this.batches++;
		for (let index = 0; index < this.#touchedCount; index++) {
			const stats = this.#touched[index];
			stats.latency.record(milliseconds, stats.batched);
			stats.batched = 0;
		}
		this.#touchedCount = 0;
	}
}
