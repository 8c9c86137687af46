/**
 * Mixed load for as long as asked, while memory and disk of the mount process are looked at every second: neither may
 * grow with the bytes that were read and written. No peer: the bounds are our own promises.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { images } from "../data/image.js";
import { freshDirectory, requireSpace } from "../data/places.js";
import { Series } from "../measure/pairs.js";
import { residentBytes } from "../measure/process.js";
import { median } from "../measure/statistics.js";
import { commit, type Load, load, type Target } from "../peers/nfs-clients.js";
import { type Published, Springback } from "../peers/springback.js";
import type { Outcome, Scenario, Settings } from "./scenario.js";

const VM = "bench";
const KIB = 1024;
const MIB = 2 ** 20;
const GIB = 2 ** 30;
const DEFAULT_MINUTES = 60;
/** Small, so that it is full within the warm-up. */
const CACHE_BYTES = 128 * MIB;
/** beside the cache: the process, its buffers, what a session keeps in memory */
const FIXED_BYTES = 150 * MIB;
/** of the whole time */
const WARM_UP = 0.2;
/** One load lasts this long, then the next one of its lane begins on a new connection; s */
const TURN = 10;
/** What the unstable writes and their COMMIT touch, and the scattered overwrites. */
const BURST = 64 * MIB;
const SPAN = 512 * MIB;

/** Run side by side, each by a client of its own, the loads of a lane in turn. */
const LANES: Load[][] = [
	[
		{ op: "read", size: 4 * KIB, depth: 8, pattern: "random" },
		{ op: "read", size: MIB, depth: 2, pattern: "seq" },
	],
	[
		{ op: "write", size: 4 * KIB, depth: 32, pattern: "random", stable: "file", span: SPAN },
		{ op: "write", size: 512, depth: 16, pattern: "random", stable: "file", span: SPAN },
	],
	[{ op: "write", size: 64 * KIB, depth: 4, pattern: "seq", stable: "unstable", count: BURST / (64 * KIB) }],
	[{ op: "churn", size: 1, depth: 4, pattern: "random" }],
];

interface Sample {
	/** since the start */
	seconds: number;
	resident: number;
	disk: number;
	live: number;
}

export const endurance: Scenario = {
	name: "endurance",
	summary: "mixed load for --minutes N: growth of memory, session disk space against live data",
	pairs: 1,
	quickPairs: 1,
	byName: true,
	programs: ["libnfs"],
	run: measure,
};

async function measure(settings: Settings): Promise<Outcome> {
	const minutes = settings.minutes ?? (settings.quick ? 1 : DEFAULT_MINUTES);
	const source = images(settings.say);
	requireSpace(8 * GIB);
	const ours = new Springback(freshDirectory("ours"));
	await ours.init();
	await ours.backup(VM, source.base);
	const published = await ours.publish(VM, { portmap: false, metrics: true, cacheBytes: CACHE_BYTES });
	const samples: Sample[] = [];
	const written = { bytes: 0, read: 0, names: 0 };
	try {
		const end = Date.now() + minutes * 60_000;
		const pid = await published.mountProcess();
		const lanes = LANES.map((lane, n) => keepLoading(target(published), lane, n, end, written));
		await Promise.all([...lanes, watch(published, pid, end, samples, settings)]);
	} finally {
		await published.stop();
	}
	return outcome(samples, written, minutes);
}

const target = ({ ready, disk }: Published): Target => ({
	...{ folder: new URL(ready.url).pathname, file: disk },
	...{ nfsPort: ready.nfsPort, mountPort: ready.mountPort },
});

/** Other places every time. */
async function keepLoading(
	target: Target,
	lane: Load[],
	number: number,
	end: number,
	sum: { bytes: number; read: number; names: number },
): Promise<void> {
	for (let turn = 0; Date.now() < end; turn++) {
		const asked = { ...lane[turn % lane.length], seed: 1 + number + 1000 * turn };
		const { bytes, opsPerSec, seconds } = await load(target, asked, TURN);
		if (asked.op === "write") sum.bytes += bytes;
		else if (asked.op === "read") sum.read += bytes;
		else sum.names += opsPerSec * seconds;
		if (asked.stable === "unstable") await commit(target);
	}
}

