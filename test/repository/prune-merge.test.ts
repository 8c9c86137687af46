/** Prune puts small packs together: what many small backups leave must not become a pack for each of them. */
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { openRepository, type Repository } from "../../src/repository/index.js";
import { planPrune } from "../../src/repository/prune-plan.js";
import type { PackFacts } from "../../src/repository/prune-survey.js";
import { BLOCK, Dice, encrypted, fresh, MemoryImage, MIB, PASSPHRASE, readAll, request, START } from "./helpers.js";

const now = () => new Date(START + 86_400_000);
const packSizes = (repository: Repository): number[] =>
	readdirSync(join(repository.path, "packs")).flatMap((xx) =>
		readdirSync(join(repository.path, "packs", xx)).map((id) => statSync(join(repository.path, "packs", xx, id)).size),
	);

/** 20 backups of one disk, a block or two new in each. */
const manyBackups = async (repository: Repository): Promise<Buffer[]> => {
	const dice = new Dice(7);
	const disk = dice.bytes(30 * BLOCK);
	const contents: Buffer[] = [];
	for (let n = 0; n < 20; n++) {
		dice.bytes(BLOCK + 1000).copy(disk, n * BLOCK);
		contents.push(Buffer.from(disk));
		await repository.backup(request("vm", new MemoryImage(contents[n]), n));
	}
	return contents;
};

for (const kind of ["plain", "encrypted"] as const)
	t.test(`many small backups, ${kind}: few packs are left, and every point is what it was`, async (t) => {
		const repository = kind === "plain" ? await fresh(t) : await encrypted(t);
		const contents = await manyBackups(repository);
		const image = await repository.openDisk(await repository.resolve("vm"), "disk0");
		const before = packSizes(repository);
		t.equal(before.length, 40);
		const dry = await repository.prune({ dryRun: true, now });
		t.match(dry, { dead: { packs: 0 }, rewrite: { packs: 0 }, deleted: 0 });
		t.ok(dry.merge.packs > 30, `${dry.merge.packs} would be merged`);
		t.equal(packSizes(repository).length, 40, "a dry run changes nothing");
		const report = await repository.prune({ now });
		t.match(report, { merge: dry.merge, deleted: dry.merge.packs, released: 0, waiting: { packs: 0 } });
		t.equal(report.rewritten, report.merge.live);
		const after = packSizes(repository);
		t.ok(after.length <= 6, `${after.length} packs are left`);
		t.same((await repository.check({ readData: true })).faults, []);
		const last = Buffer.alloc(image.size);
		await image.read(0, last);
		t.ok(last.equals(contents[19]), "a disk that was open all the time");
		await image.close();
		const other = await openRepository(repository.path, PASSPHRASE);
		for (const point of await other.points()) {
			const n = Math.round((Date.parse(point.time) - START) / 60_000);
			if (!(await readAll(other, `vm@${point.id}`)).equals(contents[n])) t.fail(`point ${n} differs`);
		}
		await other.close();
		t.match(await repository.prune({ now }), { merge: { packs: 0 }, rewritten: 0, deleted: 0 }, "and that is that");
	});

t.test("merging stays within the bound, what frees space goes first", async (t) => {
	const repository = await fresh(t);
	await manyBackups(repository);
	t.match(await repository.prune({ now, maxRewrite: { bytes: 0 } }), { merge: { packs: 0 }, deleted: 0 });
	const bounded = await repository.prune({ now, maxRewrite: { bytes: 8 * BLOCK } });
	t.ok(bounded.merge.packs > 2 && bounded.rewritten <= 8 * BLOCK, `${bounded.merge.packs} packs, ${bounded.rewritten}`);
	t.same((await repository.check({ readData: true })).faults, []);
	let rounds = 1;
	for (; rounds < 20 && (await repository.prune({ now, maxRewrite: { bytes: MIB } })).merge.packs > 0; rounds++);
	t.ok(rounds > 1 && rounds < 20, `done after ${rounds} runs`);
	t.ok(packSizes(repository).length < 20);
	t.same((await repository.check({ readData: true })).faults, []);
});

let ids = 0;
const pack = (live: number, total = live, kind = 1): PackFacts => ({
	...{ id: String(ids++).padStart(32, "0"), size: total + 200, kind, total, live },
});
const plan = (packs: PackFacts[], bound = 1024 * MIB) => planPrune({ packs, damaged: [] }, bound);

t.test("the plan", async (t) => {
	t.same(plan([pack(BLOCK), pack(BLOCK), pack(BLOCK)]).merge, [], "three are no reason");
	t.equal(plan([1, 2, 3, 4].map(() => pack(BLOCK))).merge.length, 4);
	t.same(plan([1, 2, 3, 4].map((n) => pack(BLOCK, BLOCK, (n % 2) + 1))).merge, [], "kinds stay apart");
	t.same(plan([1, 2, 3, 4].map(() => pack(17 * MIB))).merge, [], "large ones stay");
	const big = [1, 2, 3].map(() => pack(5 * MIB));
	t.equal(plan([...big, ...[1, 2, 3, 4].map(() => pack(2 * MIB))]).merge.length, 7, "what is merged counts as one");
	t.equal(plan([...big, ...[1, 2, 3, 4].map(() => pack(BLOCK))]).merge.length, 4, "but only among its like");
	const mixed = plan([pack(3 * MIB, 10 * MIB), ...[1, 2, 3, 4].map(() => pack(BLOCK))], 3 * MIB + 2 * BLOCK);
	t.match(mixed, { rewrite: { length: 1 }, merge: { length: 2 } }, "within what is left of the bound");
	t.match(
		plan(
			[1, 2, 3, 4].map(() => pack(BLOCK)),
			BLOCK,
		),
		{ merge: [] },
		"one alone is not merged",
	);
});

t.test("each byte is copied a few times only, however many backups and prunes there are", async (t) => {
	// A pack of 256 KiB a night, and a prune after each: what is copied, in total, per byte stored.
	let packs: PackFacts[] = [];
	let copied = 0;
	for (let night = 0; night < 1000; night++) {
		packs.push(pack(4 * BLOCK));
		const { merge } = plan(packs);
		const sum = merge.reduce((bytes, { live }) => bytes + live, 0);
		copied += sum;
		packs = packs.filter((one) => !merge.includes(one));
		if (sum > 0) packs.push(pack(sum));
	}
	const share = copied / (1000 * 4 * BLOCK);
	t.ok(share <= 4, `${share.toFixed(2)} copies of each byte`);
	t.ok(packs.length <= 1000 / 64 + 12, `${packs.length} packs`);
});
