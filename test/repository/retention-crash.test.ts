/**
 * Backup, forget and prune cut short: at every operation by a kill and by a loss of power, and by every single failing
 * call and full disk. Committed points are read and checked each time, and the next run needs no repair.
 */
import { cpSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { type FaultRule, faults } from "../../native/index.js";
import { initRepository, openRepository, type Repository, RepositoryError } from "../../src/repository/index.js";
import { RepositoryShadow } from "./crash-lab.js";
import {
	BLOCK,
	CHEAP,
	Dice,
	MemoryImage,
	memoryFolder,
	PASSPHRASE,
	randomFrom,
	readAll,
	request,
	START,
} from "./helpers.js";

const now = () => new Date(START + 86_400_000);

/** Contents by minute: neighbours share blocks, and each has some of its own. */
const contents = new Map<number, Buffer>();
for (let n = 0; n < 7; n++) {
	const disk = new Dice(100).bytes(3 * BLOCK + 700);
	new Dice(n + 1).bytes(BLOCK).copy(disk, (n % 3) * BLOCK);
	contents.set(n, disk);
}
const backup = (repository: Repository, minute: number) =>
	repository.backup(request("vm", new MemoryImage(contents.get(minute)!), minute));

const minuteOf = (time: string): number => Math.round((Date.parse(time) - START) / 60_000);

const KINDS = ["plain", "encrypted"] as const;
type Kind = (typeof KINDS)[number];
const open = (path: string, kind: Kind, seed?: string) =>
	openRepository(path, {
		...(kind === "encrypted" ? PASSPHRASE : {}),
		...(seed === undefined ? {} : { random: randomFrom(seed) }),
	});

/** The steps under test. A dead pack goes whole, one that is mostly dead is rewritten, and small ones are put together. */
const STEPS: [string, (repository: Repository, ids: string[]) => Promise<unknown>][] = [
	["backup", (repository) => backup(repository, 5)],
	["forget", (repository, ids) => repository.forget({ what: { specs: ids.slice(0, 2).map((id) => `vm@${id}`) }, now })],
	["prune", (repository) => repository.prune({ maxRewrite: { share: 1 }, now })],
];
const idsOf = async (repository: Repository) => (await repository.points()).map(({ id }) => id);
/** minutes of the points that are there before each step, and after the last */
const COMMITTED = [
	[0, 1, 2, 3, 4],
	[0, 1, 2, 3, 4, 5],
	[2, 3, 4, 5],
	[2, 3, 4, 5],
];
/** of the backup that comes after a crash */
const NEXT = 6;

const prepare = async (path: string, kind: Kind): Promise<void> => {
	const passphrase = kind === "encrypted" ? PASSPHRASE.key.passphrase() : undefined;
	await initRepository(path, { random: randomFrom("repository"), passphrase, ...CHEAP });
	const repository = await open(path, kind, "before");
	for (const minute of COMMITTED[0]) await backup(repository, minute);
	await repository.close();
};

const subset = (some: number[], all: number[]) => some.every((one) => all.includes(one));

/** What must hold in a repository that was cut short in a step; `thorough`: and of the runs that come next. */
const verify = async (path: string, kind: Kind, step: number, thorough: boolean): Promise<string | undefined> => {
	const repository = await open(path, kind);
	try {
		const points = await repository.points();
		const minutes = points.map(({ time }) => minuteOf(time));
		const [before, after] = [COMMITTED[step], COMMITTED[step + 1]];
		const must = before.filter((minute) => after.includes(minute));
		if (!subset(must, minutes) || !subset(minutes, [...before, ...after])) return `the points are ${minutes}`;
		const wrong = await readable(repository);
		if (wrong !== undefined || !thorough) return wrong;
		await backup(repository, NEXT);
		const going = (await repository.points()).filter(({ time }) => !after.includes(minuteOf(time)));
		const specs = going.filter(({ time }) => minuteOf(time) !== NEXT).map(({ id }) => `vm@${id}`);
		if (specs.length > 0) await repository.forget({ what: { specs }, now });
		await repository.prune({ maxRewrite: { share: 1 }, now });
		const again = await readable(repository);
		if (again !== undefined) return `after the next runs: ${again}`;
		const { deleted, left } = await repository.prune({ maxRewrite: { share: 1 }, now });
		if (deleted > 0) return `the next prune left ${deleted} packs that it could have deleted (${left})`;
		const rest = ["tmp", "condemned"].flatMap((name) => readdirSync(join(path, name)));
		return rest.length === 0 ? undefined : `left behind: ${rest.join(" ")}`;
	} finally {
		await repository.close();
	}
};

const readable = async (repository: Repository): Promise<string | undefined> => {
	for (const { id, time } of await repository.points())
		if (!(await readAll(repository, `vm@${id}`)).equals(contents.get(minuteOf(time))!)) return `${time} differs`;
	const { faults: found } = await repository.check({ readData: true });
	return found.length === 0 ? undefined : found.map(({ message }) => message).join("; ");
};

t.afterEach(() => faults.clear());

for (const kind of KINDS)
	t.test(`every prefix of every step, ${kind}`, { timeout: 600_000 }, async (t) => {
		const path = join(memoryFolder(t), "repository");
		await prepare(path, kind);
		const shadow = new RepositoryShadow(path);
		const repository = await open(path, kind, "steps");
		const traces = [];
		for (const [, run] of STEPS) {
			const ids = await idsOf(repository);
			faults.startTrace();
			await run(repository, ids);
			traces.push(faults.stopTrace());
		}
		await repository.close();
		const target = join(memoryFolder(t), "after");
		const dice = new Dice(7);
		let cut = 0;
		for (const [step, trace] of traces.entries()) {
			const name = STEPS[step][0];
			for (const [n, entry] of trace.entries()) {
				shadow.apply(entry);
				shadow.kill(target);
				const dead = await verify(target, kind, step, n % (name === "prune" ? 2 : 4) === 0);
				if (dead !== undefined) t.fail(`${name} killed after operation ${n} (${entry.op}): ${dead}`);
				shadow.powerLoss(target, (limit) => dice.below(limit));
				const dark = await verify(target, kind, step, n % 4 === 1);
				if (dark !== undefined) t.fail(`${name}, power lost after operation ${n} (${entry.op}): ${dark}`);
				cut += 1;
			}
			t.comment(`${name}: ${trace.length} operations`);
		}
		t.ok(cut > 80, `${cut} prefixes`);
	});

/** Each step but the first `from` with the rule, from the state before it; returns how often the rule made it fail. */
const failing = async (
	t: Test,
	kind: Kind,
	from: number,
	rule: (skip: number, path: string) => FaultRule,
	calls: number[],
): Promise<number> => {
	const base = join(memoryFolder(t), "base");
	await prepare(base, kind);
	let failed = 0;
	for (const [step, [name, run]] of STEPS.entries()) {
		// The encrypted sweep is a sample, for time's sake: what differs from the plain one is how records are stored.
		for (let skip = 0; step >= from && skip < calls[step]; skip += kind === "encrypted" ? 3 : 1) {
			const path = join(memoryFolder(t), "copy");
			cpSync(base, path, { recursive: true });
			const repository = await open(path, kind);
			const ids = await idsOf(repository);
			faults.set([rule(skip, path)]);
			const error = await run(repository, ids).then(
				() => undefined,
				(reason) => reason,
			);
			faults.clear();
			await repository.close();
			if (error !== undefined) failed += 1;
			if (error !== undefined && !(error instanceof RepositoryError)) t.fail(`${name}, call ${skip}: ${error}`);
			const wrong = await verify(path, kind, step, skip % 2 === 0);
			if (wrong !== undefined) t.fail(`${name}, call ${skip}: ${wrong}`);
			rmSync(path, { recursive: true });
		}
		const repository = await open(base, kind);
		await run(repository, await idsOf(repository));
		await repository.close();
	}
	return failed;
};

// Calls that only read count too, and are not in a trace: these bounds are above what each step makes.
for (const kind of KINDS)
	t.test(`each call of forget and prune failing once, ${kind}`, { timeout: 600_000 }, async (t) => {
		const failed = await failing(t, kind, 1, (skip, path) => ({ op: "*", path, skip, error: "EIO" }), [0, 30, 320]);
		t.ok(failed > 80, `${failed} calls made a step fail`);
	});

for (const kind of KINDS)
	t.test(`a full disk at each write, ${kind}`, { timeout: 600_000 }, async (t) => {
		const full = (skip: number, path: string) => ({
			...{ op: "pwrite", path, skip, error: "ENOSPC", count: -1 },
			...(skip % 2 ? { short: 10 } : {}),
		});
		const failed = await failing(t, kind, 0, full, [12, 1, 20]);
		t.ok(failed > 7, `${failed} writes made a step fail`);
	});
