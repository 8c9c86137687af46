/** Forget and prune: what goes, what stays, and what the figures say. */
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { sys } from "../../native/index.js";
import type { PruneOptions, PruneReport, Repository } from "../../src/repository/index.js";
import { openRepository } from "../../src/repository/index.js";
import { BLOCK, Dice, fresh, KIB, MemoryImage, open, readAll, request, START } from "./helpers.js";

const now = () => new Date(START + 86_400_000);
const prune = (repository: Repository, more: Partial<PruneOptions> = {}): Promise<PruneReport> =>
	repository.prune({ now, ...more });
const forget = (repository: Repository, ...specs: string[]) => repository.forget({ what: { specs }, now });
const clean = async (repository: Repository) => (await repository.check({ readData: true })).faults;
const bytesIn = (repository: Repository): number =>
	Number(
		execFileSync("du", ["-sb", join(repository.path, "packs")])
			.toString()
			.split("\t")[0],
	);
const files = (repository: Repository, folder: string) => readdirSync(join(repository.path, folder));

/** Two disks that share half: the first's other half is dead once its point is gone. */
const shared = new Dice(1).bytes(4 * BLOCK);
const first = Buffer.concat([shared, new Dice(2).bytes(5 * BLOCK + 300)]);
const second = Buffer.concat([shared, new Dice(3).bytes(3 * BLOCK + 777)]);

t.test("prune of a repository where all is needed deletes nothing", async (t) => {
	const repository = await fresh(t);
	t.match(await prune(repository), { packs: 0, freed: 0, liveRecords: 0 }, "an empty one too");
	await repository.backup(request("vm", new MemoryImage(first)));
	await repository.backup(request("vm", new MemoryImage(second), 1));
	const before = bytesIn(repository);
	const report = await prune(repository, { maxRewrite: { share: 1 } });
	t.match(report, { freed: 0, rewritten: 0, deleted: 0, left: 0, points: 2, waiting: { packs: 0, backups: 0 } });
	t.equal(report.liveRecords, 4 + 6 + 4 + 2, "blocks, and one page for each disk");
	t.equal(bytesIn(repository), before);
});

t.test("packs that nothing needs go at once; shared blocks stay", async (t) => {
	const repository = await fresh(t);
	await repository.backup(request("gone", new MemoryImage(new Dice(9).bytes(6 * BLOCK))));
	await repository.backup(request("vm", new MemoryImage(second), 1));
	const { id } = await repository.resolve("gone");
	t.match(
		await forget(repository, "gone"),
		{ removed: 0, refused: [{ vm: "gone", doubts: ["its last restore point would go"], forced: false }] },
		"the last point of a VM is not removed by naming it",
	);
	const removed = await repository.forget({ what: { specs: ["gone"] }, force: true, now });
	t.match(removed, { removed: 1, points: [{ id, keep: false, removed: true }] });
	const dry = await prune(repository, { dryRun: true });
	t.match(dry, { dead: { packs: 2 }, freed: 0, deleted: 0 });
	const before = bytesIn(repository);
	t.equal(files(repository, "condemned").length, 0, "a dry run changes nothing");
	const report = await prune(repository);
	t.match(report, { dead: { packs: 2, bytes: dry.dead.bytes }, freed: dry.dead.bytes, deleted: 2, rewritten: 0 });
	t.equal(before - bytesIn(repository), dry.dead.bytes);
	t.same(files(repository, "condemned"), [], "nothing is left to do");
	t.same(await clean(repository), []);
	t.ok((await readAll(repository, "vm")).equals(second));
	t.match(await prune(repository), { deleted: 0, freed: 0 });
});

t.test("packs that are mostly dead are rewritten, within the bound", async (t) => {
	const repository = await fresh(t);
	const { point } = await repository.backup(
		request("vm", new MemoryImage(first), 0, { files: [{ name: "old", content: new Dice(5).bytes(3 * KIB) }] }),
	);
	const nvram = new Dice(6).bytes(2000 * KIB);
	await repository.backup(request("vm", new MemoryImage(second), 1, { files: [{ name: "nvram", content: nvram }] }));
	const image = await repository.openDisk(await repository.resolve("vm"), "disk0");
	await forget(repository, `vm@${point.id}`);
	const bounded = await prune(repository, { maxRewrite: { bytes: 1000 } });
	t.match(bounded, { rewritten: 0, dead: { packs: 1 }, deleted: 1, rewrite: { packs: 0 } }, "only the old map goes");
	t.ok(bounded.left > 5 * BLOCK, `${bounded.left} dead bytes are left`);
	const report = await prune(repository, { maxRewrite: { bytes: 100 * BLOCK } });
	t.match(report, { dead: { packs: 0 }, rewrite: { packs: 1 }, deleted: 1 });
	t.equal(report.rewritten, report.rewrite.live, "what was live was copied");
	t.ok(report.freed > report.rewritten + 5 * BLOCK, `${report.freed} freed, ${report.rewritten} copied`);
	t.same(await clean(repository), []);
	const bytes = Buffer.alloc(second.length);
	await image.read(0, bytes);
	t.ok(bytes.equals(second), "a disk that was open all the time finds what moved");
	await image.close();
	t.ok((await repository.extraFile(await repository.resolve("vm"), "nvram")).equals(nvram));
	const other = await openRepository(repository.path);
	t.ok((await readAll(other, "vm")).equals(second), "and so does a process that comes later");
	await other.close();
	t.match(await prune(repository, { maxRewrite: { share: 1 } }), { deleted: 0, rewritten: 0, left: 0 });
});

