/** Repair of damaged restore points: moved aside and named, never deleted, and never while somebody needs them. */
import { readdirSync, readFileSync, renameSync, statSync, truncateSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { faults } from "../../native/index.js";
import { openRepository } from "../../src/repository/index.js";
import { flip, stateOf } from "./damage-lab.js";
import { BLOCK, Dice, encrypted, fresh, MemoryImage, open, PASSPHRASE, readAll, request, START } from "./helpers.js";

const now = () => new Date(START + 86_400_000);
const content = (n: number) => new Dice(30 + n).bytes(3 * BLOCK + n);

t.afterEach(() => faults.clear());

for (const kind of ["plain", "encrypted"] as const)
	t.test(`${kind}: the point is moved and named, the others are whole, and check is clean`, async (t) => {
		const repository = kind === "plain" ? await fresh(t) : await encrypted(t);
		const ids: string[] = [];
		for (const n of [0, 1, 2])
			ids.push((await repository.backup(request("web-1 ü", new MemoryImage(content(n)), n))).point.id);
		const alone = (await repository.backup(request("db1", new MemoryImage(content(4)), 3))).point.id;
		flip(repository.path, `points/${ids[1]}`, -1);
		const cut = join(repository.path, "points", alone);
		truncateSync(cut, statSync(cut).size - 1);
		const damaged = readFileSync(join(repository.path, "points", ids[1]));
		const path = repository.path;
		const later = await open(t, path, kind === "plain" ? {} : PASSPHRASE);
		const before = stateOf(later);
		const names = [ids[1], alone].sort();
		const vmOf = (id: string) => (id === ids[1] ? "web-1 ü" : kind === "plain" ? "db1" : null);
		const expected = names.map((point) => ({ point, vm: vmOf(point) }));
		const dry = await later.repair({ dryRun: true });
		t.match(dry, { points: expected, remaining: [], indexRebuilt: false, quarantined: [] });
		t.same(stateOf(later), before, "a dry run changes nothing");
		t.equal((await later.check({ readData: false })).faults.length, 2);
		const report = await later.repair({ now });
		t.match(report, { points: expected, remaining: [] });
		t.match(report.points[0].written, /^20\d\d-\d\d-\d\dT/);
		t.same((await later.check({ readData: true })).faults, [], "check is clean");
		t.ok(readFileSync(join(path, "quarantine", `point-${ids[1]}`)).equals(damaged), "nothing is deleted");
		const told = readFileSync(join(path, "quarantine", `point-${ids[1]}.json`)).toString();
		t.match(JSON.parse(told), {
			version: 1,
			point: ids[1],
			quarantined: "2026-11-22T01:02:03.000Z",
			size: damaged.length,
		});
		t.equal(told.includes("web-1 ü"), kind === "plain", "encrypted, the report names no VM");
		for (const n of [0, 2]) t.ok((await readAll(later, `web-1 ü@${ids[n]}`)).equals(content(n)));
		t.match(await later.repair({ now }), { points: [], indexRebuilt: false }, "a second run finds nothing to do");
		t.match(await later.prune({ now }), { points: 2, damaged: [] }, "and prune goes on");
		t.same((await later.check({ readData: true })).faults, []);
	});

t.test("a point comes back with its file, before prune", async (t) => {
	const repository = await fresh(t);
	const { point } = await repository.backup(request("vm", new MemoryImage(content(1))));
	const good = readFileSync(join(repository.path, "points", point.id));
	flip(repository.path, `points/${point.id}`, 90);
	const later = await open(t, repository.path);
	t.match(await later.repair({ now }), { points: [{ point: point.id }] });
	const file = join(repository.path, "quarantine", `point-${point.id}`);
	const bytes = readFileSync(file);
	bytes[90] ^= 1;
	t.ok(bytes.equals(good));
	flip(repository.path, `quarantine/point-${point.id}`, 90);
	renameSync(file, join(repository.path, "points", point.id));
	t.ok((await readAll(later, "vm")).equals(content(1)));
	flip(repository.path, `points/${point.id}`, 91);
	const again = await openRepository(repository.path);
	t.match(await again.repair({ now }), { points: [{ file: `quarantine/point-${point.id}` }] });
	await again.close();
	t.equal(readdirSync(join(repository.path, "points")).length, 0);
});

t.test(
	"a point that a reader, a hold or a damaged hold keeps stays, and so does one that the disk cannot read",
	async (t) => {
		const repository = await fresh(t);
		const { point } = await repository.backup(request("vm", new MemoryImage(content(1))));
		const image = await repository.openDisk(point, "disk0");
		const file = `points/${point.id}`;
		flip(repository.path, file, -1);
		const later = await open(t, repository.path);
		const stays = async (why: RegExp) => {
			const { points, remaining } = await later.repair({ now });
			t.match({ points, remaining }, { points: [], remaining: [{ kind: "bad-point", file, message: why }] });
		};
		await stays(/in use by a reader/);
		const got = Buffer.alloc(image.size);
		await image.read(0, got);
		t.ok(got.equals(content(1)), "the session goes on");
		await image.close();
		flip(repository.path, file, -1);
		const hold = { kind: "person", since: "2026-11-21T00:00:00Z", reason: "audit" } as const;
		const held = await (await open(t, repository.path)).hold(point, hold);
		flip(repository.path, file, -1);
		await stays(/held: audit: release it first/);
		flip(repository.path, `holds/${held.id}`, -1);
		await later.repair({ now }).then(({ points, remaining }) => {
			t.same(points, []);
			t.match(remaining.find(({ kind }) => kind === "bad-point")?.message, /holds\/.* is damaged and may hold it/);
		});
		flip(repository.path, `holds/${held.id}`, -1);
		await later.release(held);
		faults.set([{ op: "pread", path: file, error: "EIO", count: -1 }]);
		await stays(/cannot be read/);
		faults.clear();
		t.match(await later.repair({ now }), { points: [{ point: point.id, vm: "vm" }], remaining: [] });
	},
);
