/**
 * Backups of several VMs at once in one process: what is common is stored once, one that fails takes no other with it, and no
 * crash, failing call or full disk at any operation leaves a point that counts on what is not there.
 */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { faults } from "../../native/index.js";
import { initRepository, openRepository, type Repository, RepositoryError } from "../../src/repository/index.js";
import { RepositoryShadow } from "./crash-lab.js";
import {
	BLOCK,
	Dice,
	encrypted,
	fresh,
	MemoryImage,
	MIB,
	memoryFolder,
	packBytes,
	randomFrom,
	readAll,
	request,
	START,
} from "./helpers.js";
import { SlowImage } from "./slow-image.js";

const now = () => new Date(START + 86_400_000);

/** A disk that cannot be read beyond some offset. */
class Broken extends MemoryImage {
	constructor(
		content: Buffer,
		readonly from: number,
	) {
		super(content);
	}

	override read(offset: number, target: Buffer): void {
		if (offset + target.length > this.from) throw new Error("bad sector");
		super.read(offset, target);
	}
}

t.afterEach(() => faults.clear());

for (const kind of ["plain", "encrypted"] as const)
	t.test(`${kind}: one disk of four VMs is stored once`, async (t) => {
		const repository = kind === "plain" ? await fresh(t) : await encrypted(t);
		const content = new Dice(1).bytes(16 * MIB);
		const vms = ["a", "b", "c", "d"];
		const made = await Promise.all(vms.map((vm, n) => repository.backup(request(vm, new MemoryImage(content), n))));
		t.equal(
			made.reduce((sum, { disks }) => sum + disks[0].new, 0),
			content.length,
			"each block is new to one of them",
		);
		const records = made.reduce((sum, { point }) => sum + point.size_new, 0);
		t.ok(
			records < packBytes(repository) && packBytes(repository) < content.length * 1.02,
			`${packBytes(repository)} bytes`,
		);
		for (const vm of vms) t.ok((await readAll(repository, vm)).equals(content), vm);
		t.same((await repository.check({ readData: true })).faults, []);
		t.same(readdirSync(join(repository.path, "tmp")), []);
	});

t.test("checkpoints while others claim", async (t) => {
	const repository = await openRepository((await fresh(t)).path, { checkpointRecords: 24 });
	t.teardown(() => repository.close());
	const common = new Dice(2).bytes(8 * MIB);
	const contents = [1, 2, 3].map((n) => Buffer.concat([new Dice(n + 10).bytes(n * MIB), common]));
	const made = await Promise.all(
		contents.map((content, n) => repository.backup(request(`vm${n}`, new MemoryImage(content), n))),
	);
	t.equal(
		made.reduce((sum, { disks }) => sum + disks[0].new, 0),
		14 * MIB,
	);
	for (const [n, content] of contents.entries()) t.ok((await readAll(repository, `vm${n}`)).equals(content));
	const { faults: found, blocks } = await repository.check({ readData: true });
	t.same(found, []);
	t.equal(blocks, (14 * MIB) / BLOCK, "none twice");
});

t.test("a backup that fails leaves what others count on", async (t) => {
	const repository = await fresh(t);
	const content = new Dice(3).bytes(8 * MIB);
	const slow = new SlowImage(content);
	const running = repository.backup(request("slow", slow));
	await slow.half;
	await t.rejects(repository.backup(request("broken", new Broken(content, 6 * MIB), 1)), {
		code: "SOURCE",
		message: /disk0 at offset 6291456: bad sector/,
	});
	slow.go();
	await running;
	await repository.prune({ now, maxRewrite: { share: 1 } });
	t.same(
		(await repository.points()).map(({ vm }) => vm),
		["slow"],
	);
	t.ok((await readAll(repository, "slow")).equals(content));
	t.same((await repository.check({ readData: true })).faults, []);
	t.same(readdirSync(join(repository.path, "tmp")), []);
	const none = [1, 2].map((n) => repository.backup(request(`broken${n}`, new Broken(new Dice(n).bytes(MIB), 0), 2)));
	for (const result of await Promise.allSettled(none)) t.equal(result.status, "rejected");
	t.same(readdirSync(join(repository.path, "tmp")), [], "the last one cleans up");
});

