/** Rebuild: an index from packs alone, whatever became of the old one. */
import { mkdirSync, readdirSync, renameSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { faults } from "../../native/index.js";
import { filesOf, flip, packOf } from "./damage-lab.js";
import { BLOCK, Dice, fresh, MemoryImage, open, readAll, request } from "./helpers.js";

t.afterEach(() => faults.clear());

const contents = [1, 2, 3].map((seed) => new Dice(seed).bytes(4 * BLOCK));

/** A closed repository with a point of each of three VMs. */
const three = async (t: Test): Promise<string> => {
	const repository = await fresh(t);
	for (const [n, content] of contents.entries())
		await repository.backup(request(`vm${n}`, new MemoryImage(content), n));
	await repository.close();
	return repository.path;
};

t.test("whatever became of the index, everything is as before", async (t) => {
	const path = await three(t);
	const index = join(path, "index");
	const hurts: [string, () => void][] = [
		["missing folder", () => rmSync(index, { recursive: true })],
		["empty", () => readdirSync(index).forEach((name) => void rmSync(join(index, name)))],
		["cut segments", () => readdirSync(index).forEach((name) => void truncateSync(join(index, name), 4000))],
		["empty segments", () => readdirSync(index).forEach((name) => void truncateSync(join(index, name), 0))],
		["noise", () => writeFileSync(join(index, "0".repeat(32)), new Dice(5).bytes(9000))],
		["a good one", () => {}],
	];
	for (const [name, hurt] of hurts) {
		hurt();
		const repository = await open(t, path);
		const report = await repository.rebuild({});
		t.match(report, { packs: 6, records: 15, segments: 1, faults: [] }, name);
		t.equal(readdirSync(index).length, 1, `${name}: only the new index is left`);
		t.same((await repository.check({ readData: true })).faults, [], name);
		for (const [n, content] of contents.entries()) t.ok((await readAll(repository, `vm${n}`)).equals(content));
		await repository.close();
	}
});

t.test("all folders but packs and points gone, as some copiers leave it", async (t) => {
	const path = await three(t);
	for (const name of ["index", "condemned", "keys", "locks", "tmp"]) rmSync(join(path, name), { recursive: true });
	const reader = await open(t, path);
	t.ok((await readAll(reader, "vm1")).equals(contents[1]), "reads without them");
	const repository = await open(t, path);
	await repository.rebuild({});
	await repository.backup(request("vm9", new MemoryImage(contents[0]), 9));
	t.same((await repository.check({ readData: true })).faults, []);
});

t.test("two packs with the same records", async (t) => {
	const path = await three(t);
	// vm0 once more, by somebody who could see neither index nor packs.
	const [packs, aside] = [join(path, "packs"), join(path, "aside")];
	renameSync(packs, aside);
	renameSync(join(path, "index"), join(path, "index-aside"));
	mkdirSync(packs);
	const writer = await open(t, path);
	await writer.backup(request("again", new MemoryImage(contents[0]), 5));
	await writer.close();
	for (const name of filesOf(aside)) {
		mkdirSync(join(packs, name.split("/")[0]), { recursive: true });
		renameSync(join(aside, name), join(packs, name));
	}
	rmSync(join(path, "index"), { recursive: true });
	const repository = await open(t, path);
	t.equal((await repository.rebuild({})).packs, 8);
	t.same((await repository.check({ readData: true })).faults, []);
	t.ok((await readAll(repository, "again")).equals(contents[0]));
});

t.test("a damaged footer is reported, and its records are indexed all the same", async (t) => {
	const path = await three(t);
	const pack = packOf(path, 1);
	flip(path, pack, -70);
	const repository = await open(t, path);
	const { faults: found, records } = await repository.rebuild({});
	t.match(found, [{ kind: "bad-pack", file: pack }]);
	t.equal(records, 15);
	for (const [n, content] of contents.entries()) t.ok((await readAll(repository, `vm${n}`)).equals(content));
});

t.test("a disk that is full or read-only: one clear error, the old index stays", async (t) => {
	const path = await three(t);
	const before = readdirSync(join(path, "index"));
	const repository = await open(t, path);
	faults.set([{ op: "pwrite", path, error: "ENOSPC", count: -1 }]);
	await t.rejects(repository.rebuild({}), {
		code: "NO_SPACE",
		message: /no space left in .* while rebuilding the index/,
	});
	faults.set([{ op: "open", path: `${path}/tmp`, error: "EROFS", count: -1 }]);
	await t.rejects(repository.rebuild({}), { code: "READ_ONLY" });
	await t.rejects(
		repository
			.repair({ dryRun: false })
			.then(() => flip(path, packOf(path, 1), -70))
			.then(() => repository.repair({})),
		{
			code: "READ_ONLY",
		},
	);
	faults.clear();
	t.same(readdirSync(join(path, "index")), before);
});

t.test("an interrupted rebuild leaves the old index in use", async (t) => {
	const path = await three(t);
	const before = readdirSync(join(path, "index"));
	const repository = await open(t, path);
	await t.rejects(repository.rebuild({ signal: AbortSignal.abort() }), { code: "INTERRUPTED" });
	t.same(readdirSync(join(path, "index")), before);
});
