/**
 * Backups of changed blocks beside forget and prune. What such a backup shares with its base is not looked up, so it is
 * the pin on the base that keeps it; in plain repositories, and in encrypted ones with zstd.
 */
import t, { type Test } from "tap";
import type { Image } from "../../src/image/image.js";
import { type BackupRequest, openRepository, type Repository } from "../../src/repository/index.js";
import { BLOCK, Dice, encrypted, fresh, MemoryImage, MIB, PASSPHRASE, readAll, request, START } from "./helpers.js";
import { SlowImage } from "./slow-image.js";

const now = () => new Date(START + 86_400_000);
const prune = (repository: Repository) => repository.prune({ maxRewrite: { share: 1 }, now });
const forget = (repository: Repository, spec: string) =>
	repository.forget({ what: { specs: [spec] }, force: true, now });

const changed = (image: Image, since: string, minute: number): BackupRequest => ({
	...request("vm", image, minute),
	disks: [{ name: "disk0", image, changed: { since, extents: [{ offset: 6 * MIB, length: BLOCK }] } }],
});

/** The disk with one block of it changed. */
const next = (content: Buffer, seed: number): Buffer => {
	const copy = Buffer.from(content);
	new Dice(seed).bytes(BLOCK).copy(copy, 6 * MIB);
	return copy;
};

const intact = async (t: Test, repository: Repository, content: Buffer): Promise<void> => {
	t.same((await repository.check({ readData: true })).faults, []);
	t.ok((await readAll(repository, "vm@latest")).equals(content), "the new point is whole");
	const later = await openRepository(repository.path, PASSPHRASE);
	t.ok((await readAll(later, "vm@latest")).equals(content), "also for who opens the repository now");
	await later.close();
};

const KINDS: [string, (t: Test) => Promise<Repository>][] = [
	["plain", fresh],
	["encrypted, zstd", (t) => encrypted(t, "zstd")],
];

for (const [kind, make] of KINDS) {
	t.test(`${kind}: the base is forgotten, and prune rewrites its packs, while the backup runs`, async (t) => {
		const repository = await make(t);
		const oldest = new Dice(1).bytes(8 * MIB);
		const base = Buffer.concat([oldest.subarray(0, 2 * MIB), new Dice(2).bytes(6 * MIB)]);
		const { point: first } = await repository.backup(request("vm", new MemoryImage(oldest)));
		const { point: second } = await repository.backup(request("vm", new MemoryImage(base), 1));
		const slow = new SlowImage(next(base, 3));
		const backing = await openRepository(repository.path, PASSPHRASE);
		const running = backing.backup(changed(slow, second.id, 2));
		await slow.half;
		t.match(await forget(repository, `vm@${first.id}`), { removed: 1 }, "nobody needs the oldest");
		t.match(
			await forget(repository, `vm@${second.id}`),
			{ removed: 0, points: [{ keep: true, reasons: ["in use by a reader"] }] },
			"the base is pinned",
		);
		const beside = await prune(repository);
		t.match(beside, { rewrite: { packs: 1 }, deleted: 0, waiting: { backups: 1 } }, "the oldest's pack, for most");
		t.ok(beside.rewritten > 0);
		slow.go();
		t.equal((await running).disks[0].read, BLOCK, "the rest was shared without being looked up");
		t.match(await forget(repository, `vm@${second.id}`), { removed: 1 }, "the base goes when the backup has ended");
		const after = await prune(repository);
		t.ok(after.deleted > 0 && after.waiting.packs === 0, `${after.deleted} packs deleted`);
		await backing.close();
		await intact(t, repository, slow.content);
		t.match(await prune(repository), { deleted: 0, released: 0, waiting: { packs: 0 } });
	});

	t.test(`${kind}: the base itself lies in condemned packs`, async (t) => {
		const repository = await make(t);
		const content = new Dice(4).bytes(8 * MIB);
		await repository.backup(request("old", new MemoryImage(content)));
		await repository.backup(request("other", new MemoryImage(new Dice(5).bytes(BLOCK)), 1));
		// A backup that began before its blocks were condemned, and counts on them.
		const before = new SlowImage(content);
		const backing = await openRepository(repository.path, PASSPHRASE);
		const waitedFor = backing.backup(request("vm", before, 2));
		await before.half;
		await forget(repository, "old");
		t.match(await prune(repository), { deleted: 0, waiting: { packs: 2, backups: 1 } });
		before.go();
		const { point: base, disks } = await waitedFor;
		t.equal(disks[0].new, 0, "nothing of it was stored again");
		// This one begins after, and its base has what it does not look up in these packs only.
		const slow = new SlowImage(next(content, 6));
		const running = backing.backup(changed(slow, base.id, 3));
		await slow.half;
		t.match(await forget(repository, `vm@${base.id}`), { removed: 0 });
		// The map of the base is needed, too, and is in a pack of those condemned.
		t.match(await prune(repository), { deleted: 0, released: 2, waiting: { packs: 0 } }, "they are needed after all");
		slow.go();
		t.equal((await running).disks[0].new, BLOCK);
		t.match(await forget(repository, `vm@${base.id}`), { removed: 1 });
		await prune(repository);
		await backing.close();
		await intact(t, repository, slow.content);
	});

	t.test(`${kind}: a base that is forgotten before its turn is refused, and nothing is kept`, async (t) => {
		const repository = await make(t);
		const content = new Dice(7).bytes(8 * MIB);
		const { point: base } = await repository.backup(request("vm", new MemoryImage(content)));
		await repository.backup(request("vm", new MemoryImage(next(content, 8)), 1));
		const slow = new SlowImage(new Dice(9).bytes(8 * MIB));
		const backing = await openRepository(repository.path, PASSPHRASE);
		const own = changed(new MemoryImage(content), base.id, 2);
		const running = backing.backup({ ...own, disks: [{ name: "first", image: slow }, ...own.disks] });
		await slow.half;
		t.match(await forget(repository, `vm@${base.id}`), { removed: 1 });
		slow.go();
		await t.rejects(running, { code: "UNKNOWN_POINT", message: /is gone/ });
		await backing.close();
		await prune(repository);
		t.equal((await repository.points()).length, 1);
		await intact(t, repository, next(content, 8));
	});
}
