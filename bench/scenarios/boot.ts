/**
 * A real Debian VM booted from the export beside the same image as a local file. Emulation drowns the disk, so the reads
 * of one boot are also recorded and replayed without a guest.
 */
import { copyFileSync, constants as fsConstants } from "node:fs";
import { basename, join } from "node:path";
import { acceleration } from "../../scripts/lab/acceleration.js";
import { debianImage } from "../../scripts/lab/guests.js";
import { waitForHttp } from "../../scripts/lab/http.js";
import { Machine } from "../../scripts/lab/qemu.js";
import { dropFromCache, settle, warm } from "../data/page-cache.js";
import { freshDirectory, requireSpace } from "../data/places.js";
import { inOrder, Series } from "../measure/pairs.js";
import { type ReadTrace, readTrace, replay, traceOptions } from "../measure/read-trace.js";
import { ganesha, requireGanesha } from "../peers/ganesha.js";
import { targetUrl } from "../peers/nfs-clients.js";
import { type Published, Springback } from "../peers/springback.js";
import type { Outcome, Scenario, Settings } from "./scenario.js";

const OURS = "springback";
const LOCAL = "local raw file";
const GANESHA = "nfs-ganesha";
const VM = "bench";
const HTTP_PORT = 18080;
const BOOT_TIMEOUT_MS = 120_000;

export const boot: Scenario = {
	name: "boot",
	summary: "boot to HTTP of a Debian VM from the export, and the replay of its reads, beside a local raw file",
	pairs: 3,
	quickPairs: 1,
	programs: ["qemu", "qemu-img", "nfs-ganesha", "libnfs"],
	prepare: async () => {
		requireGanesha();
		debianImage();
		await acceleration();
	},
	run: measure,
};

const figures = () => ({
	http: new Series("power-on to HTTP answer", "s", "lower"),
	publish: new Series("control request to ready", "ms", "lower"),
	cold: latencySeries("cold"),
	warm: latencySeries("warm"),
});

const latencySeries = (state: string) => ({
	median: new Series(`${state}, median`, "µs", "lower"),
	p99: new Series(`${state}, p99`, "µs", "lower"),
	total: new Series(`${state}, all reads`, "s", "lower"),
});

async function measure(settings: Settings): Promise<Outcome> {
	const source = debianImage();
	requireSpace(4 * 2 ** 30);
	const accelerator = await acceleration();
	const ours = new Springback(freshDirectory("ours"));
	const image = join(freshDirectory("local"), "disk.raw");
	copy(source, image);
	await ours.init();
	settings.say("backing up the Debian guest");
	await ours.backup(VM, image);
	const series = figures();

	settings.say(`recording the reads of one boot (${accelerator})`);
	const log = join(freshDirectory("trace"), "qemu.log");
	await bootToHttp(image, true, ["-snapshot", ...traceOptions(log)]);
	const trace = readTrace(log, join(freshDirectory("replay"), "reads"));

	for (let pair = 0; pair < settings.pairs; pair++) {
		await settings.noise.listen();
		for (const side of inOrder([OURS, LOCAL, GANESHA], pair)) {
			const seconds = side === OURS ? await bootFromExport(ours, series.publish) : await bootFromFile(side, image);
			series.http.add(side, seconds);
			settings.say(`pair ${pair + 1}/${settings.pairs}: ${side}: HTTP after ${seconds.toFixed(1)} s`);
		}
		// The guest wrote to the local file; what is replayed must be the image that was backed up.
		copy(source, image);
		const checksums = new Set<string>();
		for (const side of inOrder([OURS, LOCAL, GANESHA], pair))
			for (const checksum of await replayOn(side, ours, image, trace, series)) checksums.add(checksum);
		if (checksums.size !== 1) throw new Error("the replays did not all read the same bytes");
		settings.say(`pair ${pair + 1}/${settings.pairs}: reads replayed`);
	}
	return outcome(series, trace, accelerator);
}

async function bootFromExport(ours: Springback, publish: Series): Promise<number> {
	warm(ours.repository);
	settle();
	const published = await ours.publish(VM, { portmap: true });
	try {
		publish.add(OURS, published.ready.milliseconds);
		return await bootToHttp(`${published.ready.url}/${published.disk}`, false, []);
	} finally {
		await published.stop();
	}
}

