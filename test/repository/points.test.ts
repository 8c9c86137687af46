/** Many restore points: listed with few steps, each file verified, one found without the others. */
import { appendFileSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { faults } from "../../native/index.js";
import { FileStore } from "../../src/repository/file-store.js";
import { Keyring } from "../../src/repository/keyring.js";
import { pointName } from "../../src/repository/layout.js";
import { encodePoint, PointStore, type StoredPoint } from "../../src/repository/points.js";
import { BLOCK, Dice, fresh, MemoryImage, memoryFolder, open, randomFrom, request } from "./helpers.js";

/** More than the jobs that are under way at once take. */
const POINTS = 300;

t.afterEach(() => faults.clear());

/** A store with so many small points, and one that is long. */
const many = async (t: Parameters<typeof memoryFolder>[0]) => {
	const random = randomFrom("points");
	const store = new FileStore(memoryFolder(t), random, 8);
	t.teardown(() => store.close());
	await store.prepare();
	const keyring = new Keyring("00".repeat(16), undefined);
	const ids: string[] = [];
	for (let n = 0; n < POINTS; n++) {
		const id = random(16).toString("hex");
		const long = n === 7 ? new Dice(7).bytes(100_000).toString("base64") : "";
		const point: StoredPoint = {
			...{ version: 1, id, vm: "web", taken: n, sequence: n, parent: null, disks: [], consistency: "crash" },
			...{ size_new: 0, config: null, files: [], facts: { long } },
		};
		writeFileSync(join(store.place, pointName(id)), encodePoint(point, keyring));
		ids.push(id);
	}
	return { store, ids, points: new PointStore(store, keyring) };
};

t.test("all are listed, long ones too", async (t) => {
	const { ids, points } = await many(t);
	const listed = await points.list();
	t.same(
		listed.map(({ id }) => id),
		ids,
		"oldest first",
	);
	t.equal((listed[7].facts.long as string).length, 133_336);
	t.equal(points.bad.size, 0);
	t.equal(await points.get(ids[9]), listed[9], "is not read again");
});

t.test("damaged and unreadable ones are named, the others are listed", async (t) => {
	const { store, ids, points } = await many(t);
	const path = (n: number) => join(store.place, pointName(ids[n]));
	const bytes = readFileSync(path(1));
	bytes[bytes.length - 1] ^= 1;
	writeFileSync(path(1), bytes);
	writeFileSync(path(2), "");
	appendFileSync(path(3), "more");
	faults.set([{ op: "pread", path: ids[4], count: -1, error: "EIO" }]);
	t.same(
		(await points.list()).map(({ id }) => id),
		[ids[0], ...ids.slice(5)],
	);
	t.same([...points.bad.keys()].sort(), ids.slice(1, 5).sort());
	t.match(points.bad.get(ids[4]), /EIO|input\/output/i);
	faults.clear();
	t.equal((await points.list()).length, POINTS - 3, "the disk answers again");
});

t.test("one that is removed while all are listed is just not there", async (t) => {
	const { store, ids, points } = await many(t);
	faults.set([{ op: "open", path: ids[200], delayMs: 200 }]);
	const listing = points.list();
	await new Promise((resolve) => setTimeout(resolve, 50));
	rmSync(join(store.place, pointName(ids[200])));
	t.equal((await listing).length, POINTS - 1);
	t.equal(points.bad.size, 0);
	t.equal(await points.get(ids[200]), undefined);
});

t.test("a point that is named by its whole id is found without reading the others", async (t) => {
	const repository = await fresh(t);
	const ids: string[] = [];
	for (let n = 0; n < 3; n++) {
		const { point } = await repository.backup(request("web", new MemoryImage(new Dice(n + 1).bytes(BLOCK)), n));
		ids.push(point.id);
	}
	const reader = await open(t, repository.path);
	faults.set([0, 1].map((n) => ({ op: "open", path: ids[n], count: -1, error: "EIO" })));
	t.equal((await reader.resolve(`web@${ids[2]}`)).id, ids[2]);
	await t.rejects(reader.resolve(`other@${ids[2]}`), { code: "UNKNOWN_VM" });
	faults.clear();
	await t.rejects(reader.resolve(`web@${"f".repeat(32)}`), { code: "UNKNOWN_POINT" });
});