t.test("a backup after prune stores again what went", async (t) => {
	const repository = await fresh(t);
	const { point } = await repository.backup(request("vm", new MemoryImage(first)));
	await repository.backup(request("vm", new MemoryImage(second), 1));
	await forget(repository, `vm@${point.id}`);
	await prune(repository, { maxRewrite: { share: 1 } });
	const { disks } = await repository.backup(request("vm", new MemoryImage(first), 2));
	t.equal(disks[0].new, 5 * BLOCK + 300);
	t.ok((await readAll(repository, "vm")).equals(first));
	t.same(await clean(repository), []);
});

t.test("many backups, many merges of the index, and prune between", async (t) => {
	const repository = await fresh(t);
	const dice = new Dice(77);
	const disk = dice.bytes(20 * BLOCK);
	const contents: Buffer[] = [];
	for (let n = 0; n < 24; n++) {
		dice.bytes(2 * BLOCK).copy(disk, dice.below(18) * BLOCK);
		contents.push(Buffer.from(disk));
		await repository.backup(request("vm", new MemoryImage(Buffer.from(disk)), n));
		if (n % 6 !== 5) continue;
		const points = await repository.points();
		await forget(repository, ...points.slice(0, 3).map(({ id }) => `vm@${id}`));
		await prune(repository, { maxRewrite: { share: 0.5 } });
		t.same(await clean(repository), []);
	}
	const points = await repository.points();
	t.equal(points.length, 12);
	for (const { id, time } of points) {
		const n = (Date.parse(time) - Math.floor(START / 1000) * 1000) / 60_000;
		t.ok((await readAll(repository, `vm@${id}`)).equals(contents[n]), `point ${n}`);
	}
});

/** Backups of the same disk by two processes that cannot know of each other's blocks: the packs of the first are hidden from the second. */
const storedTwice = async (repository: Repository): Promise<void> => {
	await repository.backup(request("a", new MemoryImage(first)));
	const other = await openRepository(repository.path);
	const packs = new Map<string, Buffer>();
	for (const xx of files(repository, "packs"))
		for (const id of files(repository, `packs/${xx}`))
			packs.set(`packs/${xx}/${id}`, readFileSync(join(repository.path, `packs/${xx}/${id}`)));
	for (const name of packs.keys()) sys.unlink(join(repository.path, name));
	await other.backup(request("b", new MemoryImage(first)));
	for (const [name, content] of packs) writeFileSync(join(repository.path, name), content);
	await other.close();
};

t.test("blocks that two backups stored twice are kept once", async (t) => {
	const repository = await fresh(t);
	await storedTwice(repository);
	const before = bytesIn(repository);
	const report = await prune(await open(t, repository.path));
	t.match(report, { deleted: 2, rewritten: 0 });
	t.ok(bytesIn(repository) < before * 0.6, `${before} to ${bytesIn(repository)}`);
	t.same(await clean(repository), []);
	for (const vm of ["a", "b"]) t.ok((await readAll(await open(t, repository.path), vm)).equals(first));
});

t.test("the same where the index names one place only, whichever that is", async (t) => {
	// Ids are random, so in about half of the rounds it is the place that prune does not keep.
	for (let round = 0; round < 8; round++) {
		const repository = await fresh(t);
		await storedTwice(repository);
		const later = await open(t, repository.path);
		for (const n of [1, 2]) await later.backup(request("more", new MemoryImage(new Dice(50 + n).bytes(BLOCK)), n));
		t.equal(files(repository, "index").length, 1, "segments were merged");
		t.match(await prune(await open(t, repository.path)), { deleted: 2, released: 0, rewritten: 0 });
		t.same(await clean(repository), []);
		for (const vm of ["a", "b"]) t.ok((await readAll(await open(t, repository.path), vm)).equals(first));
	}
});

t.test("damage: prune deletes nothing it cannot judge", async (t) => {
	const repository = await fresh(t);
	const { point } = await repository.backup(request("vm", new MemoryImage(first)));
	const { point: kept } = await repository.backup(request("vm", new MemoryImage(second), 1));
	await forget(repository, `vm@${point.id}`);
	const name = join(repository.path, "points", kept.id);
	const good = readFileSync(name);
	const bad = Buffer.from(good);
	bad[good.length - 1] ^= 1;
	writeFileSync(name, bad);
	const before = bytesIn(repository);
	await t.rejects(prune(repository), { code: "DAMAGED", message: /restore point .* is damaged/ });
	writeFileSync(name, good);
	const metaPack = files(repository, "packs")
		.flatMap((xx) => files(repository, `packs/${xx}`).map((id) => join(repository.path, "packs", xx, id)))
		.filter((path) => readFileSync(path)[8] === 2)
		.sort((a, b) => statSync(a).mtimeMs - statSync(b).mtimeMs)[1];
	const content = readFileSync(metaPack);
	const hurt = Buffer.from(content);
	hurt[160] ^= 1;
	writeFileSync(metaPack, hurt);
	await t.rejects(prune(await open(t, repository.path)), { code: "DAMAGED", message: /block map of disk0 of vm/ });
	t.equal(bytesIn(repository), before);
	writeFileSync(metaPack, content);
	// A live block of a pack that is to be rewritten is unreadable: the pack stays as it is.
	const dataPack = files(repository, "packs")
		.flatMap((xx) => files(repository, `packs/${xx}`).map((id) => join(repository.path, "packs", xx, id)))
		.filter((path) => readFileSync(path)[8] === 1)
		.sort((a, b) => statSync(b).size - statSync(a).size)[0];
	const data = readFileSync(dataPack);
	data[200] ^= 1;
	writeFileSync(dataPack, data);
	const report = await prune(await open(t, repository.path), { maxRewrite: { share: 1 } });
	t.equal(report.damaged.length, 1);
	t.ok(files(repository, "packs").some((xx) => files(repository, `packs/${xx}`).some((id) => dataPack.endsWith(id))));
});
