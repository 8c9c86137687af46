/**
 * A published restore point beside nfs-ganesha on the plain raw file: the same disk, the same client, in alternation.
 * Our side reads a deduplicated LZ4 repository through the overlay.
 */
import { copyFileSync, constants as fsConstants } from "node:fs";
import { join } from "node:path";
import { IMAGE_SIZE, images } from "../data/image.js";
import { dropFromCache, settle, warm } from "../data/page-cache.js";
import { freshDirectory, requireSpace } from "../data/places.js";
import { inOrder, Series } from "../measure/pairs.js";
import { residentBytes } from "../measure/process.js";
import { ganesha, requireGanesha } from "../peers/ganesha.js";
import { nbdLoad } from "../peers/nbd-clients.js";
import { commit, type Load, type LoadResult, load, type Target } from "../peers/nfs-clients.js";
import { QemuNbd } from "../peers/qemu-nbd.js";
import { Springback } from "../peers/springback.js";
import { FAULT_CONDITIONS, measureFaults } from "./nfs-faults.js";
import type { Outcome, Scenario, Settings } from "./scenario.js";

const OURS = "springback";
const GANESHA = "nfs-ganesha";
const QEMU = "qemu-nbd";
const VM = "bench";
const KIB = 1024;
const MIB = 2 ** 20;
/** Fits our default cache of 512 MiB whole, so that "warm" means the same on both sides. */
const SPAN = 256 * MIB;

export const nfs: Scenario = {
	name: "nfs",
	summary:
		"reads and writes of a published restore point beside nfs-ganesha on the plain file, cold reads beside qemu-nbd",
	pairs: 5,
	quickPairs: 1,
	programs: ["nfs-ganesha", "libnfs", "qemu-img"],
	prepare: async () => requireGanesha(),
	run: measure,
};

interface Case {
	name: string;
	load: Load;
	/** times nfs-ganesha */
	goal?: number;
	unit: "1/s" | "MB/s";
}

const read = (size: number, depth: number, pattern: Load["pattern"], span?: number): Load => ({
	...{ op: "read", size, depth, pattern, span },
});
const stableWrite = (depth: number): Load => ({
	...{ op: "write", size: 4 * KIB, depth, pattern: "random", stable: "file", span: SPAN },
});

/** In the order of running: what writes comes last. */
const CASES: Case[] = [
	{ name: "4 KiB random read, depth 32", load: read(4 * KIB, 32, "random", SPAN), goal: 4, unit: "1/s" },
	{ name: "4 KiB random read, depth 1", load: read(4 * KIB, 1, "random", SPAN), goal: 1, unit: "1/s" },
	{ name: "64 KiB random read, depth 16", load: read(64 * KIB, 16, "random", SPAN), goal: 1.5, unit: "1/s" },
	{ name: "1 MiB sequential read, depth 8", load: read(MIB, 8, "seq", SPAN), goal: 1.2, unit: "MB/s" },
	{ name: "4 KiB random read, depth 32, over all of the disk", load: read(4 * KIB, 32, "random"), unit: "1/s" },
	{ name: "4 KiB random write FILE_SYNC, depth 32", load: stableWrite(32), goal: 1.5, unit: "1/s" },
	{ name: "4 KiB random write FILE_SYNC, depth 1", load: stableWrite(1), goal: 1, unit: "1/s" },
	{
		name: "64 KiB sequential write UNSTABLE, depth 16, + COMMIT",
		load: { op: "write", size: 64 * KIB, depth: 16, pattern: "seq", stable: "unstable" },
		goal: 1,
		unit: "MB/s",
	},
];

/** Over all of the disk: a quarter of its blocks at most. */
const COLD: Load = { ...read(4 * KIB, 32, "random"), count: 4096 };
/** What is in the page cache is dropped before each; the seeds make them read different places. */
const COLD_CASES = [
	{ name: "4 KiB random read, depth 32, cold, server just started", seed: 101, goal: 2 },
	{ name: "4 KiB random read, depth 32, cold, server running", seed: 211, goal: 2 },
];

