/** Repair and rebuild, cut short after every operation: nothing good is lost, and the next run gets to the same end. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { faults, type TraceEntry } from "../../native/index.js";
import { type OpenRepositoryOptions, openRepository, type Repository } from "../../src/repository/index.js";
import { FOLDERS } from "../../src/repository/layout.js";
import { CrashTree } from "./crash-tree.js";
import { filesOf, flip, packOf, recordsOf } from "./damage-lab.js";
import { BLOCK, Dice, encrypted, folder, fresh, MemoryImage, request } from "./helpers.js";

const content = new Dice(41).bytes(5 * BLOCK);
/** block that is damaged */
const LOST = 3;

t.afterEach(() => faults.clear());

/** A closed repository with one point, and what opens it. */
const one = async (t: Test, kind: string): Promise<{ path: string; options: OpenRepositoryOptions }> => {
	let options: OpenRepositoryOptions = {};
	let repository: Repository;
	if (kind === "encrypted") {
		const made = await encrypted(t);
		options = { key: { masterOf: () => made.master } };
		repository = made;
	} else repository = await fresh(t);
	await repository.backup(request("vm", new MemoryImage(content)));
	await repository.close();
	return { path: repository.path, options };
};

/** What is wrong with what the repository serves, or undefined. */
const wrongIn = async (repository: Repository): Promise<string | undefined> => {
	const image = await repository.openDisk(await repository.resolve("vm"), "disk0");
	try {
		for (let n = 0; n < 5; n++) {
			const got = Buffer.alloc(BLOCK);
			const read = await Promise.resolve()
				.then(() => image.read(n * BLOCK, got))
				.then(
					() => (got.equals(content.subarray(n * BLOCK, (n + 1) * BLOCK)) ? "exact" : "wrong"),
					() => "error",
				);
			if (read !== (n === LOST ? "error" : "exact")) return `block ${n}: ${read}`;
		}
		return undefined;
	} finally {
		await image.close();
	}
};

/** Runs `work` traced, then `verify` on every state that a crash in it may leave. Returns how many there were. */
const everyCrash = async (
	t: Test,
	{ path, options }: { path: string; options: OpenRepositoryOptions },
	work: (repository: Repository) => Promise<unknown>,
	verify: (repository: Repository) => Promise<string | undefined>,
): Promise<number> => {
	const tree = new CrashTree(path, FOLDERS);
	const repository = await openRepository(path, options);
	faults.startTrace();
	await work(repository);
	const trace: TraceEntry[] = faults.stopTrace().filter((entry) => entry.path.startsWith(path));
	await repository.close();
	const broken = join(folder(t), "broken");
	for (let done = 0; done <= trace.length; done++) {
		for (const kind of ["kill", "powerLoss"] as const) {
			tree[kind](broken);
			const after = await openRepository(broken, options);
			const wrong = await verify(after);
			await after.close();
			if (wrong !== undefined) t.fail(`${kind} after ${done} operations: ${wrong}`);
		}
		if (done < trace.length) tree.apply(trace[done]);
	}
	return trace.length;
};

for (const kind of ["plain", "encrypted"])
	t.test(`repair, ${kind}`, { timeout: 300_000 }, async (t) => {
		const made = await one(t, kind);
		const { path } = made;
		const [data, meta] = [packOf(path, 1), packOf(path, 2)];
		flip(path, data, recordsOf(path, data)[LOST].at + 70);
		flip(path, meta, -80);
		flip(path, filesOf(path, "index")[0], 40);
		const originals = [data, meta].map((name) => readFileSync(join(path, name)));
		const operations = await everyCrash(
			t,
			made,
			(repository) => repository.repair({}),
			async (repository) => {
				const before = await wrongIn(repository);
				if (before !== undefined) return `before the next run: ${before}`;
				const { remaining } = await repository.repair({});
				const hits = remaining.flatMap(({ hits }) => hits);
				if (hits.length !== 1 || hits[0].offset !== LOST * BLOCK || hits[0].length !== BLOCK)
					return `hits ${JSON.stringify(hits)}`;
				const again = await repository.repair({});
				if (again.indexRebuilt || again.quarantined.length > 0)
					return `a third run finds something to do: ${JSON.stringify(again)}`;
				const aside = join(repository.path, "quarantine");
				const kept = readdirSync(aside).map((name) => readFileSync(join(aside, name)));
				if (!originals.every((original) => kept.some((file) => file.equals(original)))) return "a damaged pack is gone";
				const left = readdirSync(join(repository.path, "tmp"));
				return left.length > 0 ? `left in tmp: ${left.join(" ")}` : wrongIn(repository);
			},
		);
		t.ok(operations > 40, `${operations} operations`);
	});

for (const kind of ["plain", "encrypted"])
	t.test(`rebuild, ${kind}`, { timeout: 300_000 }, async (t) => {
		const made = await one(t, kind);
		const { path } = made;
		const data = packOf(path, 1);
		flip(path, data, recordsOf(path, data)[LOST].at + 70);
		const operations = await everyCrash(
			t,
			made,
			(repository) => repository.rebuild({}),
			async (repository) => {
				const before = await wrongIn(repository);
				if (before !== undefined) return `before the next run: ${before}`;
				const { packs, segments, records } = await repository.rebuild({});
				if (packs !== 2 || segments !== 1 || records !== 6)
					return `${packs} packs, ${segments} segments, ${records} records`;
				if (readdirSync(join(repository.path, "index")).length !== 1) return "old segments are left";
				return wrongIn(repository);
			},
		);
		t.ok(operations > 8, `${operations} operations`);
	});
