/** The paged index by itself: random merges against a plain map, over many checkpoints and with a tiny cache. */
import { constants } from "node:fs";
import t from "tap";
import { createLane, type Lane, sys } from "../../native/index.js";
import { DataCache, PagePool } from "../../src/overlay/data-cache.js";
import { mergeExtents } from "../../src/overlay/extent-merge.js";
import { PAGE } from "../../src/overlay/geometry.js";
import type { Log } from "../../src/overlay/log.js";
import { OverlayMemory } from "../../src/overlay/memory.js";
import { type Change, TreeMerge } from "../../src/overlay/merge.js";
import { PageStore } from "../../src/overlay/page-store.js";
import type { Presence } from "../../src/overlay/presence.js";
import { ContentReader } from "../../src/overlay/reader.js";
import { Readers } from "../../src/overlay/readers.js";
import { HOLE, Runs } from "../../src/overlay/runs.js";
import { EMPTY_ROOT, keyOf, loadExtents, type Root, scan, TYPE } from "../../src/overlay/tree.js";
import { random, temporary } from "./lab.js";

const makeStore = (t: Parameters<typeof temporary>[0], pages: number) => {
	const path = `${temporary(t, true)}/index`;
	const fd = sys.open(path, constants.O_RDWR | constants.O_CREAT, 0o600);
	const lane = createLane("test", 1);
	t.teardown(async () => {
		await lane.close();
		sys.close(fd);
	});
	return { store: new PageStore(fd, path, 42n, lane, lane, new Readers(), new OverlayMemory(0, pages * PAGE)), fd };
};

async function* portions(changes: Change[]): AsyncGenerator<Change[]> {
	for (let i = 0; i < changes.length; i += 100) yield changes.slice(i, i + 100);
}

t.test("keys and values of any length", async (t) => {
	const { store } = makeStore(t, 64);
	const chance = random(1);
	const model = new Map<string, Change>();
	let root: Root = EMPTY_ROOT;
	for (let round = 1; round <= 40; round++) {
		const changes = new Map<string, Change>();
		const dense = chance(2) === 0;
		for (let i = chance(3000); i >= 0; i--) {
			const a = keyOf(1 + chance(3), chance(dense ? 2 : 50));
			const b = chance(4) === 0 ? 2 ** 45 + chance(500) : chance(dense ? 1000 : 100_000);
			const value = chance(round > 30 ? 10 : 3) > 1 ? undefined : Buffer.alloc(chance(20) === 0 ? chance(3000) : 16, i);
			changes.set(`${a}/${b}`, { a, b, value });
		}
		const sorted = [...changes.values()].sort((x, y) => x.a - y.a || x.b - y.b);
		const abandoned = chance(4) === 0;
		const next = await new TreeMerge(store, round, portions(sorted)).run(root);
		await store.flush();
		if (abandoned) {
			store.rollback();
			continue;
		}
		root = next;
		store.release(store.commit());
		for (const [key, change] of changes) {
			if (change.value) model.set(key, change);
			else model.delete(key);
		}
		const found = [...scan(store, root, 0, Number.POSITIVE_INFINITY)];
		const expected = [...model.values()].sort((x, y) => x.a - y.a || x.b - y.b);
		const same =
			found.length === expected.length &&
			found.every((entry, i) => {
				const value = Buffer.from(entry.source.buffer, entry.source.byteOffset + entry.at, entry.length);
				return entry.a === expected[i].a && entry.b === expected[i].b && value.equals(expected[i].value!);
			});
		if (!same) return t.fail(`round ${round}: ${found.length} entries, expected ${expected.length}`);
	}
	const bytes = [...model.values()].reduce((sum, { value }) => sum + value!.length + 36, 0);
	t.ok(store.total * PAGE < bytes * 4 + 2 ** 22, `${store.total} pages for ${bytes} bytes`);
});

