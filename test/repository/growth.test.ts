/** What grows with the change and what with the repository: pages and files that are read are counted, not timed. */
import t, { type Test } from "tap";
import type { Extent, Image } from "../../src/image/image.js";
import { PackReport } from "../../src/repository/check-packs.js";
import { FileStore } from "../../src/repository/file-store.js";
import { Index } from "../../src/repository/index-set.js";
import { Keyring } from "../../src/repository/keyring.js";
import { TYPE } from "../../src/repository/layout.js";
import { LiveSet } from "../../src/repository/live-set.js";
import { MapReader } from "../../src/repository/map-reader.js";
import { Marker } from "../../src/repository/marker.js";
import { readPackTable } from "../../src/repository/pack-reader.js";
import { PageStore } from "../../src/repository/page-store.js";
import { Places } from "../../src/repository/places.js";
import { PointStore } from "../../src/repository/points.js";
import { RecordReader } from "../../src/repository/record-reader.js";
import { soundBlocks } from "../../src/repository/sound-blocks.js";
import { Trail } from "../../src/repository/trail.js";
import { BLOCK, Dice, fresh, randomFrom, request } from "./helpers.js";

/** One block of data in each leaf: many pages for little data. */
const LEAVES = 2048;
const STRIDE = 64 * BLOCK;
/** leaves, pages above them, root */
const ALL_PAGES = LEAVES + LEAVES / 64 + 1;
const LEVELS = 3;

class Sparse implements Image {
	readonly size = LEAVES * STRIDE;

	/** Bytes of the blocks that are read follow from the seed. */
	constructor(readonly seed: number) {}

	read(offset: number, target: Buffer): void {
		target.fill(7);
		for (let at = 0; at < target.length; at += BLOCK) {
			target.writeDoubleLE((offset + at) / BLOCK, at);
			target.writeUInt32LE(this.seed, at + 8);
		}
	}

	extents(offset: number, length: number): Extent[] {
		const extents: Extent[] = [];
		for (let at = offset; at < offset + length; ) {
			const inside = at % STRIDE;
			const data = inside < BLOCK;
			const run = Math.min(offset + length - at, (data ? BLOCK : STRIDE) - inside);
			extents.push({ offset: at, length: run, kind: data ? "data" : "unallocated" });
			at += run;
		}
		return extents;
	}

	async close(): Promise<void> {}
}

/** A repository with `points` restore points of each VM, between which the named leaves change. */
const grown = async (t: Test, vms: string[], points: number, changed: (point: number) => number[]) => {
	const repository = await fresh(t);
	for (let point = 0; point < points; point++)
		for (const [n, vm] of vms.entries()) {
			const before = (await repository.points(vm)).at(-1);
			const extents = changed(point).map((leaf) => ({ offset: leaf * STRIDE, length: BLOCK }));
			const image = new Sparse(point * vms.length + n);
			const disk = { name: "disk0", image, ...(before && { changed: { since: before.id, extents } }) };
			await repository.backup({ ...request(vm, image, point), disks: [disk] });
		}
	const store = new FileStore(repository.path, randomFrom("growth"), 2);
	t.teardown(() => store.close());
	const keyring = new Keyring(repository.id);
	const index = new Index(store, keyring, randomFrom("index"), { write: false });
	await index.refresh();
	const list = await new PointStore(store, keyring).list();
	return { repository, store, keyring, index, list };
};

