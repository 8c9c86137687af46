/**
 * Repair beside others. It waits for backups, and they for it: one that runs may count on a pack that repair would move aside.
 * Prune and repair do not wait for each other: both take long, so whoever comes second is told.
 */
import { constants } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { sys } from "../../native/index.js";
import { openRepository, type Repository } from "../../src/repository/index.js";
import { flip, packOf, recordsOf } from "./damage-lab.js";
import { BLOCK, Dice, fresh, MemoryImage, MIB, open, readAll, request, START } from "./helpers.js";
import { SlowImage } from "./slow-image.js";

t.test("a running backup keeps repair out until it ends", async (t) => {
	const repository = await fresh(t);
	const content = new Dice(1).bytes(8 * MIB);
	await repository.backup(request("old", new MemoryImage(content)));
	const slow = new SlowImage(content);
	const backing = await openRepository(repository.path);
	const running = backing.backup(request("new", slow, 1));
	await slow.half;
	const dry = await repository.repair({ dryRun: true });
	t.same(dry.remaining, [], "a dry run waits for nobody");
	await t.rejects(repository.repair({ signal: AbortSignal.timeout(500) }), { code: "INTERRUPTED" }, "it waited");
	let ended = false;
	const repair = repository.repair({}).finally(() => {
		ended = true;
	});
	await sleep(500);
	t.notOk(ended);
	slow.go();
	t.equal((await running).disks[0].new, 0, "it counts on what is there");
	t.match(await repair, { quarantined: [], remaining: [] });
	await backing.close();
	t.ok((await readAll(repository, "new")).equals(content));
});

const now = () => new Date(START + 86_400_000);
const outcome = (work: Promise<unknown>): Promise<{ code: string; message: string }> =>
	work.then(
		() => ({ code: "done", message: "" }),
		(error) => error,
	);

/** Starts `second` while `first` runs: on its first progress. Resolves with what became of both. */
const beside = async (
	first: (progress: () => void) => Promise<unknown>,
	second: () => Promise<unknown>,
): Promise<{ code: string; message: string }[]> => {
	let other: Promise<{ code: string; message: string }> | undefined;
	const done = await outcome(
		first(() => {
			other ??= outcome(second());
		}),
	);
	return [done, await (other ?? Promise.reject(new Error("the first was done before it said anything")))];
};

/** Two points, one of them removed, and a damaged block: prune and repair both have work to do. */
const damaged = async (t: import("tap").Test): Promise<[Repository, Repository]> => {
	const repository = await fresh(t);
	const common = new Dice(4).bytes(2 * BLOCK);
	await repository.backup(request("old", new MemoryImage(Buffer.concat([common, new Dice(5).bytes(9 * BLOCK)]))));
	await repository.backup(request("vm", new MemoryImage(Buffer.concat([common, new Dice(6).bytes(4 * BLOCK)])), 1));
	await repository.forget({ what: { specs: ["old"] }, force: true, now });
	const pack = packOf(repository.path, 1);
	flip(repository.path, pack, recordsOf(repository.path, pack)[8].at + 70);
	return [await open(t, repository.path), await open(t, repository.path)];
};

t.test("repair beside a prune, and prune beside a repair: the second is told at once, the first goes on", async (t) => {
	const [one, two] = await damaged(t);
	const locked = (holder: string, doing: string) => ({
		code: "LOCKED",
		message: `${one.path}: ${holder} has it; start the ${doing} when that has ended`,
	});
	const [repaired, refused] = await beside(
		(progress) => one.repair({ now, progress }),
		() => two.prune({ now }),
	);
	t.match([repaired, refused], [{ code: "done" }, locked("another prune, a check or a repair", "prune")]);
	const [pruned, told] = await beside(
		(progress) => one.prune({ now, maxRewrite: { share: 1 }, progress }),
		() => two.repair({ now }),
	);
	t.match([pruned, told], [{ code: "done" }, locked("a prune", "repair")]);
	t.same((await two.repair({ now })).remaining, []);
	t.same((await two.check({ readData: true })).faults, []);
	t.equal((await readAll(two, "vm")).length, 6 * BLOCK);
});

t.test("a backup beside a repair waits for it, and prune beside a backup for nobody", async (t) => {
	const [one, two] = await damaged(t);
	const content = new Dice(7).bytes(5 * BLOCK);
	const [repaired, stored] = await beside(
		(progress) => one.repair({ now, progress }),
		() => two.backup(request("new", new MemoryImage(content), 2)),
	);
	t.match([repaired, stored], [{ code: "done" }, { code: "done" }]);
	const [backedUp, pruned] = await beside(
		(progress) => one.backup(request("newer", new MemoryImage(new Dice(8).bytes(40 * BLOCK)), 3, { progress })),
		() => two.prune({ now, maxRewrite: { share: 1 } }),
	);
	t.match([backedUp, pruned], [{ code: "done" }, { code: "done" }]);
	t.same((await two.check({ readData: true })).faults, []);
	t.ok((await readAll(two, "new")).equals(content));
	t.ok((await readAll(two, "newer")).equals(new Dice(8).bytes(40 * BLOCK)));
});

t.test("a repair that does not end: a backup gives up after ten seconds and says why", async (t) => {
	const repository = await fresh(t);
	const holder = sys.open(join(repository.path, "locks/repository"), constants.O_RDWR);
	t.ok(sys.lock(holder, "exclusive", 5, 1), "as a repair has it");
	const began = Date.now();
	const error = await outcome(repository.backup(request("vm", new MemoryImage(new Dice(1).bytes(BLOCK)))));
	t.match(error, {
		code: "LOCKED",
		message: `${repository.path}: a repair has it; start the backup when that has ended`,
	});
	t.ok(Date.now() - began > 9000);
	sys.close(holder);
	await repository.backup(request("vm", new MemoryImage(new Dice(1).bytes(BLOCK))));
});
