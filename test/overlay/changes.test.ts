/** What was written since an epoch, asked range by range, live and of snapshots, beside the whole change set. */
import t from "tap";
import type { Extent } from "../../src/image/image.js";
import type { EpochSnapshot, SessionTree } from "../../src/overlay/index.js";
import { create, DISK, diskOf, lab, open, pattern, random, temporary } from "./lab.js";

const UNIT = 512;

/** One flag per unit that was written in part or whole. */
function flags(extents: readonly Extent[]): boolean[] {
	const out = new Array<boolean>(Math.ceil(DISK / UNIT)).fill(false);
	for (const { offset, length } of extents)
		for (let at = Math.floor(offset / UNIT); at * UNIT < offset + length; at++) out[at] = true;
	return out;
}

async function inPieces(
	changes: (offset: number, length: number) => Extent[] | Promise<Extent[]>,
	chance: (limit: number) => number,
): Promise<Extent[]> {
	const all: Extent[] = [];
	for (let at = 0; at < DISK; ) {
		const length = Math.min(DISK - at, 1 + chance(70_000));
		const found = await changes(at, length);
		for (const { offset, length: run } of found)
			if (offset < at || offset + run > at + length || run <= 0) throw new Error("outside of what was asked");
		all.push(...found);
		at += length;
	}
	return all;
}

t.test("random writes, zeros, truncations and freezes", async (t) => {
	const l = lab(temporary(t, true));
	let tree: SessionTree = await create(l);
	const id = diskOf(tree);
	const chance = random(5);
	const epochs = [0];
	t.same(await tree.changes(id, 0, 0, DISK), [], "nothing was written yet");
	for (let round = 0; round < 12; round++) {
		for (let n = 0; n < 6; n++) {
			// Whole units, so that flags say exactly what was written.
			const offset = UNIT * chance(380);
			const length = Math.min(UNIT * (1 + chance(20)), DISK - offset);
			const dice = chance(8);
			if (dice === 0) {
				await tree.change(id, { size: offset });
				await tree.change(id, { size: DISK });
			} else if (dice < 3) await tree.zero(id, offset, length, false);
			else await tree.write(id, offset, pattern(offset, length, round), false);
		}
		const live = await Promise.all(
			epochs.map((since) => inPieces((offset, length) => tree.changes(id, since, offset, length), chance)),
		);
		const snapshot: EpochSnapshot = await tree.snapshot(id);
		for (const [index, since] of epochs.entries()) {
			const whole = flags(snapshot.changedSince(since));
			t.same(flags(live[index]), whole, `round ${round}: live, since ${since}`);
			const frozen = await inPieces((offset, length) => snapshot.changes(since, offset, length), chance);
			t.same(flags(frozen), whole, `round ${round}: frozen, since ${since}`);
		}
		t.same(await tree.changes(id, snapshot.epoch, 0, DISK), [], "nothing since the freeze");
		await tree.write(id, 0, pattern(0, 1024, 99), false);
		t.same(flags(await snapshot.changes(snapshot.epoch, 0, DISK)), flags([]), "what comes later is not in it");
		epochs.push(snapshot.epoch);
		await snapshot.release();
		t.throws(() => snapshot.changes(0, 0, DISK), /released/);
		if (round % 4 === 3) {
			await tree.close();
			tree = await open(l);
		}
	}
	await tree.close();
});
