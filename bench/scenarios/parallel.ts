/**
 * Restoring in parallel, part of the `repository` scenario: how throughput grows with the requests in flight, and whether
 * blocks are decoded while others are fetched.
 */
import { dropFromCache, warm } from "../data/page-cache.js";
import { Series } from "../measure/pairs.js";
import type { Plot } from "../measure/plot.js";
import type { Table } from "../measure/report.js";
import { median } from "../measure/statistics.js";
import { type Load, load, type Target } from "../peers/nfs-clients.js";
import type { Published, Springback } from "../peers/springback.js";
import type { Settings } from "./scenario.js";

const KIB = 1024;
const MIB = 2 ** 20;
const DEPTHS = [1, 2, 4, 8, 16];
/** Read in each run, at random places of the whole disk. */
const SPAN = 512 * MIB;
const REQUEST = 64 * KIB;
/** Holds all that is read, so that the second time comes from memory. */
const CACHE_BYTES = 2 * 2 ** 30;
/** added to every read of a file of the repository: a disk or a network behind which fetching costs more than decoding */
const FETCH_MS = 2;
const SLOW = { SPRINGBACK_FAULTS: JSON.stringify([{ op: "pread", path: "/packs/", delayMs: FETCH_MS, count: -1 }]) };

const KINDS = {
	cold: "cold: nothing in memory",
	cached: "packs in the page cache, every block decoded",
	warm: "warm: decoded blocks in memory",
	slow: `packs in the page cache, every fetch ${FETCH_MS} ms slower`,
} as const;
type Kind = keyof typeof KINDS;

const target = ({ ready, disk }: Published): Target => ({
	...{ folder: new URL(ready.url).pathname, file: disk },
	...{ nfsPort: ready.nfsPort, mountPort: ready.mountPort },
});

export interface Parallel {
	table: Table;
	plot: Plot;
	remark: string;
}

export async function measureParallel(ours: Springback, vm: string, settings: Settings): Promise<Parallel> {
	const kinds = Object.keys(KINDS) as Kind[];
	const series = new Map(kinds.map((kind) => [kind, new Series(KINDS[kind], "MB/s", "higher")]));
	const share = settings.quick ? 1 / 8 : 1;
	for (let pair = 0; pair < settings.pairs; pair++) {
		for (const depth of DEPTHS) {
			const add = (kind: Kind, { bytes, seconds }: { bytes: number; seconds: number }) =>
				series.get(kind)!.add(side(depth), bytes / seconds / 1e6);
			const count = Math.round((share * SPAN) / REQUEST);
			const read: Load = { op: "read", size: REQUEST, depth, pattern: "random", count };
			dropFromCache(ours.repository);
			await served(ours, vm, {}, async (published) => {
				add("cold", await load(target(published), read, 0));
				add("warm", await load(target(published), read, 0));
			});
			warm(ours.repository);
			await served(ours, vm, {}, async (published) => add("cached", await load(target(published), read, 0)));
			// Slower by itself: fewer requests do.
			const few = { ...read, count: Math.round(count / 8) };
			await served(ours, vm, SLOW, async (published) => add("slow", await load(target(published), few, 0)));
			settings.say(`pair ${pair + 1}/${settings.pairs}: read with ${depth} in flight`);
		}
	}
	const at = (kind: Kind, depth: number) => median(series.get(kind)!.of(side(depth)));
	return {
		table: {
			title: "Restore in parallel: random 64 KiB reads of the published disk",
			sides: DEPTHS.map(side),
			rivals: false,
			series: [...series.values()],
		},
		plot: {
			name: "repository-parallel",
			title: "Reading a published disk, by requests in flight",
			x: "64 KiB requests in flight",
			y: "MB/s",
			lines: kinds.map((kind) => ({
				name: KINDS[kind],
				points: DEPTHS.map((depth) => ({ x: depth, y: at(kind, depth) })),
			})),
		},
		remark: overlap(at),
	};
}

const side = (depth: number): string => `${depth} in flight`;

async function served(
	ours: Springback,
	vm: string,
	env: Record<string, string>,
	work: (published: Published) => Promise<void>,
): Promise<void> {
	const published = await ours.publish(vm, { portmap: false, cacheBytes: CACHE_BYTES, env });
	try {
		await work(published);
	} finally {
		await published.stop();
	}
}

/** One request alone is fetched, then decoded. What several take less, each, is done while others are fetched. */
function overlap(at: (kind: Kind, depth: number) => number): string {
	const milliseconds = (kind: Kind, depth: number) => REQUEST / 1e3 / at(kind, depth);
	const most = DEPTHS.at(-1)!;
	const alone = milliseconds("slow", 1);
	const decoding = milliseconds("cached", most);
	const together = milliseconds("slow", most);
	return (
		`Overlap of fetch and decode: with every fetch ${FETCH_MS} ms slower a request takes ${alone.toFixed(2)} ms alone, and one is done every ${together.toFixed(2)} ms with ${most} in flight (${(alone / together).toFixed(1)} × as many); ` +
		`without the delay, when only the processors count, one is done every ${decoding.toFixed(2)} ms.`
	);
}
