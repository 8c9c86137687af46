/** Repair: keeps what is good, moves aside what is not, says what stays damaged, and can be run again. */
import {
	copyFileSync,
	existsSync,
	mkdirSync,
	readFileSync,
	renameSync,
	rmSync,
	truncateSync,
	writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import t, { type Test } from "tap";
import { faults, sys } from "../../native/index.js";
import type { CheckFault, Repository } from "../../src/repository/index.js";
import { filesOf, flip, packOf, recordsOf, stateOf } from "./damage-lab.js";
import { BLOCK, Dice, folder, fresh, MemoryImage, open, readAll, request } from "./helpers.js";

t.afterEach(() => faults.clear());

const now = () => new Date(0);
/** How a pack of data blocks begins. */
const DATA_PACK = Buffer.from("SBPACK01\u0001");
const content = new Dice(31).bytes(6 * BLOCK + 500);

/** A repository with one point of one VM, closed. */
const one = async (t: Test): Promise<string> => {
	const repository = await fresh(t);
	const files = [{ name: "nvram", content: new Dice(5).bytes(3000) }];
	await repository.backup(request("vm", new MemoryImage(content), 0, { files }));
	await repository.close();
	return repository.path;
};

const hits = (found: CheckFault[]) =>
	found.flatMap(({ hits }) => hits.map(({ vm, disk, offset, length, file }) => ({ vm, disk, offset, length, file })));

const bytes = (vm: string, offset: number, length: number) => ({ vm, disk: "disk0", offset, length, file: undefined });

/** Bytes of the disk that differ from what was backed up, in blocks; "error" where a read fails. */
const readBlocks = async (repository: Repository): Promise<string[]> => {
	const image = await repository.openDisk(await repository.resolve("vm"), "disk0");
	const result: string[] = [];
	for (let at = 0; at < image.size; at += BLOCK) {
		const got = Buffer.alloc(Math.min(BLOCK, image.size - at));
		const read = await Promise.resolve()
			.then(() => image.read(at, got))
			.then(
				() => (got.equals(content.subarray(at, at + got.length)) ? "exact" : "wrong"),
				() => "error",
			);
		result.push(read);
	}
	await image.close();
	return result;
};

t.test("a damaged record: the rest of its pack is kept, the next backup heals", async (t) => {
	const path = await one(t);
	const pack = packOf(path, 1);
	const { at } = recordsOf(path, pack)[2];
	flip(path, pack, at + 1000);
	flip(path, pack, recordsOf(path, pack)[3].at + 90);
	const repository = await open(t, path);
	const [found] = (await repository.check({ readData: true })).faults;
	t.equal(found.kind, "bad-record");
	t.same(found.ranges, [{ offset: at, length: 2 * (BLOCK + 56) }], "names the bytes of the file");
	t.same(hits([found]), [bytes("vm", 2 * BLOCK, 2 * BLOCK)], "and of the disk");

	const before = stateOf(repository);
	const plan = await repository.repair({ dryRun: true });
	t.same(stateOf(repository), before, "a dry run changes nothing");
	t.same(
		plan.quarantined.map(({ file, good, bad }) => ({ file, good, bad })),
		[{ file: pack, good: 5, bad: 2 }],
	);
	t.same(hits(plan.remaining), [bytes("vm", 2 * BLOCK, 2 * BLOCK)]);

	const original = readFileSync(join(path, pack));
	const report = await repository.repair({ now });
	const id = pack.split("/")[2];
	t.same(
		report.quarantined.map(({ why: _, ...rest }) => rest),
		[{ pack: id, file: `quarantine/${id}`, good: 5, rewritten: 5, bad: 2 }],
	);
	t.same(hits(report.remaining), [bytes("vm", 2 * BLOCK, 2 * BLOCK)], "says what stays damaged");
	t.ok(readFileSync(join(path, "quarantine", id)).equals(original), "nothing was deleted");
	const told = JSON.parse(readFileSync(join(path, "quarantine", `${id}.json`), "utf8"));
	t.match(told, { pack: id, good: 5, bad: 2, quarantined: "1970-01-01T00:00:00.000Z" });
	t.same(hits(told.faults), [bytes("vm", 2 * BLOCK, 2 * BLOCK)]);
	t.same(await readBlocks(repository), ["exact", "exact", "error", "error", "exact", "exact", "exact"]);

	const after = stateOf(repository);
	const again = await repository.repair({ now });
	t.same(again.quarantined, []);
	t.notOk(again.indexRebuilt);
	t.same(again.remaining, report.remaining);
	t.same(stateOf(repository), after, "the second run changes nothing");

	const { disks } = await repository.backup(request("vm", new MemoryImage(content), 1));
	t.equal(disks[0].new, 2 * BLOCK, "the next backup stores just these again");
	t.same((await repository.check({ readData: true })).faults, []);
	const [first] = await repository.points("vm");
	t.ok((await readAll(repository, `vm@${first.id}`)).equals(content), "which heals the old point too");
});

t.test("footer, trailer, header, a cut, and a record header beside it", async (t) => {
	const whole = ["exact", "exact", "exact", "exact", "exact", "exact", "exact"];
	const lost = (n: number) => whole.map((word, i) => (i === n ? "error" : word));
	type Hurt = (path: string, pack: string) => void;
	const cases: [string, Hurt, string[]][] = [
		["header", (path, pack) => flip(path, pack, 20), whole],
		["trailer", (path, pack) => flip(path, pack, -5), whole],
		["footer", (path, pack) => flip(path, pack, -100), whole],
		[
			"cut within the footer",
			(path, pack) => truncateSync(join(path, pack), readFileSync(join(path, pack)).length - 70),
			whole,
		],
		[
			"cut within the last record",
			(path, pack) => truncateSync(join(path, pack), recordsOf(path, pack)[6].at + 300),
			lost(6),
		],
		[
			"footer and the length in a record header",
			(path, pack) => {
				flip(path, pack, recordsOf(path, pack)[3].at + 13, 7);
				flip(path, pack, -100);
			},
			lost(3),
		],
		[
			"footer and the magic of the first record",
			(path, pack) => {
				flip(path, pack, 96);
				flip(path, pack, -100);
			},
			lost(0),
		],
	];
	for (const [name, hurt, expected] of cases) {
		const path = await one(t);
		hurt(path, packOf(path, 1));
		const repository = await open(t, path);
		const report = await repository.repair({ now });
		t.equal(report.quarantined.length, 1, name);
		t.same(await readBlocks(repository), expected, `${name}: serves what is good`);
		const block = expected.indexOf("error");
		const end = Math.min(content.length, (block + 1) * BLOCK);
		t.same(hits(report.remaining), block < 0 ? [] : [bytes("vm", block * BLOCK, end - block * BLOCK)], name);
		await repository.close();
	}
});

t.test("pages and extra files: what is good stays, what is lost is named", async (t) => {
	const path = await one(t);
	const pack = packOf(path, 2);
	const records = recordsOf(path, pack);
	const object = records.find(({ at }) => readFileSync(join(path, pack))[at + 4] === 3)!;
	flip(path, pack, object.at + 70);
	const repository = await open(t, path);
	const report = await repository.repair({ now });
	t.same(hits(report.remaining), [{ vm: "vm", disk: undefined, offset: undefined, length: undefined, file: "nvram" }]);
	t.ok((await readAll(repository, "vm")).equals(content));
	await repository.close();

	const other = await one(t);
	const meta = packOf(other, 2);
	flip(other, meta, recordsOf(other, meta)[0].at + 60);
	const hurt = await open(t, other);
	t.same(hits((await hurt.repair({ now })).remaining), [bytes("vm", 0, content.length)], "a lost root page: the disk");
	await hurt.backup(request("vm", new MemoryImage(content), 1));
	t.same((await hurt.check({ readData: true })).faults, []);
});

t.test("another copy in the repository heals, also one that the index forgot", async (t) => {
	// Two backups that know nothing of each other store the same block twice; a merge of the index keeps one place.
	const path = await one(t);
	const copy = join(folder(t), "copy");
	mkdirSync(copy);
	for (const name of filesOf(path)) {
		mkdirSync(dirname(join(copy, name)), { recursive: true });
		copyFileSync(join(path, name), join(copy, name));
	}
	for (const name of filesOf(copy).filter((name) => /^(packs|points|index)\//.test(name))) rmSync(join(copy, name));
	const twin = await open(t, copy);
	t.same((await twin.rebuild({})).packs, 0, "makes the folders that the copy lost");
	await twin.backup(request("twin", new MemoryImage(content.subarray(0, 3 * BLOCK))));
	await twin.close();
	for (const name of filesOf(copy).filter((name) => /^(packs|points)\//.test(name))) {
		mkdirSync(dirname(join(path, name)), { recursive: true });
		copyFileSync(join(copy, name), join(path, name));
	}
	const pack = packOf(path, 1);
	const records = recordsOf(path, pack);
	flip(path, pack, records[1].at + 500);
	flip(path, pack, records[4].at + 500);
	const repository = await open(t, path);
	// The index of `path` never heard of the copied pack: as after a merge.
	const plan = await repository.repair({ dryRun: true });
	t.same(hits(plan.remaining), [bytes("vm", 4 * BLOCK, BLOCK)], "the dry run knows of the copy");
	const report = await repository.repair({ now });
	t.same(hits(report.remaining), [bytes("vm", 4 * BLOCK, BLOCK)]);
	t.same(await readBlocks(repository), ["exact", "exact", "exact", "exact", "error", "exact", "exact"]);
	t.ok((await readAll(repository, "twin")).equals(content.subarray(0, 3 * BLOCK)));
});

t.test("many faults at once are all collected, and a disk that cannot read hides nothing", async (t) => {
	const path = await one(t);
	const [segment] = filesOf(path, "index");
	const writer = await open(t, path);
	const made: string[][] = [];
	for (const n of [2, 3]) {
		const before = new Set(filesOf(path));
		await writer.backup(request(`vm${n}`, new MemoryImage(new Dice(70 + n).bytes(2 * BLOCK)), n));
		made.push(filesOf(path).filter((name) => !before.has(name) && !name.startsWith("locks/")));
	}
	await writer.close();
	const data = (n: number) => made[n].find((name) => readFileSync(join(path, name)).subarray(0, 9).equals(DATA_PACK))!;
	const named = (n: number, folder: string) => made[n].find((name) => name.startsWith(folder))!;
	const [lost, unreadable] = [data(0), data(1)];
	const largest = packOf(path, 1);
	flip(path, largest, recordsOf(path, largest)[0].at + 99);
	rmSync(join(path, lost));
	faults.set([{ op: "pread", path: unreadable, error: "EIO", count: -1 }]);
	const point = `points/${"0".repeat(32)}`;
	copyFileSync(join(path, named(1, "points/")), join(path, point));
	truncateSync(join(path, segment), 300);
	writeFileSync(join(path, "index", "notes"), "x");
	const repository = await open(t, path);
	const { faults: found } = await repository.check({ readData: true });
	t.same(
		found.map(({ kind, file }) => `${kind} ${file}`).sort(),
		[
			`bad-index ${segment}`,
			`bad-point ${point}`,
			`bad-record ${largest}`,
			`bad-record ${unreadable}`,
			`missing-pack ${lost}`,
			"unknown-file index/notes",
			`unreadable-pack ${unreadable}`,
		].sort(),
	);
	t.same(
		hits(found).sort((a, b) => (a.vm < b.vm ? -1 : 1)),
		[bytes("vm", 0, BLOCK), bytes("vm2", 0, 2 * BLOCK), bytes("vm3", 0, 2 * BLOCK)],
		"each with what it hits",
	);
	const report = await repository.repair({ now });
	t.same(
		report.quarantined.map(({ good }) => good),
		largest < unreadable ? [6, 0] : [0, 6],
		"what cannot be read is moved, not lost",
	);
	faults.clear();
	const kept = `quarantine/${unreadable.split("/")[2]}`;
	t.same(report.remaining.map(({ kind }) => kind).sort(), ["missing-record", "unknown-file"]);
	t.notOk(existsSync(join(path, point)), "a damaged point is moved too");
	renameSync(join(path, kept), join(path, unreadable));
	t.ok((await readAll(repository, "vm3")).equals(new Dice(73).bytes(2 * BLOCK)), "moved back, it is used again");
});

t.test("an open disk goes on while its pack is moved", async (t) => {
	const path = await one(t);
	const pack = packOf(path, 1);
	flip(path, pack, recordsOf(path, pack)[5].at + 80);
	const reader = await open(t, path);
	const image = await reader.openDisk(await reader.resolve("vm"), "disk0");
	await image.read(0, Buffer.alloc(10));
	const repository = await open(t, path);
	await repository.repair({ now });
	for (const n of [0, 1, 2, 3, 4, 6]) {
		const got = Buffer.alloc(500);
		await image.read(n * BLOCK, got);
		if (!got.equals(content.subarray(n * BLOCK, n * BLOCK + 500))) t.fail(`block ${n}`);
	}
	await t.rejects(async () => image.read(5 * BLOCK, Buffer.alloc(10)), { code: "ECORRUPT" });
	await image.close();
});

t.test("waits for a backup that runs, and can be interrupted meanwhile", async (t) => {
	const path = await one(t);
	const fd = sys.open(join(path, "locks/repository"), 2);
	sys.lock(fd, "shared", 0, 1);
	const repository = await open(t, path);
	const ended = new AbortController();
	const repairing = repository.repair({ signal: ended.signal });
	setTimeout(() => ended.abort(), 50);
	await t.rejects(repairing, { code: "INTERRUPTED" });
	sys.close(fd);
	t.same((await repository.repair({})).remaining, []);
});

t.test("interrupted anywhere, it ends as such, and the next run does the rest", async (t) => {
	for (let stop = 1; ; stop += 3) {
		const path = await one(t);
		const pack = packOf(path, 1);
		flip(path, pack, recordsOf(path, pack)[0].at + 80);
		const repository = await open(t, path);
		const abort = new AbortController();
		let calls = 0;
		const progress = () => {
			if (++calls === stop) abort.abort();
		};
		const ended = await repository.repair({ now, progress, signal: abort.signal }).then(
			() => "done",
			(error) => error.code,
		);
		if (ended === "done" && calls < stop) break;
		if (ended !== "done") t.equal(ended, "INTERRUPTED", `at step ${stop}`);
		t.equal(hits((await repository.repair({ now })).remaining).length, 1);
		t.same((await readBlocks(repository)).filter((word) => word === "exact").length, 6);
		await repository.close();
	}
});

t.test("slices of the data: each record is read exactly once in a round", async (t) => {
	const path = await one(t);
	const repository = await open(t, path);
	const all = (await repository.check({ readData: true })).bytesRead;
	for (const parts of [2, 3, 7]) {
		let sum = 0;
		for (let n = 0; n < parts; n++)
			sum += (await repository.check({ readData: { from: n / parts, share: 1 / parts } })).bytesRead;
		t.equal(sum, all, `${parts} parts`);
	}
	const ends = (await repository.check({ readData: { from: 0.75, share: 0.5 } })).bytesRead;
	const middle = (await repository.check({ readData: { from: 0.25, share: 0.5 } })).bytesRead;
	t.equal(ends + middle, all, "wraps around");
	const pack = packOf(path, 1);
	flip(path, pack, recordsOf(path, pack)[0].at + 80);
	t.same((await repository.check({ readData: { from: 0.5, share: 0.5 } })).faults, []);
	t.equal((await repository.check({ readData: { from: 0, share: 0.5 } })).faults.length, 1);
});

t.test("a check can be interrupted", async (t) => {
	const repository = await open(t, await one(t));
	const abort = new AbortController();
	const checking = repository.check({ readData: true, signal: abort.signal, progress: () => abort.abort() });
	await t.rejects(checking, { code: "INTERRUPTED" });
});