/** Loads that together keep a server busy while another client only asks whether it is alive. */
const SATURATING: Load[] = [read(MIB, 8, "seq", SPAN), stableWrite(32)];
const HEARTBEAT: Load = { op: "getattr", size: 1, depth: 1, pattern: "random" };
const HEARTBEAT_NAME = "GETATTR, depth 1, while 1 MiB reads and FILE_SYNC writes saturate the server";

interface Running {
	name: string;
	target: Target;
	memory(): Promise<number>;
	stop(): Promise<void>;
}

async function measure(settings: Settings): Promise<Outcome> {
	const source = images(settings.say);
	requireSpace(4 * IMAGE_SIZE);
	const ours = new Springback(freshDirectory("ours"));
	await ours.init();
	settings.say("backing up the image");
	await ours.backup(VM, source.base);
	const plain = join(freshDirectory("plain"), "disk.raw");
	copyFileSync(source.base, plain, fsConstants.COPYFILE_FICLONE);

	const rates = CASES.map(({ name, unit, goal }) => new Series(name, unit, "higher", goal));
	const tails = [...CASES.map(({ name }) => name), HEARTBEAT_NAME].map((name) => new Series(name, "µs", "lower"));
	const memory = new Series("resident after the reads", "MiB", "lower");
	const cold = COLD_CASES.flatMap(({ name, goal }) => [
		new Series(name, "1/s", "higher", goal),
		new Series(`${name}, p99`, "µs", "lower"),
	]);
	const qemu = new QemuNbd(freshDirectory("qemu-nbd"));
	qemu.make(source.base);
	for (let pair = 0; pair < settings.pairs; pair++) {
		await settings.noise.listen();
		warm(ours.repository);
		warm(plain);
		settle();
		const sides: Running[] = [];
		try {
			sides.push(await publish(ours), await serve(plain));
			for (const { target } of sides) await load(target, { ...read(MIB, 8, "seq", SPAN), count: SPAN / MIB }, 0);
			await measurePair(sides, pair, settings, rates, tails, memory);
		} finally {
			for (const side of sides) await side.stop();
		}
		for (const side of inOrder([OURS, QEMU], pair))
			for (const [n, { opsPerSec, p99us }] of (await measureCold(side, ours, qemu)).entries()) {
				cold[2 * n].add(side, opsPerSec);
				cold[2 * n + 1].add(side, p99us);
			}
		settings.say(`pair ${pair + 1}/${settings.pairs}: cold reads`);
	}
	const result = outcome(rates, tails, memory, cold, settings);
	result.tables.push(...(await measureFaults(ours, source.base, settings)));
	result.conditions.push(...FAULT_CONDITIONS);
	return result;
}

/** The cold cases, one after the other on the same server. */
async function measureCold(side: string, ours: Springback, qemu: QemuNbd): Promise<LoadResult[]> {
	const directory = side === OURS ? ours.repository : qemu.directory;
	settle();
	dropFromCache(directory);
	const results: LoadResult[] = [];
	const server = side === OURS ? await publish(ours) : await qemu.serve();
	try {
		for (const { seed } of COLD_CASES) {
			if (results.length > 0) dropFromCache(directory);
			const asked = { ...COLD, seed };
			results.push("target" in server ? await load(server.target, asked, 0) : await nbdLoad(server.uri, asked));
		}
	} finally {
		await server.stop();
	}
	return results;
}

