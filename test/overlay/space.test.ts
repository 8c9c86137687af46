/** What a session costs: log between checkpoints, disk space for live data, memory; and what is given back. */
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import t from "tap";
import { faults } from "../../native/index.js";
import type { SessionTree } from "../../src/overlay/index.js";
import type { Session } from "../../src/overlay/session.js";
import { create, diskOf, type Lab, lab, open, PatternBase, pattern, random, readAll, temporary } from "./lab.js";

const MIB = 1 << 20;
const FILE = { kind: "file" as const, mode: 0o600, uid: 0, gid: 0 };

/** Waits until nothing goes on in the background, however long a busy disk takes. */
const settled = async (tree: SessionTree): Promise<void> => {
	const { compaction, checkpointer } = (tree as Session).engine;
	let last = -1;
	for (let quiet = 0; quiet < 5; ) {
		await new Promise((resolve) => setTimeout(resolve, 20));
		const now = tree.usage().diskBytes;
		quiet = now === last && !compaction.running && !checkpointer.running ? quiet + 1 : 0;
		last = now;
	}
};

const spacious = (t: Parameters<typeof temporary>[0], segmentBytes = 256 * 1024): Lab =>
	lab(temporary(t, true), {
		segmentBytes,
		reserveBytes: 0,
		bases: [{ base: new PatternBase(64 * MIB), size: 64 * MIB }],
	});

t.test("overwriting does not fill the disk", async (t) => {
	const l = spacious(t);
	const tree = await create(l);
	const disk = diskOf(tree);
	const chance = random(4);
	const last = new Map<number, number>();
	const AREA = 2048; // blocks of 4 KiB: 8 MiB
	for (let i = 0; i < 30_000; ) {
		const writes: Promise<unknown>[] = [];
		for (let n = 1 + chance(30); n > 0; n--, i++) {
			// Half of the writes go to a tenth of the blocks.
			const block = chance(2) === 0 ? chance(AREA / 10) : chance(AREA);
			const data = pattern(block, 4096, i);
			last.set(block, i);
			writes.push(tree.write(disk, block * 4096, data, chance(10) === 0));
		}
		await Promise.all(writes);
	}
	await settled(tree);
	const { diskBytes, liveBytes } = tree.usage();
	// spares, slack of compaction, current and next segment; one interval of log
	const overhead = 1.6 * MIB + (4 + 2) * 256 * 1024 + 64 * 256 * 1024;
	t.ok(
		diskBytes < 2 * 8 * MIB + overhead,
		`${(diskBytes / MIB).toFixed(1)} MiB for ${(liveBytes / MIB).toFixed(1)} live`,
	);
	t.ok(readdirSync(l.directory).length === 5, "and in the same five files");
	const check = async (tree: SessionTree): Promise<unknown> => {
		for (const [block, i] of last) {
			const got = await readAll(tree, disk, block * 4096, 4096);
			if (!got.equals(pattern(block, 4096, i))) return t.fail(`block ${block}`);
		}
		return undefined;
	};
	await check(tree);
	await tree.close();
	const again = await open(l);
	await check(again);
	t.equal(
		again.usage().liveBytes,
		last.size * 4096 + 18,
		"live bytes are exact after a checkpoint: blocks and the .vmx",
	);
	await again.close();
});

t.test("clients that write faster than compaction makes room wait for it", async (t) => {
	const l = spacious(t, 64 * 1024);
	const tree = await create(l);
	const disk = diskOf(tree);
	// Only compaction reads the log here.
	faults.set([{ op: "pread", path: "/log", delayMs: 5 }]);
	t.teardown(() => faults.clear());
	const chance = random(5);
	const AREA = 4096; // blocks of 4 KiB: 16 MiB
	let highest = 0;
	let writing = 8;
	const client = async (): Promise<void> => {
		for (let i = 0; i < 4000; i++) {
			const block = chance(AREA);
			await tree.write(disk, block * 4096, pattern(block, 4096, i), false);
		}
		writing--;
	};
	const watch = async (): Promise<void> => {
		while (writing > 0) {
			highest = Math.max(highest, tree.usage().diskBytes);
			await new Promise((resolve) => setTimeout(resolve, 5));
		}
	};
	await Promise.all([watch(), ...Array.from({ length: 8 }, client)]);
	// 125 MiB were written. A third of segments as small as these is no content: 1.75 times 24 MiB, then one interval of
	// log, and another of segments that are empty and not yet free. Without waiting it is 70 MiB.
	const bound = 1.75 * 24 * MIB + 3 * 64 * 64 * 1024;
	t.ok(highest < bound, `${(highest / MIB).toFixed(1)} MiB at most for 16 MiB, limit ${(bound / MIB).toFixed(1)}`);
	faults.clear();
	await settled(tree);
	t.ok(tree.usage().diskBytes < highest, "and less when they are done");
	await tree.close();
});

