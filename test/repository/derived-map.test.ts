/** A map made of an older one and what changed is the map that a full backup would have made, page for page. */
import t from "tap";
import { sha256 } from "../../native/index.js";
import { blockRanges } from "../../src/repository/block-ranges.js";
import { DerivedMapBuilder } from "../../src/repository/derived-map.js";
import { Keyring } from "../../src/repository/keyring.js";
import { MapBuilder, type MapPage } from "../../src/repository/map-builder.js";
import { MapReader } from "../../src/repository/map-reader.js";
import type { PageStore } from "../../src/repository/page-store.js";
import { Dice } from "./helpers.js";

const PLAIN = new Keyring("00".repeat(16));

class Pages {
	readonly all = new Map<string, Buffer>();
	reads = 0;
	readonly keep = ({ identity, bytes }: MapPage): void => void this.all.set(identity.toString("hex"), bytes);
	readonly store = {
		peek: () => undefined,
		get: (identities: Buffer, offset: number) => {
			this.reads++;
			const page = this.all.get(identities.toString("hex", offset, offset + 32));
			if (page === undefined) throw new Error("a page that was never handed out");
			return page;
		},
	} as unknown as PageStore;
}

type Disk = Map<number, Buffer>;

const full = (disk: Disk, blocks: number, pages: Pages): Buffer | null => {
	const builder = new MapBuilder(blocks, PLAIN, pages.keep);
	for (const n of [...disk.keys()].sort((a, b) => a - b)) builder.set(n, disk.get(n)!, 0);
	return builder.finish();
};

t.test("random disks, changes, growth and shrinkage", async (t) => {
	const dice = new Dice(5);
	for (let round = 0; round < 50; round++) {
		const pages = new Pages();
		let blocks = 1 + dice.below(dice.below(2) ? 200 : 300_000);
		let disk: Disk = new Map();
		for (let n = dice.below(300); n > 0; n--) disk.set(dice.below(blocks), dice.bytes(32));
		let root = full(disk, blocks, pages);
		for (let step = 0; step < 4; step++) {
			// Blocks stand for bytes here: one byte each.
			const base = new MapReader(pages.store, root, blocks, 1);
			const size = dice.below(3) > 0 ? blocks : 1 + dice.below(dice.below(2) ? 5000 : 300_000);
			const extents = [];
			for (let n = dice.below(20); n > 0; n--) {
				const length = dice.below(4) === 0 ? dice.below(20_000) : dice.below(10);
				extents.push({ offset: dice.below(size), length });
			}
			if (size > blocks) extents.push({ offset: blocks, length: size - blocks });
			const ranges = blockRanges(extents, size, 1);
			const next: Disk = new Map(
				[...disk].filter(([n]) => n < size && !ranges.some(({ from, to }) => n >= from && n < to)),
			);
			const changed = ranges.flatMap(({ from, to }) =>
				Array.from({ length: dice.below(Math.min(8, to - from + 1)) }, () => from + dice.below(to - from)),
			);
			for (const n of changed) next.set(n, dice.bytes(32));
			const builder = new DerivedMapBuilder(base, size, ranges, PLAIN, pages.keep);
			for (const n of [...new Set(changed)].sort((a, b) => a - b)) await builder.set(n, next.get(n)!, 0);
			const derived = await builder.finish();
			const expected = new Pages();
			const wanted = full(next, size, expected);
			t.same(derived, wanted, `round ${round}, ${blocks} to ${size} blocks, ${ranges.length} ranges`);
			for (const [identity, bytes] of expected.all) {
				if (!pages.all.get(identity)?.equals(bytes)) t.fail(`page ${identity} is missing`);
			}
			for (const [identity, bytes] of pages.all) if (sha256(bytes).toString("hex") !== identity) t.fail(identity);
			[disk, blocks, root] = [next, size, derived];
		}
	}
});

t.test("work grows with the change, not with the disk", async (t) => {
	const pages = new Pages();
	const blocks = 10_000_000;
	const builder = new MapBuilder(blocks, PLAIN, pages.keep);
	const identity = Buffer.alloc(32, 7);
	for (let n = 0; n < blocks; n += 50) builder.set(n, identity, 0);
	const root = builder.finish();
	const stored = pages.all.size;
	const ranges = blockRanges(
		[1, 2_000_000, 2_000_010, 9_999_999].map((offset) => ({ offset, length: 1 })),
		blocks,
		1,
	);
	const derived = new DerivedMapBuilder(new MapReader(pages.store, root, blocks, 1), blocks, ranges, PLAIN, pages.keep);
	for (const { from } of ranges) await derived.set(from, Buffer.alloc(32, from), 0);
	await derived.finish();
	t.ok(pages.all.size - stored <= 12, `${pages.all.size - stored} new pages for three places of four levels`);
	t.ok(pages.reads <= 40, `${pages.reads} pages read`);
	const same = await new DerivedMapBuilder(
		new MapReader(pages.store, root, blocks, 1),
		blocks,
		[],
		PLAIN,
		pages.keep,
	).finish();
	t.same(same, root, "nothing changed: the same map");
});

t.test("ranges", (t) => {
	const extents = [
		{ offset: 300, length: 10 },
		{ offset: 0, length: 1 },
		{ offset: 100, length: 100 },
		{ offset: 150, length: 20 },
		{ offset: 950, length: 500 },
		{ offset: 2000, length: 5 },
		{ offset: 500, length: 0 },
	];
	t.same(blockRanges(extents, 1000, 100), [
		{ from: 0, to: 2 },
		{ from: 3, to: 4 },
		{ from: 9, to: 10 },
	]);
	for (const bad of [
		{ offset: -1, length: 5 },
		{ offset: 0, length: Number.NaN },
		{ offset: 1.5, length: 1 },
	])
		t.throws(() => blockRanges([bad], 1000, 100), RangeError);
	t.end();
});
