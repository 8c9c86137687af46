/**
 * Syncs, writes and reads that take long at seeded moments, so that background work (filling and freeing segments,
 * checkpoints, compaction) overlaps with everything else in ways that a fast disk never shows. Many writers and readers
 * at once, on blocks of a file: every read gives a block as it was between the read's begin and end, and a crash
 * anywhere leaves each block as it was acknowledged or newer.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { type FaultRule, faults } from "../../native/index.js";
import type { SessionTree } from "../../src/overlay/index.js";
import { Shadow } from "./crash-lab.js";
import { create, lab, open, pattern, random, readAll, temporary } from "./lab.js";

const LONG = Boolean(process.env.SPRINGBACK_LONG);
const SEEDS = LONG ? 60 : 4;
const FIRST = Number(process.env.SPRINGBACK_SEED ?? 1);
const WRITES = 1500;
const BLOCKS = 320;
const SIZE = 2560;
const WRITERS = 12;
const READERS = 3;
/** crashes of each seed */
const CRASHES = 20;
/** of a file that comes and goes: many segments die at once */
const BULK = 700_000;

const SPEC = { kind: "file" as const, mode: 0o600, uid: 0, gid: 0 };

type Chance = (limit: number) => number;

/** Slow calls, a few in a row each time. */
const slowness = (chance: Chance): FaultRule[] =>
	[
		{ op: "fdatasync", path: "/log", calls: WRITES / 2, longest: 60 },
		{ op: "pwrite", path: "/log", calls: WRITES },
		{ op: "pread", path: "/index", calls: WRITES },
		{ op: "fdatasync", path: "/index", calls: 100 },
		{ op: "fallocate", path: "/log", calls: 200 },
	].flatMap(({ op, path, calls, longest = 15 }) =>
		Array.from({ length: 12 }, () => ({
			...{ op, path, skip: chance(calls), count: 1 + chance(4), delayMs: 1 + chance(longest) },
		})),
	);

/** Versions of every block: 0 is zeros. Learns of them from the marks of the trace. */
class Known {
	readonly begun = new Int32Array(BLOCKS);
	readonly acknowledged = new Int32Array(BLOCKS);
	readonly durable = new Int32Array(BLOCKS);

	see(label: string): void {
		const [what, block, version] = label.split(" ");
		if (what === "begin") this.begun[Number(block)] = Number(version);
		else this.acknowledged[Number(block)] = Number(version);
		if (what === "stable") this.durable[Number(block)] = Number(version);
	}
}

const contentOf = (block: number, version: number): Buffer =>
	version === 0 ? Buffer.alloc(SIZE) : pattern(block * SIZE + version * 7919, SIZE, version);

/** An empty string when `data` is a version of `block` from `least` to `most`. */
const wrong = (data: Buffer, block: number, least: number, most: number): string => {
	for (let version = least; version <= most; version++) if (data.equals(contentOf(block, version))) return "";
	for (let version = 0; version < least; version++)
		if (data.equals(contentOf(block, version))) return `block ${block} is version ${version}, not ${least}…${most}`;
	return `block ${block} is no version of it`;
};

const load = async (tree: SessionTree, id: number, known: Known, chance: Chance): Promise<void> => {
	const busy = new Set<number>();
	let [left, writing] = [WRITES, WRITERS];
	const see = (label: string): void => {
		known.see(label);
		faults.mark(label);
	};
	const writer = async (): Promise<void> => {
		while (left-- > 0) {
			// Half of them on few blocks, so that segments die at different times.
			const block = chance(2) === 0 ? chance(BLOCKS / 8) : chance(BLOCKS);
			if (busy.has(block)) continue;
			busy.add(block);
			const version = known.begun[block] + 1;
			const stable = chance(4) === 0;
			see(`begin ${block} ${version}`);
			await tree.write(id, block * SIZE, contentOf(block, version), stable);
			see(`${stable ? "stable" : "ack"} ${block} ${version}`);
			busy.delete(block);
			if (chance(100) === 0) {
				const snapshot = await tree.snapshot(id);
				await new Promise((resolve) => setTimeout(resolve, chance(10)));
				await snapshot.release();
			}
		}
		writing--;
	};
	const bulk = async (): Promise<void> => {
		for (let i = 0; writing > 0; i++) {
			const file = await tree.create(1, `bulk-${i}`, SPEC);
			await tree.write(file.id, 0, pattern(i, BULK, 1), false);
			await (await tree.snapshot(id)).release();
			await tree.remove(1, `bulk-${i}`);
			for (let more = chance(4); more > 0; more--) await (await tree.snapshot(id)).release();
		}
	};
	const reader = async (): Promise<void> => {
		while (writing > 0) {
			const block = chance(BLOCKS);
			const least = known.acknowledged[block];
			const what = wrong(await readAll(tree, id, block * SIZE, SIZE), block, least, known.begun[block]);
			if (what) throw new Error(`read: ${what}`);
			await new Promise((resolve) => setImmediate(resolve));
		}
	};
	const writers = Array.from({ length: WRITERS }, writer);
	await Promise.all([...writers, bulk(), ...Array.from({ length: READERS }, reader)]);
};

for (let seed = FIRST; seed < FIRST + SEEDS; seed++)
	t.test(`a disk that is slow at times, seed ${seed}`, async (t) => {
		t.teardown(() => faults.clear());
		const parent = temporary(t, true);
		const [home, copy] = ["s", "copy"].map((name) => join(parent, name));
		mkdirSync(home);
		const l = lab(home, { reserveBytes: 64 * 1024, cacheBytes: 16 * 1024 });
		const chance = random(seed);
		const tree = await create(l);
		const { id } = await tree.create(1, "blocks", SPEC);
		await tree.change(id, { size: BLOCKS * SIZE });
		const shadow = new Shadow(home);
		faults.startTrace();
		faults.set(slowness(chance));
		await load(tree, id, new Known(), chance);
		faults.clear();
		await tree.close();
		const trace = faults.stopTrace();

		const known = new Known();
		const look = async (what: string, least: Int32Array): Promise<void> => {
			const found = await open(l, copy);
			for (let block = 0; block < BLOCKS; block++) {
				const data = await readAll(found, id, block * SIZE, SIZE);
				const problem = wrong(data, block, least[block], known.begun[block]);
				if (problem) throw new Error(`${what}: ${problem}`);
			}
			await found.close();
		};
		const every = Math.ceil(trace.length / CRASHES);
		for (const [index, entry] of trace.entries()) {
			if (entry.op === "mark") known.see(entry.path);
			else shadow.apply(entry);
			if (index % every !== 0 && index !== trace.length - 1) continue;
			shadow.kill(copy);
			await look(`kill at entry ${index}`, known.acknowledged);
			shadow.powerLoss(copy, chance);
			await look(`power loss at entry ${index}`, known.durable);
		}
		t.pass(`${CRASHES} crashes in ${trace.length} entries`);
	});