t.test("compaction waits for the end of a burst of writes, unless it is behind", async (t) => {
	const l = spacious(t);
	const tree = await create(l);
	const { compaction, checkpointer, log, segments } = (tree as Session).engine;
	const disk = diskOf(tree);
	const dead = (): number => (segments.used - segments.plan.length) * segments.bytes - segments.liveTotal;
	await Promise.all(Array.from({ length: 128 }, (_, n) => tree.write(disk, n * 65_536, pattern(n, 65_536, 1), false)));
	await checkpointer.full();
	const clock = { now: performance.now() + 1000 };
	Object.assign(compaction.clients, { now: () => clock.now });
	compaction.spend(8 * MIB);
	clock.now += 60;
	t.ok(compaction.clients.current > 128 * 1024, "a burst, until the clock goes on");
	// Every other block of 3.5 MiB: with the operations themselves 3 MiB are dead, between 0.3 and 0.45 times what lives.
	const blocks = Array.from({ length: 448 }, (_, n) => 2 * n);
	await Promise.all(blocks.map((block) => tree.write(disk, block * 4096, pattern(block, 4096, 2), false)));
	await checkpointer.full();
	const before = log.sequence;
	await new Promise((resolve) => setTimeout(resolve, 200));
	t.ok(compaction.running, "there is something to do");
	t.equal(log.sequence, before, "and nothing is moved");
	const held = dead();
	clock.now += 1000;
	await settled(tree);
	t.ok(log.sequence > before, "then it is");
	t.ok(dead() < held, `${held} bytes are dead before, ${dead()} after`);
	await tree.close();
});

t.test("compaction gets at everything, also when the index is much larger than its memory", async (t) => {
	const l = lab(temporary(t, true), {
		...{ segmentBytes: 256 * 1024, reserveBytes: 0, cacheBytes: 16 * 4096 },
		bases: [{ base: new PatternBase(64 * MIB), size: 64 * MIB }],
	});
	const tree = await create(l);
	const disk = diskOf(tree);
	const chance = random(6);
	const BLOCKS = 8192; // of 4 KiB: some 75 leaves
	const versions = new Map<number, number>();
	for (let i = 0; i < 40_000; i += 32) {
		const writes = Array.from({ length: 32 }, (_, n) => {
			const block = chance(BLOCKS);
			versions.set(block, i + n);
			return tree.write(disk, block * 4096, pattern(block, 4096, i + n), false);
		});
		await Promise.all(writes);
	}
	await settled(tree);
	const { segments } = (tree as Session).engine;
	const planned = new Set(segments.plan);
	const nearlyEmpty = [...segments.live].filter(([segment, live]) => !planned.has(segment) && live < 16 * 4096);
	t.same(nearlyEmpty, [], "no segment is kept for the little that was left behind in it");
	const { diskBytes, liveBytes } = tree.usage();
	t.ok(diskBytes < 1.6 * liveBytes + 64 * 256 * 1024 + 4 * MIB, `${(diskBytes / MIB).toFixed(1)} MiB on the disk`);
	for (const [block, version] of [...versions].filter(([block]) => block % 16 === 0))
		if (!(await readAll(tree, disk, block * 4096, 4096)).equals(pattern(block, 4096, version)))
			t.fail(`block ${block}`);
	await tree.close();
});

t.test("truncate and remove give space back", async (t) => {
	const l = spacious(t);
	const tree = await create(l);
	const { id } = await tree.create(1, "swap", FILE);
	const empty = tree.usage().diskBytes;
	for (let at = 0; at < 24 * MIB; at += MIB) await tree.write(id, at, pattern(at, MIB, 1), false);
	t.ok(tree.usage().diskBytes > empty + 20 * MIB);
	t.ok(tree.inode(id)!.used >= 24 * MIB - 10);
	await tree.change(id, { size: 12 * MIB });
	await (await tree.snapshot(id)).release();
	await (await tree.snapshot(id)).release();
	await settled(tree);
	t.ok(tree.usage().diskBytes < 18 * MIB + 64 * 256 * 1024, "half of it");
	await tree.remove(1, "swap");
	await (await tree.snapshot(diskOf(tree))).release();
	await (await tree.snapshot(diskOf(tree))).release();
	await settled(tree);
	t.ok(tree.usage().diskBytes < 6 * MIB, `${tree.usage().diskBytes} bytes are left`);
	t.equal(tree.usage().liveBytes < 1000, true);
	await tree.close();
});

t.test("zeros cost nothing", async (t) => {
	const l = spacious(t);
	const tree = await create(l);
	const disk = diskOf(tree);
	const before = tree.usage().liveBytes;
	await tree.write(disk, 1000, Buffer.alloc(MIB), true);
	t.equal(tree.usage().liveBytes, before);
	t.same(await readAll(tree, disk, 999, 3), Buffer.concat([pattern(999, 1, 7), Buffer.alloc(2)]));
	t.same(
		(await tree.extents(disk, 0, 2 * MIB)).map((e) => `${e.kind} ${e.offset} ${e.length}`),
		["data 0 1000", `zero 1000 ${MIB}`, `data ${MIB + 1000} ${MIB - 1000}`],
	);
	await tree.close();
});