/** Both servers run all the time, and one load at a time goes to one of them: the other one waits for input. */
async function measurePair(
	sides: Running[],
	pair: number,
	settings: Settings,
	rates: Series[],
	tails: Series[],
	memory: Series,
): Promise<void> {
	for (const [index, one] of CASES.entries()) {
		if (one === CASES.find((candidate) => candidate.load.op === "write"))
			for (const side of sides) memory.add(side.name, (await side.memory()) / MIB);
		for (const side of inOrder(sides, pair)) {
			if (one.load.op === "write") settle();
			const { rate, p99 } = await measureCase(side.target, one, settings.quick);
			rates[index].add(side.name, rate);
			tails[index].add(side.name, p99);
		}
		settings.say(`pair ${pair + 1}/${settings.pairs}: ${one.name}`);
	}
	for (const side of inOrder(sides, pair)) {
		settle();
		const seconds = duration(settings.quick);
		const [heartbeat] = await Promise.all([HEARTBEAT, ...SATURATING].map((one) => load(side.target, one, seconds)));
		tails[CASES.length].add(side.name, heartbeat.p99us);
	}
}

/** Seconds of one load. */
const duration = (quick: boolean): number => (quick ? 1 : 3);

async function measureCase(target: Target, { load: asked, unit }: Case, quick: boolean) {
	const committed = asked.stable === "unstable";
	// A burst of fixed length, so that the COMMIT has as much to do on both sides.
	const burst = committed ? { ...asked, count: (quick ? 128 * MIB : 512 * MIB) / asked.size } : asked;
	const result = await load(target, burst, duration(quick));
	const seconds = result.seconds + (committed ? await commit(target) : 0);
	return { rate: unit === "MB/s" ? result.bytes / seconds / 1e6 : result.opsPerSec, p99: result.p99us };
}

async function publish(ours: Springback): Promise<Running> {
	const published = await ours.publish(VM, { portmap: false });
	const { url, nfsPort, mountPort } = published.ready;
	return {
		name: OURS,
		target: { folder: new URL(url).pathname, file: published.disk, nfsPort, mountPort },
		memory: () => published.memory(),
		stop: () => published.stop(),
	};
}

async function serve(plain: string): Promise<Running> {
	const server = await ganesha(plain, freshDirectory("ganesha"));
	const { folder, nfsPort, mountPort } = server;
	return {
		name: GANESHA,
		target: { folder, file: "disk.raw", nfsPort, mountPort },
		memory: async () => residentBytes(server.pid),
		stop: server.stop,
	};
}

function outcome(rates: Series[], tails: Series[], memory: Series, cold: Series[], { quick }: Settings): Outcome {
	const sides = [OURS, GANESHA];
	return {
		conditions: [
			"springback serves a restore point of the 1 GiB image (deduplicated, LZ4) through a new session's overlay, with its default settings (512 MiB of cache); nfs-ganesha serves a raw copy of the same image through its VFS back end with its default settings. Same disk, same file system.",
			`One client (bench/nfsload.c on libnfs' raw calls), one connection, over loopback, ${duration(quick)} s a load. Client and server share the machine's cores.`,
			`Warm: the repository and the raw file are in the page cache, and the first ${SPAN / MIB} MiB, which all loads but two keep to, were read once through each server. Reads over all of the disk go beyond our cache.`,
			"UNSTABLE writes: a burst of fixed length and the COMMIT after it, timed together.",
			`Cold: twice ${COLD.count} reads over all of the disk, the server's files dropped from the page cache before each (posix_fadvise; a disk that is virtual may still be cached by its host): from a server just started, and from the same one again, at other places, of which up to a quarter are in our own cache by then. qemu-nbd serves an empty qcow2 overlay on a zstd-compressed qcow2 of the same image, with its default settings, over a Unix socket to bench/nbdload.c, the same client on libnbd.`,
		],
		tables: [
			{ title: "Rates", sides, series: rates },
			{ title: "Latency, p99 of one request", sides, series: tails },
			{ title: "Cold", sides: [OURS, QEMU], series: cold },
			{ title: "Memory", sides, series: [memory] },
		],
		remarks: ["The goals are those of the NFS server's own milestone, for at least five pairs on a quiet machine."],
	};
}
