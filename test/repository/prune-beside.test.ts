/** Prune beside backups, readers and a session in processes of their own; writers that are stopped and go on. */
import { type ChildProcess, spawn } from "node:child_process";
import { constants } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import t, { type Test } from "tap";
import { sys } from "../../native/index.js";
import { condemnedPacks, putCondemned, readCondemned } from "../../src/repository/condemned.js";
import { FileStore } from "../../src/repository/file-store.js";
import type { Repository } from "../../src/repository/index.js";
import { initRepository, openRepository } from "../../src/repository/index.js";
import {
	BLOCK,
	childEnvironment,
	Dice,
	fresh,
	MemoryImage,
	MIB,
	memoryFolder,
	open,
	randomFrom,
	readAll,
	request,
	START,
} from "./helpers.js";
import { SlowImage } from "./slow-image.js";

const WORKER = fileURLToPath(new URL("./prune-worker.js", import.meta.url));
const SECONDS = process.env.SPRINGBACK_LONG ? 60 : 8;
/** where the machine is busy it goes on until prune has deleted something, but no longer than this */
const MOST_SECONDS = 120;
const now = () => new Date(START + 86_400_000);
const prune = (repository: Repository) => repository.prune({ maxRewrite: { share: 1 }, now });

class Worker {
	#out = "";
	#err = "";
	readonly process: ChildProcess;
	readonly #ended: Promise<number | null>;

	constructor(t: Test, path: string, role: string, number: number) {
		const stdio = ["pipe", "pipe", "pipe"] as const;
		this.process = spawn(process.execPath, [WORKER, path, role, String(number)], {
			env: childEnvironment,
			stdio: [...stdio],
		});
		this.process.stdout!.on("data", (text) => {
			this.#out += text;
		});
		this.process.stderr!.on("data", (text) => {
			this.#err += text;
		});
		this.#ended = new Promise((resolve) => this.process.once("exit", resolve));
		t.teardown(() => this.process.kill("SIGKILL"));
	}

	/** Whether it deleted packs. */
	get deleted(): boolean {
		return this.#out.includes("deleted\n");
	}