async function bootFromFile(side: string, image: string): Promise<number> {
	warm(image);
	settle();
	if (side === LOCAL) return bootToHttp(image, false, []);
	const server = await ganesha(image, freshDirectory("ganesha"));
	try {
		return await bootToHttp(`nfs://127.0.0.1${image}`, false, []);
	} finally {
		await server.stop();
	}
}

/** Seconds from power-on to the first HTTP answer. */
async function bootToHttp(source: string, snapshot: boolean, extra: string[]): Promise<number> {
	const machine = await Machine.start({
		directory: freshDirectory("vm"),
		acceleration: await acceleration(),
		disks: [{ source, snapshot }],
		forwards: [{ host: HTTP_PORT, guest: 80 }],
		extra,
	});
	try {
		await waitForHttp(`http://127.0.0.1:${HTTP_PORT}/`, BOOT_TIMEOUT_MS, () => machine.running);
		return machine.seconds;
	} finally {
		await machine.kill();
	}
}

type Figures = ReturnType<typeof figures>;

/** Adds the latencies, cold and then warm, and returns the checksums of what was read. */
async function replayOn(
	side: string,
	ours: Springback,
	image: string,
	trace: ReadTrace,
	series: Figures,
): Promise<string[]> {
	const checksums: string[] = [];
	settle();
	dropFromCache(side === OURS ? ours.repository : image);
	const served = side === LOCAL ? { target: image, stop: async () => {} } : await serve(side, ours, image);
	try {
		for (const state of ["cold", "warm"] as const) {
			const { median, p99, total, checksum } = await replay(trace, served.target);
			checksums.push(checksum);
			series[state].median.add(side, median);
			series[state].p99.add(side, p99);
			series[state].total.add(side, total);
		}
	} finally {
		await served.stop();
	}
	return checksums;
}

async function serve(
	side: string,
	ours: Springback,
	image: string,
): Promise<{ target: string; stop(): Promise<void> }> {
	if (side === GANESHA) {
		const server = await ganesha(image, freshDirectory("ganesha"));
		return { target: targetUrl({ ...server, file: basename(image) }), stop: server.stop };
	}
	const published: Published = await ours.publish(VM, { portmap: false });
	const { url, nfsPort, mountPort } = published.ready;
	const target = targetUrl({ folder: new URL(url).pathname, file: published.disk, nfsPort, mountPort });
	return { target, stop: () => published.stop() };
}

function copy(source: string, target: string): void {
	copyFileSync(source, target, fsConstants.COPYFILE_FICLONE);
}

function outcome(series: Figures, trace: ReadTrace, accelerator: string): Outcome {
	const { http, publish, cold, warm: warmed } = series;
	return {
		conditions: [
			`The Debian guest of scripts/guests/debian under ${accelerator === "kvm" ? "KVM" : "emulation (TCG)"}, 2 processors, 512 MiB; polled for an answer every 100 ms.`,
			`Booted writably: from a new session through QEMU's nfs:// driver (mount process just started, its cache empty, repository in the page cache), and from a copy of the raw image in the page cache, as a local file (QEMU's default cache mode: reads and writes go through the page cache) and through nfs-ganesha and the same driver.`,
			`Replay: the ${trace.reads} reads (${(trace.bytes / 2 ** 20).toFixed(0)} MiB) of one boot until its HTTP answer, recorded by QEMU's blk_co_preadv trace, one after the other, in order, by bench/replay.c (libnfs, or pread on the local file). All replays read the same bytes. Cold: the repository or the raw file dropped from the page cache, and every server just started; warm: the same again at once.`,
		],
		tables: [
			{ title: "Boot", sides: [OURS, LOCAL, GANESHA], series: [http] },
			{ title: "Publish", sides: [OURS], series: [publish] },
			{
				title: "Replay of the boot's reads, latency of one read",
				sides: [OURS, LOCAL, GANESHA],
				series: [...Object.values(cold), ...Object.values(warmed)],
			},
		],
		remarks: [],
	};
}
