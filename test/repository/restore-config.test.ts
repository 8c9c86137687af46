/** springback.json lost or damaged: restored from the repository's copy, else from packs, and never guessed wrong in silence. */
import { cpSync, existsSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { faults } from "../../native/index.js";
import { decodeConfig } from "../../src/repository/config.js";
import { initRepository, openRepository, type Repository, restoreConfig } from "../../src/repository/index.js";
import { FOLDERS } from "../../src/repository/layout.js";
import { CrashTree } from "./crash-tree.js";
import { flip } from "./damage-lab.js";
import {
	BLOCK,
	CHEAP,
	Dice,
	encrypted,
	folder,
	fresh,
	KIB,
	MemoryImage,
	open,
	PASSPHRASE,
	readAll,
	request,
} from "./helpers.js";

const content = new Dice(3).bytes(5 * BLOCK + 700);
const KINDS = ["plain", "encrypted"] as const;
const CONFIG = "springback.json";

t.afterEach(() => faults.clear());

/** A closed repository with one point. */
const one = async (t: Test, kind: (typeof KINDS)[number]): Promise<string> => {
	const repository: Repository = kind === "plain" ? await fresh(t) : await encrypted(t);
	await repository.backup(request("vm", new MemoryImage(content)));
	await repository.close();
	return repository.path;
};

const works = async (t: Test, path: string): Promise<void> => {
	const repository = await open(t, path, PASSPHRASE);
	t.same((await repository.check({ readData: true })).faults, []);
	t.ok((await readAll(repository, "vm")).equals(content));
	const { disks } = await repository.backup(request("vm", new MemoryImage(content), 1));
	t.equal(disks[0].new, 0, "and dedupes against what is there");
	await repository.close();
};

for (const kind of KINDS)
	t.test(`${kind}: from the copy, byte for byte`, async (t) => {
		const path = await one(t, kind);
		const file = join(path, CONFIG);
		const text = readFileSync(file, "utf8");
		t.equal(await restoreConfig(path), undefined, "nothing is wrong");
		const hurts: [string, () => void][] = [
			["lost", () => rmSync(file)],
			["cut", () => truncateSync(file, 100)],
			["empty", () => truncateSync(file, 0)],
			["changed", () => flip(path, CONFIG, 60)],
			["changed format", () => writeFileSync(file, text.replace('"springback"', '"sprangback"'))],
		];
		for (const [name, hurt] of hurts) {
			hurt();
			const found = existsSync(file) ? readFileSync(file, "utf8") : undefined;
			const message = name === "changed format" ? /is of something else/ : /springback rebuild restores it/;
			await t.rejects(openRepository(path, PASSPHRASE), { message }, name);
			const restored = await restoreConfig(path);
			t.match(restored, { from: "copy", guessed: [] }, name);
			t.equal(readFileSync(file, "utf8"), text, name);
			if (found !== undefined) t.equal(readFileSync(join(path, restored!.aside!), "utf8"), found, "nothing is deleted");
		}
		await works(t, path);
	});

for (const kind of KINDS)
	t.test(`${kind}: from packs, where the copy is lost too`, async (t) => {
		const path = await one(t, kind);
		const before = decodeConfig(readFileSync(join(path, CONFIG), "utf8"), path);
		for (const hurt of ["lost", "damaged"]) {
			if (hurt === "lost") rmSync(join(path, "config"), { recursive: true });
			else flip(path, `config/${before.id}`, 70);
			rmSync(join(path, CONFIG));
			if (kind === "encrypted") {
				await t.rejects(restoreConfig(path), { code: "ENCRYPTED" });
				const wrong = { key: { passphrase: () => Buffer.from("wrong") } };
				await t.rejects(restoreConfig(path, wrong), { code: "WRONG_KEY" });
				t.notOk(existsSync(join(path, CONFIG)));
			}
			t.match(await restoreConfig(path, PASSPHRASE), { from: "packs", guessed: [/compression/, /created/] });
			const after = decodeConfig(readFileSync(join(path, CONFIG), "utf8"), path);
			t.same({ ...after, created: "" }, { ...before, created: "" });
			if (hurt === "damaged") {
				const repository = await open(t, path, PASSPHRASE);
				t.match((await repository.check({ readData: false })).faults, [
					{ kind: "bad-config", file: `config/${before.id}` },
				]);
				t.match(await repository.repair({}), { remaining: [], indexRebuilt: false });
				t.same(readdirSync(join(path, "config")), [before.id]);
				await repository.close();
			}
			await works(t, path);
		}
	});

t.test("every block size is found again", async (t) => {
	for (const blockSize of [64, 128, 256, 512, 1024].map((n) => n * KIB)) {
		const path = join(folder(t), "repository");
		await initRepository(path, { blockSize });
		const repository = await openRepository(path);
		// Blocks that are zero, and a last one that is as long as a block of half the size.
		const disk = Buffer.concat([Buffer.alloc(blockSize), new Dice(blockSize).bytes(2.5 * blockSize)]);
		await repository.backup(request("vm", new MemoryImage(disk)));
		await repository.close();
		rmSync(join(path, "config"), { recursive: true });
		rmSync(join(path, CONFIG));
		await restoreConfig(path);
		const after = await openRepository(path);
		t.equal(after.blockSize, blockSize);
		t.ok((await readAll(after, "vm")).equals(disk));
		await after.close();
	}
});

t.test("a block size that nothing tells is asked for, and one that cannot be is refused", async (t) => {
	const path = join(folder(t), "repository");
	await initRepository(path, { blockSize: 128 * KIB });
	const repository = await openRepository(path);
	// All that is stored is 64 KiB after a hole: one full block of 64 KiB, or the last half of one of 128 KiB.
	const disk = Buffer.concat([Buffer.alloc(128 * KIB), new Dice(1).bytes(64 * KIB)]);
	await repository.backup(request("vm", new MemoryImage(disk)));
	await repository.close();
	rmSync(join(path, "config"), { recursive: true });
	rmSync(join(path, CONFIG));
	const known = openRepository(path);
	await t.rejects(known, { code: "NOT_A_REPOSITORY", message: /lost its springback.json: springback rebuild/ });
	await t.rejects(restoreConfig(path), { code: "UNSUPPORTED", message: /give --block-size, one of 64k, 128k/ });
	await t.rejects(restoreConfig(path, { blockSize: 32 * KIB }), { code: "UNSUPPORTED" });
	await restoreConfig(path, { blockSize: 128 * KIB });
	const after = await openRepository(path);
	t.ok((await readAll(after, "vm")).equals(disk));
	await after.close();
});

t.test("what is no repository, or is a newer one, is left alone", async (t) => {
	const nothing = folder(t);
	await t.rejects(restoreConfig(nothing), { code: "NOT_A_REPOSITORY" });
	await t.rejects(restoreConfig(join(nothing, "none")), { code: "NOT_FOUND" });
	t.same(readdirSync(nothing), []);
	const path = await one(t, "plain");
	const text = readFileSync(join(path, CONFIG), "utf8");
	writeFileSync(join(path, CONFIG), text.replace('"version": 1', '"version": 2'));
	await t.rejects(restoreConfig(path), { code: "NEWER_FORMAT" });
	writeFileSync(join(path, CONFIG), '{"name": "my-app"}');
	await t.rejects(restoreConfig(path), { code: "NOT_A_REPOSITORY", message: /is of something else/ });
	rmSync(join(path, CONFIG));
	await t.rejects(initRepository(path), { code: "EXISTS", message: /springback rebuild restores it/ });
	const other = await one(t, "plain");
	const foreign = readdirSync(join(other, "packs"))[0];
	cpSync(join(other, "packs", foreign), join(path, "packs", foreign), { recursive: true });
	await t.rejects(restoreConfig(path), { code: "DAMAGED", message: /packs of two repositories/ });
});

t.test("keys lost: said, and no plain repository is made of an encrypted one", async (t) => {
	const path = await one(t, "encrypted");
	for (const name of ["keys", "config"]) rmSync(join(path, name), { recursive: true });
	rmSync(join(path, CONFIG));
	await t.rejects(restoreConfig(path, PASSPHRASE), {
		code: "DAMAGED",
		message: /keys is empty, but packs are encrypted/,
	});
	t.notOk(existsSync(join(path, CONFIG)));
});

t.test("a repository of release 0.1, which has no copy, gets one with its next backup", async (t) => {
	const path = await one(t, "plain");
	rmSync(join(path, "config"), { recursive: true });
	const repository = await open(t, path);
	t.same((await repository.check({ readData: true })).faults, [], "that is no fault");
	await repository.backup(request("vm", new MemoryImage(content), 1));
	t.equal(readdirSync(join(path, "config")).length, 1);
	rmSync(join(path, CONFIG));
	t.match(await restoreConfig(path), { from: "copy" });
});

t.test("cut short after every operation, the next run gets there", async (t) => {
	const path = await one(t, "plain");
	const text = readFileSync(join(path, CONFIG), "utf8");
	flip(path, CONFIG, 50);
	const tree = new CrashTree(path, FOLDERS);
	faults.startTrace();
	await restoreConfig(path);
	const trace = faults.stopTrace().filter((entry) => entry.path.startsWith(path));
	const broken = join(folder(t), "broken");
	for (let done = 0; done <= trace.length; done++) {
		for (const kind of ["kill", "powerLoss"] as const) {
			tree[kind](broken);
			await restoreConfig(broken);
			t.equal(readFileSync(join(broken, CONFIG), "utf8"), text, `${kind} after ${done}`);
		}
		if (done < trace.length) tree.apply(trace[done]);
	}
	t.ok(trace.length > 8, `${trace.length} operations`);
});

t.test("init that cannot write the copy has made the repository all the same", async (t) => {
	const path = join(folder(t), "repository");
	faults.set([{ op: "rename", path: "/config/", error: "ENOSPC", count: -1 }]);
	await initRepository(path, CHEAP);
	faults.clear();
	t.same(readdirSync(join(path, "config")), []);
	await (await openRepository(path)).backup(request("vm", new MemoryImage(content)));
	t.equal(readdirSync(join(path, "config")).length, 1);
});