	/** Lets it finish its round; what it did. */
	async end(): Promise<{ rounds: number; deleted: number }> {
		this.process.stdin!.end();
		const code = await this.#ended;
		if (code !== 0) throw new Error(`ended with ${code}: ${this.#err}`);
		return JSON.parse(this.#out.trim().split("\n").at(-1)!);
	}
}

const disk = (n: number): Buffer => {
	const bytes = new Dice(5).bytes(2 * MIB);
	new Dice(1000 + (n % 6)).bytes(6 * BLOCK).copy(bytes, (n % 6) * 4 * BLOCK);
	return bytes;
};

t.test("all at once, and one backup and one prune stopped now and then", { timeout: 300_000 }, async (t) => {
	const path = join(memoryFolder(t), "repository");
	await initRepository(path);
	const repository = await open(t, path);
	await repository.backup(request("base", new MemoryImage(disk(2)), 0, { facts: { n: 2 } }));
	const workers = [
		...[0, 1, 2].map((n) => new Worker(t, repository.path, "backup", n)),
		new Worker(t, repository.path, "read", 9),
		new Worker(t, repository.path, "serve", 9),
		...[0, 1].map((n) => new Worker(t, repository.path, "prune", n)),
	];
	const [stoppedBackup, stoppedPrune] = [workers[0].process, workers[5].process];
	const dice = new Dice(3);
	const began = Date.now();
	const over = (seconds: number) => Date.now() > began + seconds * 1000;
	while (!over(SECONDS) || (!over(MOST_SECONDS) && !workers.some((worker) => worker.deleted))) {
		const victim = dice.below(2) === 0 ? stoppedBackup : stoppedPrune;
		victim.kill("SIGSTOP");
		await sleep(dice.below(400));
		victim.kill("SIGCONT");
		await sleep(dice.below(300));
	}
	const done = await Promise.all(workers.map((worker) => worker.end()));
	const deleted = done.reduce((sum, one) => sum + one.deleted, 0);
	t.comment(`rounds ${done.map(({ rounds }) => rounds).join(" ")}, ${deleted} packs deleted meanwhile`);
	t.ok(deleted > 0, "prune had work to do");
	t.ok(done.every(({ rounds }) => rounds > 0));
	const after = await openRepository(repository.path);
	t.same((await after.check({ readData: true })).faults, []);
	for (const point of await after.points())
		if (!(await readAll(after, `${point.vm}@${point.id}`)).equals(disk(point.facts.n as number)))
			t.fail(`${point.vm}@${point.id} differs`);
	const last = await prune(after);
	t.equal(last.waiting.packs, 0, "nothing waits when nobody is left");
	t.equal((await prune(after)).deleted, 0);
	t.same((await after.check({ readData: true })).faults, []);
	await after.close();
});

t.test("a backup that counts on a block keeps its pack from being deleted", async (t) => {
	const repository = await fresh(t);
	const common = new Dice(8).bytes(4 * MIB);
	await repository.backup(request("old", new MemoryImage(common)));
	await repository.backup(request("other", new MemoryImage(new Dice(9).bytes(BLOCK)), 1));
	const slow = new SlowImage(Buffer.concat([common, new Dice(10).bytes(4 * MIB)]));
	const backing = await openRepository(repository.path);
	const running = backing.backup(request("new", slow, 2));
	await slow.half;
	// The blocks of "old" were looked up and found. Now nothing but this backup needs them.
	await repository.forget({ what: { specs: ["old"] }, force: true, now });
	const first = await prune(repository);
	t.match(first, { dead: { packs: 2 }, deleted: 0, waiting: { packs: 2, backups: 1 } });
	slow.go();
	const { disks } = await running;
	t.equal(disks[0].new, 4 * MIB, "it did count on them");
	await backing.close();
	t.match(await prune(repository), { deleted: 0, released: 2, waiting: { packs: 0, backups: 0 } }, "and has them");
	t.same((await repository.check({ readData: true })).faults, []);
	t.ok((await readAll(repository, "new")).equals(slow.content));
	t.match(await prune(repository), { deleted: 0, released: 0 });
});

t.test("a backup that starts later does not count on what is condemned", async (t) => {
	const repository = await fresh(t);
	const common = new Dice(8).bytes(4 * MIB);
	await repository.backup(request("old", new MemoryImage(common)));
	await repository.backup(request("other", new MemoryImage(new Dice(9).bytes(BLOCK)), 1));
	const slow = new SlowImage(Buffer.concat([common, new Dice(10).bytes(4 * MIB)]));
	const backing = await openRepository(repository.path);
	const running = backing.backup(request("new", slow, 2));
	await slow.half;
	await repository.forget({ what: { specs: ["old"] }, force: true, now });
	t.match(await prune(repository), { deleted: 0, waiting: { packs: 2, backups: 1 } });
	const late = await openRepository(repository.path);
	const again = await late.backup(request("late", new MemoryImage(common), 3));
	t.equal(again.disks[0].new, common.length, "it stores them again");
	t.match(await prune(repository), { deleted: 0, waiting: { packs: 2, backups: 1 } }, "still");
	slow.go();
	t.equal((await running).disks[0].new, 4 * MIB, "the running one counts on the old ones");
	await late.forget({ what: { specs: ["late"] }, force: true, now });
	const last = await prune(repository);
	t.match(last, { deleted: 2, released: 0, waiting: { packs: 0 } }, "the later copy serves the running one too");
	await late.close();
	await backing.close();
	t.same((await repository.check({ readData: true })).faults, []);
	t.ok((await readAll(repository, "new")).equals(slow.content));
});

t.test("a backup that dies leaves nothing that prune waits for", async (t) => {
	const repository = await fresh(t);
	const old = new Dice(8).bytes(4 * MIB);
	await repository.backup(request("old", new MemoryImage(old)));
	await repository.backup(request("other", new MemoryImage(new Dice(9).bytes(BLOCK)), 1));
	const backing = await openRepository(repository.path);
	const slow = new SlowImage(Buffer.concat([old, old]));
	const abort = new AbortController();
	const running = backing.backup(request("new", slow, 2, { signal: abort.signal }));
	await slow.half;
	await repository.forget({ what: { specs: ["old"] }, force: true, now });
	t.match(await prune(repository), { deleted: 0, waiting: { packs: 2, backups: 1 } });
	abort.abort();
	slow.go();
	await t.rejects(running, { code: "INTERRUPTED" });
	await backing.close();
	t.match(await prune(repository), { deleted: 2, released: 0, waiting: { packs: 0, backups: 0 } });
	t.same((await repository.check({ readData: true })).faults, []);
});

t.test("what a running backup has stored is left alone", async (t) => {
	const repository = await fresh(t);
	await repository.backup(request("other", new MemoryImage(new Dice(9).bytes(BLOCK)), 1));
	const backing = await openRepository(repository.path, { checkpointRecords: 16 });
	const slow = new SlowImage(new Dice(10).bytes(8 * MIB));
	const running = backing.backup(request("new", slow, 2));
	await slow.half;
	await sleep(200);
	t.match(await prune(repository), { dead: { packs: 0 }, deleted: 0, waiting: { packs: 0 } });
	slow.go();
	t.equal((await running).disks[0].new, 8 * MIB);
	await backing.close();
	t.same((await repository.check({ readData: true })).faults, []);
});

t.test("a backup that merges the index after a prune brings no deleted pack back into it", async (t) => {
	const repository = await fresh(t);
	const moved = new Dice(20).bytes(2 * BLOCK);
	await repository.backup(request("old", new MemoryImage(Buffer.concat([moved, new Dice(21).bytes(6 * BLOCK)]))));
	await repository.backup(request("keeps", new MemoryImage(moved), 1));
	const slow = () => new SlowImage(Buffer.concat([new Dice(22).bytes(4 * MIB), moved]));
	const [before, after] = [slow(), slow()];
	const [first, second] = [await openRepository(repository.path), await openRepository(repository.path)];
	const waitedFor = first.backup(request("first", before, 2));
	await before.half;
	await repository.forget({ what: { specs: ["old"] }, force: true, now });
	t.match(await prune(repository), { rewrite: { packs: 1 }, deleted: 0, waiting: { backups: 1 } });
	before.go();
	await waitedFor;
	const running = second.backup(request("second", after, 3));
	await after.half;
	t.match(await prune(repository), { deleted: 2, released: 0 }, "what moved is deleted where it was");
	after.go();
	await running;
	for (const n of [4, 5, 6]) await second.backup(request("more", new MemoryImage(new Dice(n).bytes(BLOCK)), n));
	t.same((await repository.check({ readData: true })).faults, []);
	const fresher = await openRepository(repository.path);
	t.ok((await readAll(fresher, "keeps")).equals(moved));
	for (const one of [first, second, fresher]) await one.close();
});

t.test("a list that is replaced while it is read is not missed", async (t) => {
	const repository = await fresh(t);
	const store = new FileStore(repository.path, randomFrom("lists"), 1);
	t.teardown(() => store.close());
	const pack = "ab".repeat(16);
	const put = (seed: string, writers?: string[]) =>
		putCondemned(store, randomFrom(seed), { at: START, packs: [pack], writers });
	const [first] = await put("first");
	let listed = 0;
	const racing = new Proxy(store, {
		get(target, name) {
			if (name !== "list") return Reflect.get(target, name).bind(target);
			return async (folder: string) => {
				const names = await target.list(folder);
				// What prune does once it knows the writers: the new list is there before the old one goes.
				if (listed++ === 0) sys.rename(join(store.place, "condemned", first.id), join(store.place, "condemned", pack));
				return names;
			};
		},
	});
	t.same([...condemnedPacks(await readCondemned(racing))], [pack]);
	t.equal(listed, 2);
});

t.test("prune and check keep out of each other's way, and an interrupted prune can be repeated", async (t) => {
	const repository = await fresh(t);
	await repository.backup(request("old", new MemoryImage(new Dice(8).bytes(MIB))));
	await repository.backup(request("other", new MemoryImage(new Dice(9).bytes(BLOCK)), 1));
	await repository.forget({ what: { specs: ["old"] }, force: true, now });
	const holder = sys.open(join(repository.path, "locks/repository"), constants.O_RDWR);
	t.ok(sys.lock(holder, "shared", 1, 1), "as a check has it");
	await t.rejects(prune(repository), { code: "LOCKED", message: /another prune, a check or a repair/ });
	t.same((await repository.check({ readData: false })).faults, [], "two checks get on with each other");
	t.ok(sys.lock(holder, "exclusive", 1, 1), "as a prune has it");
	await t.rejects(repository.check({ readData: false }), {
		code: "LOCKED",
		message: /a prune has it; start the check/,
	});
	sys.unlock(holder, 1, 1);
	t.ok(sys.lock(holder, "shared", 0, 1), "as a backup of release 0.1 has it");
	await t.rejects(prune(repository), { code: "LOCKED", message: /release 0\.1/ });
	sys.close(holder);
	await t.rejects(repository.prune({ now, signal: AbortSignal.abort() }), { code: "INTERRUPTED" });
	t.match(await prune(repository), { deleted: 2, waiting: { packs: 0 } });
	t.same((await repository.check({ readData: true })).faults, []);
});
