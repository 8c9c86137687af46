/**
 * Loads of the `nfs` scenario that have no peer: our side while its disk is slow at flushing, and while the disk of
 * another repository hangs. The faults are injected into the mount process, at its system calls.
 */
import { join } from "node:path";
import { faultEnvironment, setFaults } from "../../scripts/lab/faults.js";
import { freshDirectory } from "../data/places.js";
import { Series } from "../measure/pairs.js";
import type { Table } from "../measure/report.js";
import { type Load, load, type Target } from "../peers/nfs-clients.js";
import { type Published, Springback } from "../peers/springback.js";
import type { Settings } from "./scenario.js";

const KIB = 1024;
const MIB = 2 ** 20;
const SPAN = 256 * MIB;
/** added to every flush */
const FLUSH_MS = 5;
const WRITES: Load = {
	...{ op: "write", size: 4 * KIB, depth: 32, pattern: "random", stable: "file", span: SPAN },
};
const CACHED: Load = { op: "read", size: 4 * KIB, depth: 32, pattern: "random", span: SPAN };
const UNCACHED: Load = { op: "read", size: 4 * KIB, depth: 32, pattern: "random" };
/** What waits for the disk that hangs; its client gives up after 10 s and is started again. */
const HANGING: Load = { op: "read", size: 4 * KIB, depth: 256, pattern: "random" };
/** Less than the disk, so that reads all over it do miss. */
const CACHE_BYTES = 384 * MIB;

const HANGS = "other disk hangs";
const IDLE = "other disk idle";
const VM = "bench";

export const FAULT_CONDITIONS = [
	`Slow flushes: the mount process sleeps ${FLUSH_MS} ms before every fdatasync and fsync. Flushes are counted by the mount process; a flush is as long as its own histogram says on average, the ${FLUSH_MS} ms included.`,
	`Hanging disk: one mount process serves two repositories; every call for a file of the second one blocks for as long as the load runs, with ${HANGING.depth} reads of it in flight. Cache ${CACHE_BYTES / MIB} MiB for both.`,
];

export async function measureFaults(ours: Springback, image: string, settings: Settings): Promise<Table[]> {
	const flushes = await slowFlushes(ours, settings);
	const hang = await hangingDisk(ours, image, settings);
	return [flushes, hang];
}

const target = ({ ready, disk }: Published): Target => ({
	...{ folder: new URL(ready.url).pathname, file: disk },
	...{ nfsPort: ready.nfsPort, mountPort: ready.mountPort },
});

async function slowFlushes(ours: Springback, { pairs, quick, say }: Settings): Promise<Table> {
	const name = `4 KiB random write FILE_SYNC, depth 32, ${FLUSH_MS} ms added to every flush`;
	const perFlush = new Series(`${name}: writes per flush (goal: at least 16)`, "1", "higher");
	const tail = new Series(`${name}: latency p99, in flushes (goal: under 3)`, "1", "lower");
	const rate = new Series(name, "1/s", "higher");
	const slow = ["fdatasync", "fsync"].map((op) => ({ op, delayMs: FLUSH_MS, count: -1 }));
	const env = { SPRINGBACK_FAULTS: JSON.stringify(slow) };
	for (let pair = 0; pair < pairs; pair++) {
		const published = await ours.publish(VM, { portmap: false, metrics: true, env });
		try {
			const counters = async () => ({
				count: await published.metric("springback_overlay_sync_seconds_count"),
				seconds: await published.metric("springback_overlay_sync_seconds_sum"),
			});
			await load(target(published), WRITES, 1);
			const before = await counters();
			const { opsPerSec, seconds, p99us } = await load(target(published), WRITES, quick ? 1 : 3);
			const after = await counters();
			const count = after.count - before.count;
			const flush = (after.seconds - before.seconds) / count;
			rate.add("springback", opsPerSec);
			perFlush.add("springback", (opsPerSec * seconds) / count);
			tail.add("springback", p99us / 1e6 / flush);
		} finally {
			await published.stop();
		}
		say(`pair ${pair + 1}/${pairs}: slow flushes`);
	}
	return { title: "Slow flushes", sides: ["springback"], series: [rate, perFlush, tail] };
}

async function hangingDisk(ours: Springback, image: string, settings: Settings): Promise<Table> {
	const { pairs, quick, long, say } = settings;
	const seconds = long ? 60 : quick ? 2 : 5;
	const other = new Springback(freshDirectory("other"), ours.state);
	await other.init();
	await other.backup(VM, image);
	const cases = [
		{ name: "4 KiB random read, depth 32, cached", asked: CACHED },
		{ name: "4 KiB random read, depth 32, over all of the disk", asked: UNCACHED },
	].map((one) => ({
		...one,
		rate: new Series(one.name, "1/s", "higher"),
		middle: new Series(`${one.name}, median`, "µs", "lower"),
		tail: new Series(`${one.name}, p99`, "µs", "lower"),
	}));
	const socket = join(freshDirectory("faults"), "s");
	const healthy = await ours.publish(VM, { portmap: false, cacheBytes: CACHE_BYTES, env: faultEnvironment(socket) });
	const hung = await other.publish(VM, { portmap: false });
	try {
		await load(target(healthy), { ...CACHED, size: MIB, pattern: "seq", depth: 8, count: SPAN / MIB }, 0);
		const rules = [{ op: "*", path: other.repository, delayMs: 3_600_000, count: -1 }];
		for (let pair = 0; pair < pairs; pair++) {
			for (const { name, asked, rate, middle, tail } of cases) {
				for (const side of pair % 2 === 0 ? [HANGS, IDLE] : [IDLE, HANGS]) {
					const result = await besideHang(side === HANGS, socket, rules, target(hung), () =>
						load(target(healthy), asked, seconds),
					);
					rate.add(side, result.opsPerSec);
					middle.add(side, result.p50us);
					tail.add(side, result.p99us);
				}
				say(`pair ${pair + 1}/${pairs}: hanging disk, ${name}`);
			}
		}
	} finally {
		await setFaults(socket, []);
		await hung.leave();
		await healthy.stop();
	}
	const series = cases.flatMap(({ rate, middle, tail }) => [rate, middle, tail]);
	return { title: `Another repository's disk hangs for ${seconds} s`, sides: [HANGS, IDLE], series };
}

/** Runs `work`, with the disk hanging and readers waiting for it all the time when `hangs`. */
async function besideHang<T>(
	hangs: boolean,
	socket: string,
	rules: Parameters<typeof setFaults>[1],
	hung: Target,
	work: () => Promise<T>,
): Promise<T> {
	if (!hangs) return work();
	let over = false;
	await setFaults(socket, rules);
	const waiting = (async () => {
		while (!over) await load(hung, HANGING, 1).catch(() => undefined);
	})();
	try {
		return await work();
	} finally {
		over = true;
		await setFaults(socket, []);
		await waiting;
	}
}
