/**
 * Copying points into another repository, cut short: killed and without power after every operation, and by every failing call
 * and full disk. What was committed is read and checked each time, and the next copy goes on without repair.
 */
import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { type FaultRule, faults } from "../../native/index.js";
import { copyPoint, SourceError } from "../../src/backup/index.js";
import { initRepository, openRepository, type Repository, RepositoryError } from "../../src/repository/index.js";
import { RepositoryShadow } from "../repository/crash-lab.js";
import { BLOCK, Dice, MemoryImage, memoryFolder, randomFrom, readAll, request } from "../repository/helpers.js";

/** Disks by minute: the second one differs in a block. */
const contents = [new Dice(1).bytes(4 * BLOCK + 99)];
contents.push(Buffer.from(contents[0]));
new Dice(2).bytes(BLOCK).copy(contents[1], BLOCK);
const minuteOf = ({ time }: { time: string }): number => new Date(time).getUTCMinutes() - 2;

t.afterEach(() => faults.clear());

const makeSource = async (path: string): Promise<Repository> => {
	await initRepository(path, { random: randomFrom("source") });
	const source = await openRepository(path, { random: randomFrom("points") });
	const files = [{ name: "vm.vmx", content: Buffer.from('memsize = "512"\n') }];
	for (const [minute, content] of contents.entries())
		await source.backup(request("vm", new MemoryImage(content), minute, { files }));
	return source;
};

const copyAll = async (source: Repository, target: Repository): Promise<void> => {
	for (const point of await source.points()) await copyPoint(source, target, point);
};

/** Undefined when all that is there is good, and a copy goes on to the end. */
const wrongWith = async (source: Repository, target: Repository, thorough: boolean): Promise<string | undefined> => {
	for (;;) {
		const points = await target.points();
		for (const point of points)
			if (!(await readAll(target, `vm@${point.id}`)).equals(contents[minuteOf(point)])) return `${point.time} differs`;
		const { faults: found } = await target.check({ readData: true });
		if (found.length > 0) return found.map(({ message }) => message).join("; ");
		if (!thorough) return undefined;
		if (points.length === contents.length) break;
		await copyAll(source, target);
		if ((await target.points()).length !== contents.length) return "a copy left points out";
	}
	const left = readdirSync(join(target.path, "tmp"));
	return left.length > 0 ? `left in tmp: ${left.join(" ")}` : undefined;
};

t.test("every prefix", { timeout: 300_000 }, async (t) => {
	const folder = memoryFolder(t);
	const source = await makeSource(join(folder, "source"));
	t.teardown(() => source.close());
	const path = join(folder, "target");
	await initRepository(path, { random: randomFrom("target") });
	const shadow = new RepositoryShadow(path);
	const target = await openRepository(path, { random: randomFrom("copies") });
	faults.startTrace();
	await copyAll(source, target);
	const trace = faults.stopTrace().filter((entry) => entry.path.startsWith(path));
	await target.close();
	const after = join(folder, "after");
	const dice = new Dice(7);
	for (const [n, entry] of trace.entries()) {
		shadow.apply(entry);
		for (const how of ["killed", "power lost"] as const) {
			if (how === "killed") shadow.kill(after);
			else shadow.powerLoss(after, (limit) => dice.below(limit));
			const left = await openRepository(after);
			const wrong = await wrongWith(source, left, n % 3 === 0);
			if (wrong !== undefined) t.fail(`${how} after operation ${n} (${entry.op} ${entry.path}): ${wrong}`);
			await left.close();
		}
	}
	t.ok(trace.length > 60, `${trace.length} prefixes`);
});

for (const [what, ruleFor] of [
	["each operation of the target fails", (path, skip) => ({ op: "*", path: join(path, "target"), skip, error: "EIO" })],
	[
		"the disk of the target is full from each write on",
		(path, skip) => ({ op: "pwrite", path: join(path, "target"), skip, error: "ENOSPC", count: -1 }),
	],
	[
		"the source cannot be read from each read on",
		(path, skip) => ({ op: "pread", path: join(path, "source"), skip, error: "EIO", count: -1 }),
	],
] as [string, (path: string, skip: number) => FaultRule][])
	t.test(what, { timeout: 300_000 }, async (t) => {
		const folder = memoryFolder(t);
		await (await makeSource(join(folder, "source"))).close();
		let failed = 0;
		let passed = 0;
		for (let skip = 0; passed < 5; skip++) {
			// Opened anew each time: nothing is in memory then.
			const source = await openRepository(join(folder, "source"));
			const path = join(folder, "target");
			await initRepository(path);
			const target = await openRepository(path);
			faults.set([ruleFor(folder, skip)]);
			const error = await copyAll(source, target).then(
				() => undefined,
				(reason) => reason,
			);
			faults.clear();
			if (error === undefined) passed += 1;
			else {
				passed = 0;
				failed += 1;
				if (!(error instanceof RepositoryError || error instanceof SourceError)) t.fail(`operation ${skip}: ${error}`);
			}
			const wrong = await wrongWith(source, target, true);
			if (wrong !== undefined) t.fail(`operation ${skip}: ${wrong}`);
			await Promise.all([target.close(), source.close()]);
			rmSync(path, { recursive: true });
		}
		t.ok(failed > 4, `${failed} operations made the copy fail`);
	});