t.test("prune waits for backups of its own process, and they for it", async (t) => {
	const repository = await fresh(t);
	const slow = new SlowImage(new Dice(4).bytes(8 * MIB));
	const order: string[] = [];
	const note = (what: string) => () => void order.push(what);
	const backup = repository.backup(request("slow", slow)).then(note("backup"));
	await slow.half;
	const prune = repository.prune({ now }).then(note("prune"));
	const next = repository.backup(request("next", new MemoryImage(new Dice(4).bytes(MIB)), 1)).then(note("next"));
	slow.go();
	await Promise.all([backup, prune, next]);
	t.same(order, ["backup", "prune", "next"]);
});

/** Two VMs with much in common, and one that fails on the way, at once. */
const common = new Dice(20).bytes(3 * BLOCK + 99);
const own = [1, 2].map((n) => Buffer.concat([new Dice(n).bytes(BLOCK), common]));
const all = async (repository: Repository) => {
	const images = [...own.map((content) => new MemoryImage(content)), new Broken(own[0], BLOCK)];
	return Promise.allSettled(images.map((image, n) => repository.backup(request(`vm${n}`, image, n))));
};

const wrongWith = async (repository: Repository): Promise<string | undefined> => {
	for (const { vm } of await repository.points())
		if (!(await readAll(repository, vm)).equals(own[Number(vm.slice(2))])) return `${vm} differs`;
	const { faults: found } = await repository.check({ readData: true });
	return found.length === 0 ? undefined : found.map(({ message }) => message).join("; ");
};

const goesOn = async (repository: Repository): Promise<string | undefined> => {
	const wrong = await wrongWith(repository);
	if (wrong !== undefined) return wrong;
	const again = await all(repository);
	const failed = again.slice(0, 2).find((one) => one.status === "rejected");
	if (failed) return `the next backups failed: ${failed.reason}`;
	const left = readdirSync(join(repository.path, "tmp"));
	if (left.length > 0) return `left in tmp: ${left.join(" ")}`;
	return wrongWith(repository);
};

t.test("every prefix: killed, and the power lost", { timeout: 300_000 }, async (t) => {
	const path = join(memoryFolder(t), "repository");
	await initRepository(path, { random: randomFrom("repository") });
	const shadow = new RepositoryShadow(path);
	const repository = await openRepository(path, { random: randomFrom("steps"), checkpointRecords: 3 });
	faults.startTrace();
	const outcome = await all(repository);
	const trace = faults.stopTrace();
	await repository.close();
	t.same(
		outcome.map(({ status }) => status),
		["fulfilled", "fulfilled", "rejected"],
	);
	const target = join(memoryFolder(t), "after");
	const dice = new Dice(7);
	let committed = 0;
	for (const [n, entry] of trace.entries()) {
		shadow.apply(entry);
		for (const how of ["killed", "power lost"] as const) {
			if (how === "killed") shadow.kill(target);
			else shadow.powerLoss(target, (limit) => dice.below(limit));
			const after = await openRepository(target);
			committed += (await after.points()).length;
			const wrong = await (n % 3 === 0 ? goesOn(after) : wrongWith(after));
			if (wrong !== undefined) t.fail(`${how} after operation ${n} (${entry.op} ${entry.path}): ${wrong}`);
			await after.close();
		}
	}
	t.ok(trace.length > 40 && committed > 0, `${trace.length} prefixes, ${committed} points met`);
});

for (const error of ["EIO", "ENOSPC"] as const)
	t.test(`${error} at each operation`, { timeout: 300_000 }, async (t) => {
		let failed = 0;
		for (let skip = 0; ; skip += 1) {
			const path = join(memoryFolder(t), "repository");
			await initRepository(path);
			const repository = await openRepository(path, { checkpointRecords: 3 });
			const rule = { op: error === "EIO" ? "*" : "pwrite", path, skip, error, count: error === "EIO" ? 1 : -1 };
			faults.set([rule, { op: "rmdir", path: "never", error }]);
			const outcome = await all(repository);
			faults.clear();
			const rejected = outcome.flatMap((one) => (one.status === "rejected" ? [one.reason] : []));
			for (const reason of rejected) if (!(reason instanceof RepositoryError)) t.fail(`operation ${skip}: ${reason}`);
			const wrong = await goesOn(repository);
			if (wrong !== undefined) t.fail(`operation ${skip}: ${wrong}`);
			await repository.close();
			if (rejected.length > 1) failed += 1;
			else if (skip > 150 || error === "ENOSPC") break;
		}
		t.ok(failed > 8, `${failed} operations made more than the broken one fail`);
	});
