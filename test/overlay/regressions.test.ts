/** What once stopped a session, and must not again. */
import { cpSync, rmSync } from "node:fs";
import t from "tap";
import { type FaultRule, faults } from "../../native/index.js";
import type { Session } from "../../src/overlay/session.js";
import { create, diskOf, lab, open, pattern, random, readAll, temporary } from "./lab.js";

const FILE = { kind: "file" as const, mode: 0o640, uid: 5, gid: 6 };
const LINK = { kind: "symlink" as const, mode: 0o777, uid: 0, gid: 0, target: Buffer.alloc(4000, "A") };

t.test("names of hard-linked symlinks with long targets, many at once", async (t) => {
	const l = lab(temporary(t));
	let tree = await create(l);
	for (const round of [0, 1]) {
		for (let i = 0; i < 10; i++) {
			const link = await tree.create(1, `s${i}`, LINK);
			await tree.link(link.id, 1, `t${i}`);
			await tree.create(1, `v${i}`, LINK).then((victim) => tree.link(victim.id, 1, `w${i}`));
		}
		await Promise.all([
			...Array.from({ length: 10 }, (_, i) => tree.remove(1, `t${i}`)),
			...Array.from({ length: 10 }, (_, i) => tree.rename(1, `s${i}`, 1, `v${i}`)),
			...Array.from({ length: 10 }, (_, i) => tree.change(tree.lookup(1, `w${i}`)!, { mode: 0o700 })),
		]);
		t.equal(tree.usage().failed, false, "the session goes on");
		t.equal(tree.lookup(1, "s3"), undefined);
		for (let i = 0; i < 10; i++) await Promise.all([tree.remove(1, `v${i}`), tree.remove(1, `w${i}`)]);
		await tree.close();
		tree = await open(l);
		t.equal(tree.lookup(1, "v3"), undefined, `also after opening again (${round})`);
	}
	await tree.close();
});

t.test("a file that loses its content and then its name while a checkpoint runs", async (t) => {
	t.teardown(() => faults.clear());
	const l = lab(temporary(t));
	const tree = await create(l);
	const data = pattern(0, 300_000, 1);
	const { id } = await tree.create(1, "f", FILE);
	const other = await tree.create(1, "other", FILE);
	await tree.write(id, 0, data, true);
	await (await tree.snapshot(other.id)).release();
	await tree.change(id, { size: 1000 });
	// The checkpoint has taken its changes and waits for the index while the file goes.
	faults.set([{ op: "fdatasync", path: "/index", delayMs: 200 }]);
	const checkpoint = tree.snapshot(other.id);
	await new Promise((resolve) => setTimeout(resolve, 50));
	const removed = tree.remove(1, "f");
	await (await checkpoint).release();
	await removed;
	t.equal(tree.usage().failed, false, "the session goes on");
	await tree.write(other.id, 0, data, true);
	await tree.close();
	const again = await open(l);
	t.equal(again.lookup(1, "f"), undefined);
	t.ok((await readAll(again, other.id, 0, data.length)).equals(data));
	t.equal(again.usage().liveBytes, data.length + 18, "and its space is accounted for: the other file and the .vmx");
	await again.close();
});

t.test("when the log stops, every call is answered", async (t) => {
	t.teardown(() => faults.clear());
	const tree = await create(lab(temporary(t)));
	const { id } = await tree.create(1, "f", FILE);
	faults.set([{ op: "fdatasync", path: "/log", error: "EIO", count: -1 }]);
	const calls = [
		...Array.from({ length: 20 }, (_, i) => tree.write(id, i * 512, pattern(i, 512, 1), true)),
		tree.create(1, "g", FILE),
		tree.commit(id),
	];
	const outcomes = await Promise.allSettled(calls);
	t.ok(outcomes.every(({ status }) => status === "rejected"));
	t.equal(tree.usage().failed, true);
	faults.clear();
	await tree.close().catch(() => undefined);
});

// Recovery looks for the next batch in this segment and in the next of the plan: one without any batch hid the rest.
t.test("the log never leaves a segment in which it wrote nothing", async (t) => {
	const l = lab(temporary(t));
	const tree = await create(l);
	const { log, segments } = (tree as Session).engine;
	const { blocks } = segments;
	// As when the writer is faster than the background: the second next was filled before, the next was not.
	const filled = async (segment: number): Promise<void> => {
		while (!blocks.isFilled(segment)) await new Promise((resolve) => setTimeout(resolve, 1));
	};
	const [, first, second, third] = segments.plan.slice(segments.plan.indexOf(segments.active));
	for (const segment of [first, third]) {
		blocks.fill(segment);
		await filled(segment);
	}
	blocks.fill = () => undefined;
	t.notOk(blocks.isFilled(second));
	const disk = diskOf(tree);
	const written: number[] = [];
	for (let i = 0; segments.active !== third && i < 100; i++) {
		await tree.write(disk, 4096 * (i % 40), pattern(0, 4096, i), false);
		written[i % 40] = i;
	}
	t.equal(segments.active, third);
	t.equal(log.failure, undefined);
	const copy = `${l.directory}-copy`;
	cpSync(l.directory, copy, { recursive: true });
	t.teardown(() => rmSync(copy, { recursive: true, force: true }));
	await tree.close();
	const again = await open(l, copy);
	for (const [block, salt] of written.entries()) {
		t.ok((await readAll(again, disk, 4096 * block, 4096)).equals(pattern(0, 4096, salt)), `block ${block}`);
	}
	await again.close();
});

t.test("a lost write is told once to each descriptor: no commit after it succeeds, whoever syncs first", async (t) => {
	t.teardown(() => faults.clear());
	const WRITES = 40;
	for (let seed = 1; seed <= 25; seed++) {
		const chance = random(seed);
		const l = lab(temporary(t, true), { segmentBytes: 64 * 1024 });
		const tree = await create(l);
		const disk = diskOf(tree);
		const lost = chance(WRITES);
		const rules: FaultRule[] = Array.from({ length: 8 }, () => ({
			...{ op: "fdatasync", path: "/log", skip: chance(20), delayMs: 1 + chance(6) },
		}));
		faults.set(rules);
		let begun = false;
		let after = false;
		const commits: Promise<unknown>[] = [];
		for (let i = 0; i < WRITES; i++) {
			if (i === lost) begun = true;
			if (i === lost) faults.set([{ op: "pwrite", path: "/log", error: "EIO", late: true }, ...rules]);
			const written = await tree.write(disk, 4096 * chance(40), pattern(i, 4096, seed), false).then(
				() => true,
				() => false,
			);
			after = begun;
			if (!written) break;
			const late = after;
			const commit = tree.commit(disk).then(
				() => late && t.fail(`seed ${seed}: committed after the loss`),
				() => begun || t.fail(`seed ${seed}: refused before it`),
			);
			commits.push(commit);
			if (chance(3) === 0)
				commits.push(
					tree.snapshot(disk).then(
						(snapshot) => snapshot.release(),
						() => undefined,
					),
				);
			if (chance(2) === 0) await commit;
		}
		await Promise.all(commits);
		t.equal(tree.usage().failed, true, `seed ${seed}: the session stops`);
		await tree.close();
		faults.clear();
	}
});