t.test("marking reads each unique page once and looks up only what a point changed", async (t) => {
	const changed = (point: number) => [point * 70, point * 70 + 1, 2000 - point];
	const { index, store, list, keyring } = await grown(t, ["one", "two"], 6, changed);
	const marker = new Marker(new RecordReader(store, index), index, BLOCK);
	await marker.mark(list, () => {}, undefined);
	let pages = 0;
	let missed = 0;
	for (const { id } of index.segments.flatMap(({ packs }) => packs)) {
		const { entries } = (await readPackTable(store, id, keyring))!;
		for (let at = 0; at < entries.length; at += 48) {
			if (entries[at + 47] === TYPE.page) pages += 1;
			if (!marker.live.has(entries, at, entries[at + 47])) missed += 1;
		}
	}
	t.equal(missed, 0, "everything is live");
	t.equal(marker.pages, pages, "each page once");
	// Of each later point: the root, the pages above its three leaves, which lie below one or two of these, and the leaves.
	t.ok(pages <= 2 * (ALL_PAGES + 5 * (1 + 3 + 3)), `${pages} pages`);
	t.equal(marker.lookUps, marker.pages, "what did not change was not even looked up");
	await marker.mark(list, () => {}, undefined);
	t.equal(marker.pages, pages, "nothing twice");
});

t.test("a point that goes back to older pages is walked, and reads nothing new", async (t) => {
	const { repository, index, store, keyring } = await grown(t, ["one"], 2, () => [5, 900]);
	const [first, second] = await repository.points("one");
	const back = { name: "disk0", image: new Sparse(0), changed: { since: second.id, extents: [5, 900].map(whole) } };
	await repository.backup({ ...request("one", back.image, 9), disks: [back] });
	await index.refresh();
	const list = await new PointStore(store, keyring).list();
	t.equal(list[2].disks[0].root, list[0].disks[0].root, "the same map");
	const marker = new Marker(new RecordReader(store, index), index, BLOCK);
	await marker.mark(list, () => {}, undefined);
	t.equal(marker.pages, ALL_PAGES + 5, first.id);
	t.equal(marker.lookUps, marker.pages + 1, "the root that was seen before");
});

const whole = (leaf: number) => ({ offset: leaf * STRIDE, length: BLOCK });

t.test(
	"going from change to change reads the pages on the way, opening a point the root and what lies beside it",
	async (t) => {
		const { index, store, list } = await grown(t, ["one"], 1, () => []);
		const pages = new PageStore(new RecordReader(store, index));
		const root = Buffer.from(list[0].disks[0].root!, "hex");
		const map = new MapReader(pages, root, list[0].disks[0].size, BLOCK);
		t.equal(map.levels, LEVELS);
		t.ok(await map.page(0, 1000));
		t.equal(pages.read, LEVELS, "one page of each level");
		t.ok(await map.page(0, 1001));
		t.equal(pages.read, LEVELS + 1, "its neighbour is not there yet: only the leaf is read");
		for (let leaf = 1002; leaf < 1010; leaf++) t.ok(await map.page(0, leaf));
		for (let waited = 0; pages.read < 40 && waited < 5000; waited += 20)
			await new Promise((done) => setTimeout(done, 20));
		t.ok(pages.read >= 40, "one leaf after the other: those beside them come along");
		const again = new PageStore(new RecordReader(store, index));
		await new MapReader(again, root, list[0].disks[0].size, BLOCK).open();
		t.equal(again.read, 1);
	},
);

t.test("an increment stores the pages on the way to its changes and nothing else", async (t) => {
	const { index, store, keyring, repository } = await grown(t, ["one"], 2, () => [5, 900]);
	const [, second] = await repository.points("one");
	const { packs } = index.segments.toSorted((a, b) => a.trailer.entries - b.trailer.entries)[0];
	let pages = 0;
	let blocks = 0;
	for (const { id } of packs) {
		const { entries } = (await readPackTable(store, id, keyring))!;
		for (let at = 0; at < entries.length; at += 48) {
			if (entries[at + 47] === TYPE.page) pages += 1;
			else if (entries[at + 47] === TYPE.block) blocks += 1;
		}
	}
	t.match({ pages, blocks }, { pages: 5, blocks: 2 });
	t.ok(second.size_new < 20_000, `${second.size_new} bytes stored`);
});

