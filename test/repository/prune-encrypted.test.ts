/** Forget and prune where records are encrypted and compressed with zstd: what moves is encrypted anew. */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { openRepository, type Repository } from "../../src/repository/index.js";
import { BLOCK, Dice, encrypted, KIB, MemoryImage, PASSPHRASE, readAll, request, START } from "./helpers.js";

const now = () => new Date(START + 86_400_000);
const prune = (repository: Repository) => repository.prune({ maxRewrite: { share: 1 }, now });
const files = (repository: Repository, folder: string) => readdirSync(join(repository.path, folder));
const packs = (repository: Repository) =>
	files(repository, "packs").flatMap((xx) => files(repository, `packs/${xx}`).map((id) => `packs/${xx}/${id}`));

/** Bytes that zstd makes smaller, in blocks that differ. */
const words = (seed: number, length: number): Buffer => {
	const dice = new Dice(seed);
	const bytes = Buffer.alloc(length);
	for (let at = 0; at < length; at += 8) bytes.write(String(dice.below(10_000_000)), at, Math.min(8, length - at));
	return bytes;
};

t.test("packs are rewritten, and every byte is verified after", async (t) => {
	const repository = await encrypted(t, "zstd:5");
	const shared = words(1, 6 * BLOCK);
	const old = Buffer.concat([shared, words(2, 30 * BLOCK + 300)]);
	const kept = Buffer.concat([shared, words(3, 3 * BLOCK + 777)]);
	const nvram = new Dice(4).bytes(2000 * KIB);
	const { point } = await repository.backup(request("vm", new MemoryImage(old)));
	const second = await repository.backup(
		request("vm", new MemoryImage(kept), 1, { files: [{ name: "nvram", content: nvram }] }),
	);
	t.ok(second.disks[0].stored < second.disks[0].new * 0.7, "it is compressed");
	const image = await repository.openDisk(second.point, "disk0");
	t.match(await repository.forget({ what: { specs: [`vm@${point.id}`] }, now }), { removed: 1 });
	const before = new Set(packs(repository));
	const report = await prune(repository);
	t.match(report, { rewrite: { packs: 1 }, deleted: 2, damaged: [], waiting: { packs: 0 } });
	t.equal(report.rewritten, report.rewrite.live, "compressed as it was");
	t.ok(
		packs(repository).some((name) => !before.has(name)),
		"what was live is in a new pack",
	);
	t.same((await repository.check({ readData: true })).faults, []);
	const bytes = Buffer.alloc(kept.length);
	await image.read(0, bytes);
	await image.close();
	t.ok(bytes.equals(kept), "a disk that was open all the time finds what moved");
	const other = await openRepository(repository.path, PASSPHRASE);
	t.ok((await readAll(other, "vm")).equals(kept));
	t.ok((await other.extraFile(second.point, "nvram")).equals(nvram));
	await other.close();
	const again = await repository.backup(request("vm", new MemoryImage(old), 2));
	t.equal(again.disks[0].new, 30 * BLOCK + 300, "what went is stored again, what moved is found");
	t.match(await prune(repository), { deleted: 0, rewritten: 0, left: 0 });
	t.same((await repository.check({ readData: true })).faults, []);
});

t.test("a hold says nothing to who has only the files, and one that was changed keeps every point", async (t) => {
	const repository = await encrypted(t);
	const point = (await repository.backup(request("secret-vm", new MemoryImage(words(5, BLOCK))))).point;
	const use = { name: "secret-vm-test", host: "host1", state: "/var/lib/springback" };
	const hold = {
		id: "ab".repeat(16),
		kind: "session",
		since: "2026-11-21T00:00:00Z",
		reason: "",
		session: use,
	} as const;
	await repository.hold(point, hold);
	const file = join(repository.path, "holds", hold.id);
	const first = readFileSync(file);
	t.notOk(first.includes("secret-vm") || first.includes("host1") || first.includes(point.id));
	t.match(await repository.holds(), [{ ...hold, point: point.id }]);
	const [taken] = await repository.holds();
	await repository.release(taken);
	await repository.hold(point, hold);
	const second = readFileSync(file);
	t.notOk(second.subarray(0, 16).equals(first.subarray(0, 16)), "the same name, another key");
	second[second.length - 1] ^= 1;
	writeFileSync(file, second);
	const forget = () => repository.forget({ what: { specs: ["secret-vm"] }, force: true, now });
	await t.rejects(forget(), { code: "DAMAGED", message: /nobody knows which restore point it holds/ });
	t.match((await repository.check({ readData: false })).faults, [{ kind: "bad-hold" }]);
	writeFileSync(join(repository.path, "holds", "cd".repeat(16)), first);
	writeFileSync(file, first);
	t.match(
		(await repository.check({ readData: false })).faults,
		[{ file: `holds/${"cd".repeat(16)}` }],
		"nor under another name",
	);
});
