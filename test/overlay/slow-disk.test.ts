/**
 * Syncs and writes that take long at seeded moments, so that background work (filling and freeing segments, checkpoints,
 * compaction) overlaps with everything else in ways that a fast disk never shows. The session reads right all the time,
 * and a crash anywhere leaves a state that it may leave.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { type FaultRule, faults } from "../../native/index.js";
import { fingerprint, modelFingerprint, Shadow } from "./crash-lab.js";
import { create, lab, random, temporary } from "./lab.js";
import { modelOf } from "./seeded-model.js";
import { Acknowledged, check, Worker } from "./worker.js";

const LONG = Boolean(process.env.SPRINGBACK_LONG);
const SEEDS = LONG ? 60 : 5;
const FIRST = Number(process.env.SPRINGBACK_SEED ?? 1);
const STEPS = 120;
/** crashes of each seed */
const CRASHES = 40;

/** Slow calls, one to a few in a row each time. */
const slowness = (chance: (limit: number) => number): FaultRule[] =>
	[
		{ op: "fdatasync", path: "/log", calls: 300 },
		{ op: "pwrite", path: "/log", calls: 300 },
		{ op: "fdatasync", path: "/index", calls: 60 },
		{ op: "pwrite", path: "/index", calls: 100 },
		{ op: "pread", path: "/index", calls: 40 },
	].flatMap(({ op, path, calls }) =>
		Array.from({ length: 8 }, () => ({
			...{ op, path, skip: chance(calls), count: 1 + chance(3), delayMs: 2 + chance(30) },
		})),
	);

for (let seed = FIRST; seed < FIRST + SEEDS; seed++)
	t.test(`a disk that is slow at times, seed ${seed}`, async (t) => {
		t.teardown(() => faults.clear());
		const parent = temporary(t, true);
		const [home, copy] = ["s", "copy"].map((name) => join(parent, name));
		mkdirSync(home);
		const l = lab(home, { reserveBytes: 64 * 1024, cacheBytes: 16 * 1024 });
		const chance = random(seed);
		const tree = await create(l);
		const worker = new Worker(tree, modelOf(tree), random(seed + 1000), 4);
		await new Promise((resolve) => setTimeout(resolve, chance(20)));
		faults.clear();
		const shadow = new Shadow(home);
		faults.startTrace();
		faults.set(slowness(chance));
		for (let part = 0; part < 6; part++) {
			await worker.run(STEPS / 6);
			if ((await fingerprint(tree)) !== modelFingerprint(worker.model))
				throw new Error(`part ${part} reads wrong while the session is open`);
		}
		faults.clear();
		await tree.close();
		const trace = faults.stopTrace();
		const every = Math.ceil(trace.length / CRASHES);
		const acknowledged = new Acknowledged();
		let crashes = 0;
		for (const [index, entry] of trace.entries()) {
			if (entry.op === "mark") acknowledged.see(entry.path);
			else shadow.apply(entry);
			if (index % every !== 0) continue;
			crashes++;
			shadow.kill(copy);
			const killed = await check(l, copy, worker.states, acknowledged.any, acknowledged.begun);
			shadow.powerLoss(copy, chance);
			const lost = await check(l, copy, worker.states, acknowledged.durable, acknowledged.begun);
			if (killed || lost) throw new Error(`at entry ${index}: ${killed || `power loss: ${lost}`}`);
		}
		t.pass(`${crashes} crashes in ${trace.length} entries, ${worker.begun} operations`);
	});
