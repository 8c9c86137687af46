/**
 * Statistics as Prometheus text, exposition format 0.0.4
 * (https://prometheus.io/docs/instrumenting/exposition_formats/). Base units: seconds and bytes.
 */
import { countBelow, type LatencySnapshot, secondsAt } from "../nfs/stats-histogram.js";
import type { NbdCounts, ProcedureCounts, SessionStats, StatsResult } from "./stats-result.js";

export const METRICS_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8";

/** Histogram bounds are the powers of two from 2^6 to 2^28 units of 0.1 µs: 6.4 µs to 27 s. */
const POWERS = Array.from({ length: 23 }, (_, index) => index + 6);
const NFS = "NFS ";

type Labels = Record<string, string>;
type Sample = [labels: Labels, value: number];

export function prometheusText(stats: StatsResult): string {
	const text = new MetricsText();
	requests(text, stats);
	connections(text, stats);
	cache(text, stats);
	overlays(text, stats);
	nbdExports(text, stats);
	process(text, stats);
	return text.toString();
}

/** Every NFS procedure of every session; what concerns no session has an empty `session`. */
function requests(text: MetricsText, { nfs, sessions }: StatsResult): void {
	const rows: [Labels, ProcedureCounts][] = [];
	for (const { session, procedures } of [...sessions, { session: "", procedures: nfs.procedures }])
		for (const [name, counts] of Object.entries(procedures))
			if (name.startsWith(NFS)) rows.push([{ session, procedure: name.slice(NFS.length) }, counts]);
	const each = (value: (counts: ProcedureCounts) => number) =>
		rows.map(([labels, counts]): Sample => [labels, value(counts)]);
	text.counter(
		"springback_nfs_requests_total",
		"NFS requests answered.",
		each(({ calls }) => calls),
	);
	text.counter(
		"springback_nfs_request_failures_total",
		"NFS requests answered with an error status.",
		each(({ failures }) => failures),
	);
	text.counter(
		"springback_nfs_received_bytes_total",
		"Bytes of NFS requests, headers included.",
		each(({ bytesIn }) => bytesIn),
	);
	text.counter(
		"springback_nfs_sent_bytes_total",
		"Bytes of NFS replies, headers included.",
		each(({ bytesOut }) => bytesOut),
	);
	text.histogram(
		"springback_nfs_request_seconds",
		"Time from parsing a request to handing its reply to the socket.",
		rows.map(([labels, { latency }]) => [labels, latency]),
	);
	text.counter(
		"springback_rpc_requests_total",
		"Requests to MOUNT and the port mapper.",
		Object.entries(nfs.procedures)
			.filter(([name]) => !name.startsWith(NFS))
			.map(([name, { calls }]) => {
				const [program, ...procedure] = name.split(" ");
				return [{ program, procedure: procedure.join(" ") }, calls];
			}),
	);
}

function connections(text: MetricsText, { nfs }: StatsResult): void {
	text.gauge("springback_nfs_connections", "Open connections.", [[{}, nfs.connections]]);
	text.counter("springback_nfs_connections_opened_total", "Connections accepted.", [[{}, nfs.connectionsTotal]]);
	text.counter("springback_nfs_connections_refused_total", "Connections refused because too many were open.", [
		[{}, nfs.connectionsRefused],
	]);
	text.gauge("springback_nfs_unsent_bytes", "Bytes of replies that the kernel has not taken yet.", [
		[{}, nfs.unsentBytes],
	]);
	text.counter("springback_nfs_batches_total", "Batches of requests parsed together.", [[{}, nfs.batches]]);
	text.counter("springback_nfs_replays_total", "Requests answered from the replay cache.", [[{}, nfs.replays]]);
	text.counter("springback_nfs_malformed_total", "Requests that did not parse or named nothing known.", [
		[{}, nfs.malformed],
	]);
}

function cache(text: MetricsText, { cache }: StatsResult): void {
	text.counter("springback_cache_hits_total", "Blocks found in the cache of decoded blocks.", [[{}, cache.hits]]);
	text.counter("springback_cache_misses_total", "Blocks that had to be read from the repository.", [
		[{}, cache.misses],
	]);
	text.gauge("springback_cache_budget_bytes", "Limit of the cache.", [[{}, cache.budgetBytes]]);
	text.gauge("springback_cache_allocated_bytes", "Memory that the cache has taken.", [[{}, cache.allocatedBytes]]);
	text.gauge("springback_cache_pinned_bytes", "Part of it lent to replies or being filled.", [[{}, cache.pinnedBytes]]);
}