t.test("no more log than one plan is replayed, and opening stays quick", async (t) => {
	const l = spacious(t);
	const tree = await create(l);
	const { id } = await tree.create(1, "data", FILE);
	for (let i = 0; i < 400; i++) await tree.write(id, i * 65_536, pattern(i, 65_536, 1), false);
	const { plan } = (tree as Session).engine.log.segments;
	t.ok(plan.length * 256 * 1024 <= 64 * MIB, "replay stays within the plan");
	await tree.close();
	const size = statSync(join(l.directory, "log")).size;
	t.ok(size > 24 * MIB);
	const started = performance.now();
	const again = await open(l);
	t.ok(performance.now() - started < 1000);
	t.same(await readAll(again, id, 399 * 65_536, 65_536), pattern(399, 65_536, 1));
	await again.close();
});

t.test("snapshots stay as they were while writes, compaction and truncation go on", async (t) => {
	const l = spacious(t);
	const tree = await create(l);
	const disk = diskOf(tree);
	await tree.write(disk, 1000, pattern(1000, 5000, 1), true);
	const first = await tree.snapshot(disk);
	await tree.write(disk, 4000, pattern(4000, 100, 2), true);
	await tree.write(disk, 2 * MIB, Buffer.alloc(4096), true);
	await tree.change(disk, { size: 60 * MIB });
	await tree.change(disk, { size: 64 * MIB });
	const second = await tree.snapshot(disk);
	const chance = random(6);
	for (let i = 0; i < 6000; i++) {
		await tree.write(disk, chance(500) * 4096, pattern(i, 4096, 3), i % 100 === 0);
		if (i % 2000 === 0) await (await tree.snapshot(disk)).release();
	}
	const content = async (image: typeof first.image, offset: number, length: number): Promise<Buffer> => {
		const target = Buffer.alloc(length, 0xee);
		await image.read(offset, target);
		return target;
	};
	t.equal(first.image.size, 64 * MIB);
	const expected = pattern(0, 10_000, 7);
	pattern(1000, 5000, 1).copy(expected, 1000);
	t.same(await content(first.image, 0, 10_000), expected, "the first");
	pattern(4000, 100, 2).copy(expected, 4000);
	t.same(await content(second.image, 0, 10_000), expected, "the second");
	t.same(await content(first.image, 63 * MIB, 100), pattern(63 * MIB, 100, 7), "before the truncation");
	t.same(await content(second.image, 63 * MIB, 100), Buffer.alloc(100), "after it");
	t.equal(second.epoch, first.epoch + 1);
	t.same(first.changedSince(0), [{ offset: 1000, length: 5000, kind: "data" }]);
	t.same(second.changedSince(first.epoch), [
		{ offset: 4000, length: 100, kind: "data" },
		{ offset: 2 * MIB, length: 4096, kind: "zero" },
		{ offset: 60 * MIB, length: 4 * MIB, kind: "zero" },
	]);
	t.same(second.changedSince(second.epoch), []);
	await first.release();
	await second.release();
	t.throws(() => first.image.read(0, Buffer.alloc(1)), { code: "ECLOSED" });
	await tree.close();

	const again = await open(l);
	const third = await again.snapshot(disk);
	const since = third.changedSince(second.epoch);
	t.ok(since.every((e) => e.offset + e.length <= 500 * 4096) && since.length > 0, "epochs survive a restart");
	await third.release();
	await again.close();
});

const collect = ((): (() => void) => {
	setFlagsFromString("--expose-gc");
	return runInNewContext("gc") as () => void;
})();

t.test("memory does not grow with what is written", async (t) => {
	const l = lab(temporary(t, true), { segmentBytes: 4 * MIB, reserveBytes: 0, cacheBytes: 2 * MIB });
	const tree = await create(l);
	const { id } = await tree.create(1, "scattered", { ...FILE, size: 2 ** 36 });
	const chance = random(8);
	const data = pattern(0, 512, 1);
	const write = async (count: number): Promise<number> => {
		for (let i = 0; i < count; i += 100) {
			await Promise.all(Array.from({ length: 100 }, () => tree.write(id, chance(2 ** 27) * 512, data, false)));
		}
		await (await tree.snapshot(id)).release();
		await (tree as Session).engine.compaction.running;
		let least = Number.POSITIVE_INFINITY;
		// Buffers that died are given back a little after the collection that found them.
		for (let n = 0; n < 5; n++) {
			collect();
			await new Promise((resolve) => setTimeout(resolve, 20));
			const { heapUsed, arrayBuffers } = process.memoryUsage();
			least = Math.min(least, heapUsed + arrayBuffers);
		}
		return least;
	};
	await write(40_000);
	const before = await write(20_000);
	// How much waits for a checkpoint at the moment of measuring varies; what grows for good grows in both.
	const after = Math.min(await write(80_000), await write(80_000));
	t.ok(
		after - before < 8 * MIB,
		`${(before / MIB).toFixed(0)} → ${(after / MIB).toFixed(0)} MiB after 160,000 more extents`,
	);
	await tree.close();
});
