/** Bit flips, lost packs, lost and damaged segments: found by check, never served, rebuilt where that is possible. */
import { cpSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { faults } from "../../native/index.js";
import { openRepository, type Repository } from "../../src/repository/index.js";
import { BLOCK, Dice, filesOf, folder, fresh, MemoryImage, MIB, open, readAll, request } from "./helpers.js";

/** Bytes that compress well, so that packs are short. */
const plain = (length: number, seed: number): Buffer => {
	const pattern = new Dice(seed).bytes(64);
	return Buffer.alloc(length, pattern);
};

t.afterEach(() => faults.clear());

t.test("a flipped bit anywhere is found, and never served", { timeout: 300_000 }, async (t) => {
	const repository = await fresh(t);
	const one = Buffer.concat([plain(BLOCK, 1), plain(BLOCK, 2), plain(1000, 3)]);
	const two = Buffer.concat([plain(BLOCK, 1), plain(BLOCK, 4), plain(1000, 3)]);
	const nvram = plain(3000, 5);
	await repository.backup(request("vm", new MemoryImage(one), 0, { files: [{ name: "nvram", content: nvram }] }));
	await repository.backup(request("vm", new MemoryImage(two), 1));
	const points = await repository.points();
	await repository.close();
	const broken = join(folder(t), "broken");
	let flips = 0;
	for (const file of filesOf(repository.path).filter((name) => name !== "springback.json")) {
		const size = statSync(join(repository.path, file)).size;
		for (let at = 0; at < size; at += size > 1500 ? 89 : 17) {
			cpSync(repository.path, broken, { recursive: true });
			const bytes = readFileSync(join(broken, file));
			bytes[at] ^= 1 << (at % 8);
			writeFileSync(join(broken, file), bytes);
			flips += 1;
			const opened = await openRepository(broken);
			const report = await opened.check({ readData: true });
			if (!report.faults.some((fault) => fault.file === file))
				t.fail(`${file} bit ${at}: ${JSON.stringify(report.faults)}`);
			for (const [n, { id }] of points.entries()) {
				const got = await readAll(opened, `vm@${id}`).catch((error: Error) => error);
				if (Buffer.isBuffer(got) && !got.equals(n === 0 ? one : two)) t.fail(`${file} bit ${at}: wrong bytes served`);
			}
			const extra = await opened.extraFile(points[0], "nvram").catch((error: Error) => error);
			if (Buffer.isBuffer(extra) && !extra.equals(nvram)) t.fail(`${file} bit ${at}: wrong file served`);
			await opened.close();
			rmSync(broken, { recursive: true });
		}
	}
	t.ok(flips > 150, `${flips} flips`);
});

const packsOf = (repository: Repository): string[] => filesOf(repository.path, "packs");

t.test("a lost pack: reads fail, check says what is hit, the next backup heals", async (t) => {
	const repository = await fresh(t);
	const content = new Dice(6).bytes(4 * BLOCK);
	const { point } = await repository.backup(request("vm", new MemoryImage(content)));
	await repository.close();
	const data = packsOf(repository).find((name) => statSync(join(repository.path, name)).size > 4 * BLOCK)!;
	rmSync(join(repository.path, data));
	const again = await open(t, repository.path);
	const image = await again.openDisk(point, "disk0");
	await t.rejects(async () => image.read(BLOCK, Buffer.alloc(5)), {
		code: "ECORRUPT",
		message: /vm@.*disk0 at offset 65536/,
	});
	const { faults: found } = await again.check({ readData: false });
	t.same(found, [
		{
			kind: "missing-pack",
			file: data,
			message: `${data} is missing`,
			hits: [{ vm: "vm", point: point.id, disk: "disk0", offset: 0, length: 4 * BLOCK }],
		},
	]);
	const { disks } = await again.backup(request("vm", new MemoryImage(content), 1));
	t.equal(disks[0].new, 4 * BLOCK, "stored again");
	const got = Buffer.alloc(4 * BLOCK);
	await image.read(0, got);
	t.ok(got.equals(content), "the old point, open all the time, is whole again");
});

t.test("lost index segments are rebuilt from packs", async (t) => {
	const repository = await fresh(t);
	const content = new Dice(7).bytes(4 * MIB);
	await repository.backup(request("vm", new MemoryImage(content)));
	await repository.close();
	const index = join(repository.path, "index");
	for (const name of readdirSync(index)) rmSync(join(index, name));
	const writable = await open(t, repository.path);
	faults.set([{ op: "open", path: `${repository.path}/tmp`, error: "EROFS", count: -1 }]);
	t.ok((await readAll(writable, "vm")).equals(content), "in memory where nothing can be written");
	t.same(readdirSync(index), []);
	faults.clear();
	const later = await open(t, repository.path);
	t.ok((await readAll(later, "vm")).equals(content));
	t.equal(readdirSync(index).length, 1, "and on disk where it can");
	const { disks } = await later.backup(request("vm", new MemoryImage(content), 1));
	t.equal(disks[0].new, 0);
	t.same((await later.check({ readData: true })).faults, []);
});

t.test("a damaged segment is replaced", async (t) => {
	const repository = await fresh(t);
	const content = new Dice(8).bytes(2 * MIB);
	await repository.backup(request("vm", new MemoryImage(content)));
	await repository.close();
	const [segment] = readdirSync(join(repository.path, "index"));
	for (const at of [5, 40, 5000, -5]) {
		const file = join(repository.path, "index", readdirSync(join(repository.path, "index"))[0]);
		const bytes = readFileSync(file);
		bytes[at < 0 ? bytes.length + at : Math.min(at, bytes.length - 200)] ^= 4;
		writeFileSync(file, bytes);
		const again = await openRepository(repository.path);
		t.ok((await readAll(again, "vm")).equals(content), `byte ${at}`);
		await again.backup(request("vm", new MemoryImage(content), 1));
		t.same((await again.check({ readData: true })).faults, []);
		await again.close();
	}
	t.notOk(readdirSync(join(repository.path, "index")).includes(segment));
});

t.test("a pack whose footer is damaged is rebuilt record by record", async (t) => {
	const repository = await fresh(t);
	const content = new Dice(9).bytes(MIB);
	await repository.backup(request("vm", new MemoryImage(content)));
	await repository.close();
	for (const name of readdirSync(join(repository.path, "index"))) rmSync(join(repository.path, "index", name));
	for (const name of packsOf(repository)) {
		const bytes = readFileSync(join(repository.path, name));
		bytes[bytes.length - 70] ^= 1;
		writeFileSync(join(repository.path, name), bytes);
	}
	const again = await open(t, repository.path);
	t.ok((await readAll(again, "vm")).equals(content));
	t.same(
		(await again.check({ readData: true })).faults.map(({ kind }) => kind),
		["bad-pack", "bad-pack"],
	);
});

t.test("what the disk cannot read stops neither readers of the rest nor backups", async (t) => {
	const repository = await fresh(t);
	const [good, lost] = [new Dice(21).bytes(2 * BLOCK), new Dice(22).bytes(2 * BLOCK)];
	await repository.backup(request("good", new MemoryImage(good)));
	const before = new Set(packsOf(repository));
	await repository.backup(request("lost", new MemoryImage(lost), 1));
	await repository.close();
	const bad = packsOf(repository).filter((name) => !before.has(name));
	const [segment] = readdirSync(join(repository.path, "index"));
	const fail = [...bad, `index/${segment}`].map((path) => ({ op: "pread", path, error: "EIO", count: -1 }));
	faults.set(fail);
	const again = await open(t, repository.path);
	t.ok((await readAll(again, "good")).equals(good));
	await t.rejects(readAll(again, "lost"), { name: /Error/ });
	const report = await again.check({ readData: true });
	for (const file of bad)
		t.ok(
			report.faults.some((fault) => fault.kind === "unreadable-pack" && fault.file === file),
			file,
		);
	t.ok(report.faults.some(({ hits }) => hits.some(({ vm }) => vm === "lost")));
	t.notOk(report.faults.some(({ hits }) => hits.some(({ vm }) => vm === "good")));
	await again.backup(request("new", new MemoryImage(good), 2));
	t.ok((await readAll(again, "new")).equals(good));
});

t.test("strange files are reported, temporary ones are not", async (t) => {
	const repository = await fresh(t);
	await repository.backup(request("vm", new MemoryImage(plain(BLOCK, 1))));
	for (const name of ["points/notes.txt", "index/x", "tmp/0123-1"]) writeFileSync(join(repository.path, name), "x");
	const report = await repository.check({ readData: false });
	t.same(report.faults.map(({ kind, file }) => `${kind} ${file}`).sort(), [
		"unknown-file index/x",
		"unknown-file points/notes.txt",
	]);
	await repository.backup(request("vm", new MemoryImage(plain(BLOCK, 1)), 1));
	t.same(readdirSync(join(repository.path, "tmp")), [], "swept by the next writer");
});