function overlays(text: MetricsText, { sessions, broken }: StatsResult): void {
	const each = (value: (session: SessionStats) => number) =>
		sessions.map((session): Sample => [{ session: session.session }, value(session)]);
	text.gauge("springback_session_up", "1 when the session is served and takes writes, 0 when it failed.", [
		...each(({ failed }) => (failed ? 0 : 1)),
		...broken.map((session): Sample => [{ session }, 0]),
	]);
	text.gauge(
		"springback_session_unprotected_since_timestamp_seconds",
		"Since when the session holds data that is in no restore point; not there while it holds none.",
		times(sessions, ({ unprotectedSince }) => unprotectedSince),
	);
	text.gauge(
		"springback_overlay_last_write_timestamp_seconds",
		"When a client wrote last; not there while nobody has.",
		times(sessions, ({ lastWrite }) => lastWrite),
	);
	text.gauge(
		"springback_overlay_live_bytes",
		"Live data in the overlay.",
		each(({ live }) => live),
	);
	text.gauge(
		"springback_overlay_disk_bytes",
		"Size of the session's files.",
		each(({ disk }) => disk),
	);
	text.gauge(
		"springback_overlay_free_bytes",
		"Free space below the session.",
		each(({ free }) => free),
	);
	text.gauge(
		"springback_overlay_file_system_bytes",
		"Size of that file system.",
		each(({ total }) => total),
	);
	text.histogram(
		"springback_overlay_sync_seconds",
		"Syncs of the overlay's log, with the write that they belong to.",
		sessions.map(({ session, syncs }) => [{ session }, syncs]),
	);
}

function nbdExports(text: MetricsText, { sessions }: StatsResult): void {
	const each = (value: (counts: NbdCounts) => number) =>
		sessions.map(({ session, nbd }): Sample => [{ session }, value(nbd)]);
	text.counter(
		"springback_nbd_reads_total",
		"Reads of the session's disks over NBD.",
		each(({ reads }) => reads),
	);
	text.counter(
		"springback_nbd_read_bytes_total",
		"Bytes asked for by them.",
		each(({ bytesRead }) => bytesRead),
	);
	text.counter(
		"springback_nbd_writes_total",
		"Writes of the session's disks over NBD.",
		each(({ writes }) => writes),
	);
	text.counter(
		"springback_nbd_written_bytes_total",
		"Bytes that they wrote.",
		each(({ bytesWritten }) => bytesWritten),
	);
	text.counter(
		"springback_nbd_failures_total",
		"Reads and writes over NBD that failed.",
		each(({ failures }) => failures),
	);
}

function process(text: MetricsText, { process, loop, version, time, uptime }: StatsResult): void {
	text.gauge("springback_build_info", "The release that runs.", [[{ version }, 1]]);
	text.counter("springback_event_loop_active_seconds_total", "Time in which the event loop had work.", [
		[{}, loop.active / 1000],
	]);
	text.histogram("springback_event_loop_delay_seconds", "How much too late a timer came.", [[{}, loop.delay]]);
	text.gauge("process_resident_memory_bytes", "Resident memory.", [[{}, process.rss]]);
	text.counter("process_cpu_seconds_total", "Processor time.", [[{}, process.cpu / 1000]]);
	text.gauge("process_start_time_seconds", "Start of the process, since the epoch.", [
		[{}, (Date.parse(time) - uptime) / 1000],
	]);
}

function times(sessions: SessionStats[], time: (session: SessionStats) => string | null): Sample[] {
	const samples: Sample[] = [];
	for (const session of sessions) {
		const at = time(session);
		if (at !== null) samples.push([{ session: session.session }, Date.parse(at) / 1000]);
	}
	return samples;
}

class MetricsText {
	readonly #lines: string[] = [];

	counter(name: string, help: string, samples: Sample[]): void {
		this.#family(name, help, "counter", samples);
	}

	gauge(name: string, help: string, samples: Sample[]): void {
		this.#family(name, help, "gauge", samples);
	}

	histogram(name: string, help: string, series: [Labels, LatencySnapshot][]): void {
		if (series.length === 0) return;
		this.#head(name, help, "histogram");
		for (const [labels, latencies] of series) {
			for (const power of POWERS)
				this.#sample(`${name}_bucket`, { ...labels, le: String(secondsAt(power)) }, countBelow(latencies, power));
			this.#sample(`${name}_bucket`, { ...labels, le: "+Inf" }, latencies.count);
			this.#sample(`${name}_sum`, labels, latencies.sum / 1000);
			this.#sample(`${name}_count`, labels, latencies.count);
		}
	}

	toString(): string {
		return this.#lines.join("");
	}

	#family(name: string, help: string, type: string, samples: Sample[]): void {
		if (samples.length === 0) return;
		this.#head(name, help, type);
		for (const [labels, value] of samples) this.#sample(name, labels, value);
	}

	#head(name: string, help: string, type: string): void {
		this.#lines.push(`# HELP ${name} ${help}\n# TYPE ${name} ${type}\n`);
	}

	#sample(name: string, labels: Labels, value: number): void {
		const list = Object.entries(labels).map(([label, text]) => `${label}="${escapeLabel(text)}"`);
		this.#lines.push(`${name}${list.length ? `{${list.join(",")}}` : ""} ${value}\n`);
	}
}

const escapeLabel = (text: string): string =>
	text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll('"', '\\"');