t.test("extents: overlaps, holes, and the live bytes that follow", async (t) => {
	const { store } = makeStore(t, 64);
	const chance = random(2);
	const SIZE = 60_000;
	let content = new Float64Array(SIZE); // log position of each byte, 0 none
	let root: Root = EMPTY_ROOT;
	let live = 0;
	let position = 1_000_000;
	for (let round = 1; round <= 60; round++) {
		const runs = new Runs();
		for (let i = chance(300); i >= 0; i--) {
			const start = chance(SIZE - 1);
			const end = Math.min(SIZE, start + 1 + chance(chance(20) === 0 ? SIZE : 300));
			const hole = chance(10) === 0;
			runs.put({
				start,
				end: hole && chance(3) === 0 ? Number.MAX_SAFE_INTEGER : end,
				position: hole ? HOLE : position,
				epoch: 1,
			});
			position += 1_000_000;
		}
		for (const run of runs.list) {
			for (let at = run.start; at < Math.min(run.end, SIZE); at++) {
				content[at] = run.position === HOLE ? 0 : run.position + (at - run.start);
			}
		}
		const changes = mergeExtents(store, root, 9, runs.list, (_position, length, sign) => {
			live += sign * length;
		});
		root = await new TreeMerge(store, round, changes).run(root);
		await store.flush();
		store.release(store.commit());
		const seen = new Float64Array(SIZE);
		let last = 0;
		for (const extent of await loadExtents(store, root, 9, 0, SIZE)) {
			if (extent.start < last) return t.fail(`extents overlap at ${extent.start}`);
			for (let at = extent.start; at < extent.end; at++) seen[at] = extent.position + (at - extent.start);
			last = extent.end;
		}
		const wrong = seen.findIndex((p, at) => p !== content[at]);
		if (wrong >= 0) return t.fail(`round ${round}: byte ${wrong} is at ${seen[wrong]}, not ${content[wrong]}`);
		t.equal(live, content.filter((p) => p !== 0).length, `round ${round}: live bytes`);
		const from = chance(SIZE - 10);
		const part = await loadExtents(store, root, 9, from, from + 10, 1);
		t.ok(part.length <= 1);
	}
	content = new Float64Array(0);
	t.equal([...scan(store, root, keyOf(TYPE.extent, 10), keyOf(TYPE.extent, 11))].length, 0);
});

// Else a page that comes late would be kept under the number of one that has its place by then.
t.test("a read of several pages is one read to those who wait for readers", async (t) => {
	const { store: writer, fd } = makeStore(t, 64);
	const changes = Array.from({ length: 2000 }, (_, i) => {
		const value = Buffer.alloc(16);
		value.writeUInt32LE(4096 * (i + 1), 0);
		value.writeUInt32LE(10, 8);
		return { a: keyOf(TYPE.extent, 5), b: i * 20, value };
	});
	const root = await new TreeMerge(writer, 1, portions(changes)).run(EMPTY_ROOT);
	await writer.flush();
	const readers = new Readers();
	const gates: (() => void)[] = [];
	const gated = {
		pread: (file: number, target: Buffer, position: number) =>
			new Promise<number>((resolve) => gates.push(() => resolve(sys.pread(file, target, position)))),
	};
	const store = new PageStore(fd, "index", 42n, gated as Lane, gated as Lane, readers, new OverlayMemory(0, 64 * PAGE));
	store.resize(writer.total);
	const reader = new ContentReader(
		fd,
		gated as Lane,
		store,
		new DataCache(new PagePool(4096)),
		undefined as unknown as Log,
	);
	const presence = { any: () => true } as unknown as Presence;
	const view = { id: 5, presence, deltas: [], root, base: undefined, baseLimit: 0 };
	let ended = false;
	const extents = Promise.resolve(reader.extents(view, 0, 40_000)).then((list) => {
		ended = true;
		return list;
	});
	let drained = false;
	void readers.drained().then(() => {
		drained = true;
	});
	let pages = 0;
	while (!ended) {
		t.notOk(drained, `still reading after ${pages} pages`);
		for (const go of gates.splice(0)) {
			go();
			pages++;
		}
		await new Promise((resolve) => setImmediate(resolve));
	}
	t.ok(pages > 10, `${pages} pages were loaded one after the other`);
	t.equal((await extents).filter(({ kind }) => kind === "data").length, 2000);
	t.ok(drained, "afterwards nobody waits");
});