async function watch(
	published: Published,
	pid: number,
	end: number,
	samples: Sample[],
	{ say }: Settings,
): Promise<void> {
	const begin = Date.now();
	let told = begin;
	while (Date.now() < end) {
		const [disk, live] = await Promise.all(
			["springback_overlay_disk_bytes", "springback_overlay_live_bytes"].map((name) => published.metric(name)),
		);
		const sample = { seconds: (Date.now() - begin) / 1000, resident: residentBytes(pid), disk, live };
		if (sample.resident === 0) throw new Error(`the mount process (pid ${pid}) ended during the load`);
		samples.push(sample);
		if (Date.now() - told >= 30_000) {
			told = Date.now();
			const mib = (bytes: number) => `${(bytes / MIB).toFixed(0)} MiB`;
			const { seconds, resident } = sample;
			say(`${seconds.toFixed(0)} s: resident ${mib(resident)}, session ${mib(disk)} for ${mib(live)} live`);
		}
		await sleep(1000);
	}
}

function outcome(samples: Sample[], sum: { bytes: number; read: number; names: number }, minutes: number): Outcome {
	const settled = samples.filter(({ seconds }) => seconds >= WARM_UP * minutes * 60);
	const tenth = Math.max(1, Math.floor(settled.length / 10));
	const resident = settled.map((sample) => sample.resident);
	const first = median(resident.slice(0, tenth));
	const last = median(resident.slice(-tenth));
	const limit = CACHE_BYTES + FIXED_BYTES;
	const ratios = settled.map(({ disk, live }) => disk / live);
	const row = (load: string, unit: string, value: number) => {
		const series = new Series(load, unit, "lower");
		series.add("springback", value);
		return series;
	};
	const highest = samples.reduce((most, sample) => Math.max(most, sample.resident), 0);
	return {
		conditions: [
			`Mixed load for ${minutes} min on a session of the 1 GiB image: random 4 KiB and sequential 1 MiB reads; scattered FILE_SYNC writes of 4 KiB and of 512 bytes over ${SPAN / MIB} MiB; ${BURST / MIB} MiB of UNSTABLE writes and a COMMIT; files made and removed. Four clients (bench/nfsload.c) at once, a new connection every ${TURN} s. Cache of decoded blocks ${CACHE_BYTES / MIB} MiB.`,
			`Looked at every second. Warm-up is the first ${WARM_UP * 100}% of the time. Growth: the median of the last tenth after it less that of the first.`,
		],
		tables: [
			{
				title: "Memory",
				sides: ["springback"],
				series: [
					row("resident, first tenth after warm-up", "MiB", first / MIB),
					row("resident, last tenth", "MiB", last / MIB),
					row("growth", "MiB", (last - first) / MIB),
					row(`highest (limit ${limit / MIB}: cache budget + ${FIXED_BYTES / MIB})`, "MiB", highest / MIB),
				],
			},
			{
				title: "Session on disk",
				sides: ["springback"],
				series: [
					row("live data at the end", "MiB", settled[settled.length - 1].live / MIB),
					row("files at the end", "MiB", settled[settled.length - 1].disk / MIB),
					row("files against live data after warm-up, median (goal: under 2)", "1", median(ratios)),
					row("the same, highest", "1", Math.max(...ratios)),
				],
			},
			{
				title: "Done meanwhile",
				sides: ["springback"],
				series: [
					row("written", "GiB", sum.bytes / GIB),
					row("read", "GiB", sum.read / GIB),
					row("files made or removed", "1", sum.names),
				],
			},
		],
		remarks: [],
	};
}
