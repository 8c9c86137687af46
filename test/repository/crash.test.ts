/** Crashes, failing calls and full disks at every operation of a backup. */
import { execFile } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { faults } from "../../native/index.js";
import { openRepository, type Repository, RepositoryError } from "../../src/repository/index.js";
import { BLOCK, childEnvironment, Dice, fresh, MemoryImage, readAll, request } from "./helpers.js";

const first = new Dice(1).bytes(5 * BLOCK + 77);
const second = Buffer.from(first);
new Dice(2).bytes(2 * BLOCK).copy(second, BLOCK);

/** What must hold after any failure, with no repair step. */
const stillGood = async (repository: Repository, committed: number): Promise<string | undefined> => {
	const points = await repository.points();
	if (points.length < committed) return `${points.length} points`;
	for (const [n, { id }] of points.entries())
		if (!(await readAll(repository, `vm@${id}`)).equals(n === 0 ? first : second)) return `point ${n} differs`;
	await repository.backup(request("vm", new MemoryImage(second), 9));
	if (!(await readAll(repository, "vm")).equals(second)) return "the next backup differs";
	const report = await repository.check({ readData: true });
	if (report.faults.length > 0) return report.faults.map(({ message }) => message).join("; ");
	const left = readdirSync(join(repository.path, "tmp"));
	return left.length === 0 ? undefined : `left in tmp: ${left.join(" ")}`;
};

/** Enough to cover every call that the second backup makes. */
const countOperations = async (t: Test): Promise<number> => {
	const repository = await fresh(t);
	await repository.backup(request("vm", new MemoryImage(first)));
	faults.startTrace();
	await repository.backup(request("vm", new MemoryImage(second), 1));
	// Reads are not traced; twice as many covers them.
	const operations = faults.stopTrace().length * 2;
	await repository.close();
	return operations;
};

t.afterEach(() => faults.clear());

t.test("each operation failing once", { timeout: 300_000 }, async (t) => {
	let tried = 0;
	const operations = await countOperations(t);
	for (let skip = 0; skip < operations; skip++) {
		const repository = await fresh(t);
		await repository.backup(request("vm", new MemoryImage(first)));
		faults.set([{ op: "*", path: repository.path, skip, error: "EIO" }]);
		const error = await repository.backup(request("vm", new MemoryImage(second), 1)).then(
			() => undefined,
			(reason) => reason,
		);
		faults.clear();
		if (error !== undefined && !(error instanceof RepositoryError)) t.fail(`operation ${skip}: ${error}`);
		const wrong = await stillGood(repository, 1);
		if (wrong !== undefined) t.fail(`operation ${skip}: ${wrong}`);
		await repository.close();
		if (error !== undefined) tried += 1;
	}
	t.ok(tried > 15, `${tried} operations made the backup fail`);
});

t.test("a full disk at each write", async (t) => {
	let tried = 0;
	for (let skip = 0; ; skip++) {
		const repository = await fresh(t);
		await repository.backup(request("vm", new MemoryImage(first)));
		const rule = { op: "pwrite", path: repository.path, skip, error: "ENOSPC", count: -1 };
		faults.set([skip % 2 === 0 ? rule : { ...rule, short: 10 }]);
		const error = await repository.backup(request("vm", new MemoryImage(second), 1)).then(
			() => undefined,
			(reason) => reason,
		);
		if (error === undefined) {
			await repository.close();
			break;
		}
		tried += 1;
		if (error.code !== "NO_SPACE" || !/no space left/.test(error.message)) t.fail(`write ${skip}: ${error}`);
		const left = readdirSync(join(repository.path, "tmp"));
		if (left.length > 0) t.fail(`write ${skip}: left in tmp: ${left.join(" ")}`);
		t.equal((await repository.points()).length, 1);
		faults.clear();
		const wrong = await stillGood(repository, 1);
		if (wrong !== undefined) t.fail(`write ${skip}: ${wrong}`);
		await repository.close();
	}
	t.ok(tried >= 6, `${tried} writes`);
});

const victim = `
import { faults } from "${new URL("../../native/index.js", import.meta.url).href}";
import { openRepository } from "${new URL("../../src/repository/index.js", import.meta.url).href}";
import { MemoryImage, request } from "${new URL("./helpers.js", import.meta.url).href}";
const [path, skip, content] = process.argv.slice(1);
const repository = await openRepository(path);
faults.set([{ op: "*", path, skip: Number(skip), kill: true }]);
await repository.backup(request("vm", new MemoryImage(Buffer.from(content, "hex")), 1));
process.exit(42);
`;

t.test("kill -9 at each operation", { timeout: 300_000 }, async (t) => {
	// A short disk fits the argument list.
	const small = new Dice(3).bytes(20_000);
	const changed = Buffer.from(small);
	changed[9] ^= 1;
	let killed = 0;
	let over = false;
	const attempt = async (skip: number): Promise<void> => {
		const repository = await fresh(t);
		await repository.backup(request("vm", new MemoryImage(small)));
		await repository.close();
		const status = await new Promise<number | string>((resolve) => {
			execFile(
				process.execPath,
				["--input-type=module", "-e", victim, repository.path, String(skip), changed.toString("hex")],
				{ env: childEnvironment },
				(error) => resolve(error === null ? 0 : ((error.signal as string | undefined) ?? Number(error.code))),
			);
		});
		if (status === 42) over = true;
		else if (status === "SIGKILL") killed += 1;
		else t.fail(`operation ${skip}: ended with ${status}`);
		const after = await openRepository(repository.path);
		const points = await after.points();
		for (const { id, parent } of points)
			if (!(await readAll(after, `vm@${id}`)).equals(parent === null ? small : changed))
				t.fail(`operation ${skip}: differs`);
		await after.backup(request("vm", new MemoryImage(changed), 2));
		if (!(await readAll(after, "vm")).equals(changed)) t.fail(`operation ${skip}: the next backup differs`);
		t.same((await after.check({ readData: true })).faults, [], `operation ${skip}`);
		t.same(readdirSync(join(after.path, "tmp")), []);
		await after.close();
	};
	for (let skip = 0; !over; skip += 4) await Promise.all([skip, skip + 1, skip + 2, skip + 3].map(attempt));
	t.ok(killed > 20, `killed at ${killed} operations`);
});