t.test("what can be had is known from one pass over the index, and only that", async (t) => {
	const { index, store, keyring } = await grown(t, ["one"], 3, () => [5, 900]);
	const packs = new PackReport();
	const tables = new Map<string, Buffer>();
	for (const { id } of index.segments.flatMap(({ packs }) => packs)) {
		const table = (await readPackTable(store, id, keyring))!;
		tables.set(id, table.entries);
		packs.sizes.set(id, table.size);
		packs.blocks += table.entries.length / 48;
	}
	const data = [...tables].filter(([, entries]) => entries[47] === TYPE.block);
	t.equal(data.length, 3);
	const [[whole], [damaged, bad], [missing]] = data;
	packs.sizes.delete(missing);
	packs.bad.set(damaged, "a test");
	packs.badRecords.set(`${damaged}:${bad.readUInt32LE(36)}`, "a test");
	const reads: string[] = [];
	const counted = index.segments.map((segment) => {
		const { readPages } = segment;
		segment.readPages = (first, count) => {
			reads.push(segment.id);
			return readPages.call(segment, first, count);
		};
		return Math.ceil(segment.trailer.pages / 64);
	});
	const sound = await soundBlocks(index, packs);
	t.equal(
		reads.length,
		counted.reduce((sum, one) => sum + one, 0),
		"each page of the index once, many at a time",
	);
	const known = (id: string) =>
		Array.from({ length: tables.get(id)!.length / 48 }, (_, n) =>
			sound.blocks.has(tables.get(id)!, n * 48, TYPE.block),
		);
	t.ok(known(whole).every(Boolean), "all of a good pack");
	t.same(known(damaged), [false, ...known(damaged).slice(1).fill(true)], "not the bad record of another");
	t.ok(
		known(missing).every((one) => !one),
		"none of one that is gone",
	);
	t.equal(sound.pages, ALL_PAGES + 2 * 5);
});

t.test("live set: what was added is found, through growth; hardly anything else", async (t) => {
	const dice = new Dice(8);
	const count = 40_000;
	const identities = dice.bytes(count * 32);
	for (const expected of [0, count]) {
		const live = new LiveSet(expected);
		for (let n = 0; n < count; n++) live.add(identities, n * 32, TYPE.block);
		let missed = 0;
		let wrong = 0;
		for (let n = 0; n < count; n++) {
			if (!live.has(identities, n * 32, TYPE.block)) missed += 1;
			if (live.has(identities, n * 32, TYPE.page)) wrong += 1;
		}
		t.equal(missed, 0);
		t.ok(wrong <= 2, `${wrong} of ${count} are false "there"`);
		t.ok(count - live.count <= 2, "twins are rare");
		t.equal(live.meet(identities, 0, TYPE.block), true);
		t.equal(live.meet(identities, 0, TYPE.block), false);
		t.equal(live.meet(identities, 0, TYPE.page), false, "not in the set");
	}
});

t.test(
	"places are told apart by pack and record; a trail forgets another VM and does not grow beyond its limit",
	async (t) => {
		const places = new Places();
		t.equal(places.has("a", 96), false);
		t.equal(places.add("a", 96), true);
		t.equal(places.add("a", 96), false);
		t.equal(places.add("a", 96 + 56), true);
		t.equal(places.add("b", 96), true);
		t.equal(places.add("a", 1_000_000), true, "grows");
		t.equal(places.has("a", 96 + 56), true, "and keeps what it had");
		const trail = new Trail<string>(2);
		trail.of("vm");
		t.equal(trail.swap("disk0", 1, 0, "a"), undefined);
		t.equal(trail.swap("disk0", 1, 0, "b"), "a");
		t.equal(trail.swap("disk1", 1, 0, "c"), undefined, "another disk");
		t.equal(trail.swap("disk0", 2, 0, "d"), undefined, "full");
		t.equal(trail.swap("disk0", 2, 0, "e"), undefined, "still");
		t.equal(trail.swap("disk0", 1, 0, "f"), "b", "those that are there stay");
		trail.of("other");
		t.equal(trail.swap("disk0", 1, 0, "g"), undefined);
	},
);
