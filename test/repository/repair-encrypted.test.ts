/** Check, repair and rebuild of an encrypted repository: with the key, all that is good is kept, and stays sealed. */
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { xxh3 } from "../../native/index.js";
import { decodeConfig, encodeConfig } from "../../src/repository/config.js";
import { type CheckFault, initRepository, type Repository } from "../../src/repository/index.js";
import { filesOf, flip, packOf, recordsOf, stateOf } from "./damage-lab.js";
import { BLOCK, Dice, encrypted, folder, MemoryImage, open, readAll, request } from "./helpers.js";

const content = new Dice(51).bytes(6 * BLOCK + 500);
const nvram = Buffer.alloc(3000, "nvram of payroll ");
const WHOLE = Array.from({ length: 7 }, () => "exact");

interface Made {
	path: string;
	/** opens it again */
	again: () => Promise<Repository>;
}

/** An encrypted repository with one point of one VM, closed. */
const one = async (t: Test): Promise<Made> => {
	const { path, master, ...repository } = await filled(t);
	await repository.close();
	return { path, again: () => open(t, path, { key: { masterOf: () => master } }) };
};

const filled = async (t: Test) => {
	const repository = await encrypted(t, "zstd:3");
	await repository.backup(
		request("payroll", new MemoryImage(content), 0, { files: [{ name: "secret.nvram", content: nvram }] }),
	);
	const { path, master } = repository;
	return { path, master, close: () => repository.close() };
};

const hits = (found: CheckFault[]) =>
	found.flatMap(({ hits }) => hits.map(({ vm, disk, offset, length }) => ({ vm, disk, offset, length })));

const bytes = (offset: number, length: number) => ({ vm: "payroll", disk: "disk0", offset, length });

/** What reading each block gives. */
const readBlocks = async (repository: Repository): Promise<string[]> => {
	const image = await repository.openDisk(await repository.resolve("payroll"), "disk0");
	const result: string[] = [];
	for (let at = 0; at < image.size; at += BLOCK) {
		const got = Buffer.alloc(Math.min(BLOCK, image.size - at));
		try {
			await image.read(at, got);
			result.push(got.equals(content.subarray(at, at + got.length)) ? "exact" : "wrong");
		} catch {
			result.push("error");
		}
	}
	await image.close();
	return result;
};

/** Every record of every pack is flagged as encrypted, no salt comes twice, and no file has what must not be read. */
const sealed = (t: Test, path: string): void => {
	const salts = filesOf(path, "packs").map((name) => {
		const pack = readFileSync(join(path, name));
		t.equal(pack[9], 1, `${name} is an encrypted pack`);
		const plain = recordsOf(path, name).filter(({ at }) => (pack[at + 6] & 1) === 0);
		t.same(plain, [], `${name}: all records are encrypted`);
		return pack.toString("hex", 48, 80);
	});
	for (const name of filesOf(path, "quarantine").filter((name) => !name.endsWith(".json")))
		salts.push(readFileSync(join(path, name)).toString("hex", 48, 80));
	t.equal(new Set(salts).size, salts.length, "each pack has its own salt");
	const secrets: Buffer[] = ["payroll", "disk0", "secret.nvram", "nvram of"].map((word) => Buffer.from(word));
	secrets.push(content.subarray(0, 16), content.subarray(BLOCK, BLOCK + 16));
	for (const name of filesOf(path))
		for (const secret of secrets)
			if (readFileSync(join(path, name)).includes(secret)) t.fail(`${name} holds ${secret.toString("latin1")}`);
};

t.test("wrong bits are found and repaired; what is stored again is sealed anew", async (t) => {
	const { path, again } = await one(t);
	const pack = packOf(path, 1);
	const records = recordsOf(path, pack);
	flip(path, pack, records[1].at + 1000);
	// One bit and the checksum that goes with it: only the tag tells.
	const forged = readFileSync(join(path, pack));
	const { at, length } = records[4];
	forged[at + 300] ^= 4;
	const covered = [forged.subarray(at, at + 16), forged.subarray(at + 24, at + length)];
	forged.writeBigUInt64LE(xxh3(Buffer.concat(covered)), at + 16);
	writeFileSync(join(path, pack), forged);

	const lost = [bytes(BLOCK, BLOCK), bytes(4 * BLOCK, BLOCK)];
	const repository = await again();
	const [found, ...others] = (await repository.check({ readData: true })).faults;
	t.same(others, []);
	t.match(found, { kind: "bad-record", file: pack });
	t.same(
		found.ranges,
		[records[1], records[4]].map(({ at, length }) => ({ offset: at, length })),
	);
	t.same(hits([found]), lost);
	const before = stateOf(repository);
	const plan = await repository.repair({ dryRun: true });
	t.same(stateOf(repository), before, "a dry run changes nothing");
	t.same(hits(plan.remaining), lost);

	const report = await repository.repair({});
	t.match(report.quarantined, [{ good: 5, rewritten: 5, bad: 2 }]);
	t.same(hits(report.remaining), lost, "says what stays damaged");
	t.same(await readBlocks(repository), ["exact", "error", "exact", "exact", "error", "exact", "exact"]);
	const told = JSON.parse(readFileSync(join(path, `${report.quarantined[0].file}.json`), "utf8"));
	t.match(told, { good: 5, bad: 2, faults: [{ kind: "bad-record", ranges: found.ranges }] });
	sealed(t, path);

	const second = await repository.repair({});
	t.same([second.quarantined, second.indexRebuilt], [[], false], "a second run finds nothing to do");
	const { disks } = await repository.backup(request("payroll", new MemoryImage(content), 1));
	t.equal(disks[0].new, 2 * BLOCK, "the next backup stores just these again");
	t.same((await repository.check({ readData: true })).faults, []);
	const [first] = await repository.points();
	t.ok((await readAll(repository, `payroll@${first.id}`)).equals(content), "which heals the old point too");
	t.same(await repository.extraFile(first, "secret.nvram"), nvram);
	sealed(t, path);
});

t.test("header, footer, trailer, a cut: repair keeps all whose tag is good", async (t) => {
	type Hurt = (path: string, pack: string) => void;
	const cut = (at: (path: string, pack: string) => number): Hurt => {
		return (path, pack) => truncateSync(join(path, pack), at(path, pack));
	};
	const fill = (path: string, pack: string, from: number, to: number) => {
		const content = readFileSync(join(path, pack));
		writeFileSync(join(path, pack), content.fill(0xee, from, to));
	};
	const both = (first: Hurt, second: Hurt): Hurt => {
		return (path, pack) => {
			first(path, pack);
			second(path, pack);
		};
	};
	const trailer: Hurt = (path, pack) => flip(path, pack, -5);
	const footer: Hurt = (path, pack) => flip(path, pack, -200);
	const cases: [string, Hurt, string[]][] = [
		["header", (path, pack) => fill(path, pack, 0, 96), WHOLE],
		["salt", (path, pack) => flip(path, pack, 50), WHOLE],
		["trailer", trailer, WHOLE],
		["footer", footer, WHOLE],
		["copy of the salt", (path, pack) => flip(path, pack, -70), WHOLE],
		["header and footer", both((path, pack) => fill(path, pack, 0, 96), footer), WHOLE],
		["header but its salt, and trailer", both((path, pack) => flip(path, pack, 20), trailer), WHOLE],
		["header and trailer", both((path, pack) => fill(path, pack, 0, 96), trailer), WHOLE.map(() => "error")],
		["footer, all of it", cut((path, pack) => recordsOf(path, pack)[6].at + recordsOf(path, pack)[6].length), WHOLE],
		["the last record", cut((path, pack) => recordsOf(path, pack)[6].at + 300), [...WHOLE.slice(1), "error"]],
		[
			"footer, and a record's header",
			both(footer, (path, pack) => flip(path, pack, recordsOf(path, pack)[0].at + 13, 7)),
			["error", ...WHOLE.slice(1)],
		],
	];
	for (const [name, hurt, expected] of cases) {
		const { path, again } = await one(t);
		const pack = packOf(path, 1);
		hurt(path, pack);
		const repository = await again();
		const report = await repository.repair({});
		t.equal(report.quarantined.length, 1, name);
		t.same(await readBlocks(repository), expected, `${name}: serves what is good`);
		t.equal(hits(report.remaining).length > 0, expected.includes("error"), `${name}: names what is lost`);
		await repository.backup(request("payroll", new MemoryImage(content), 1));
		t.same((await repository.check({ readData: true })).faults, [], `${name}: healed`);
		sealed(t, path);
		await repository.close();
	}
});

t.test("pages and extra files are stored again under their keyed names", async (t) => {
	const { path, again } = await one(t);
	const pack = packOf(path, 2);
	flip(path, pack, -5);
	const repository = await again();
	const report = await repository.repair({});
	t.match(report, { quarantined: [{ good: 2, rewritten: 2, bad: null }], remaining: [] });
	t.same(await readBlocks(repository), WHOLE);
	t.same(await repository.extraFile(await repository.resolve("payroll"), "secret.nvram"), nvram);
	t.same((await repository.check({ readData: true })).faults, []);
	sealed(t, path);
});

t.test("an index that is lost is made from packs alone, also where their footers or headers are damaged", async (t) => {
	const hurts: [string, (path: string) => void, number][] = [
		["index", () => {}, 0],
		["index and a footer", (path) => flip(path, packOf(path, 1), -200), 1],
		["index and a header", (path) => flip(path, packOf(path, 2), 50), 1],
	];
	for (const [name, hurt, bad] of hurts) {
		const { path, again } = await one(t);
		hurt(path);
		rmSync(join(path, "index"), { recursive: true });
		const repository = await again();
		const { packs, records, segments, faults } = await repository.rebuild({});
		t.same({ packs, records, segments }, { packs: 2, records: 9, segments: 1 }, name);
		t.same(
			faults.map(({ kind }) => kind),
			Array.from({ length: bad }, () => "bad-pack"),
			name,
		);
		t.equal(readdirSync(join(path, "index")).length, 1);
		t.same(await readBlocks(repository), WHOLE, name);
		const { disks } = await repository.backup(request("payroll", new MemoryImage(content), 1));
		t.equal(disks[0].new, 0, `${name}: every block is found again`);
		t.equal((await repository.check({ readData: true })).faults.length, bad);
		await repository.close();
	}
});

t.test("packs that somebody put there, and plain records in ours, are moved aside and never used", async (t) => {
	const { path, again } = await one(t);
	// The same blocks in a plain repository that carries the same id.
	const plain = join(folder(t), "plain");
	await initRepository(plain);
	const config = decodeConfig(readFileSync(join(path, "springback.json"), "utf8"), path);
	writeFileSync(
		join(plain, "springback.json"),
		encodeConfig({ ...config, features: { ...config.features, incompatible: ["zstd"] } }),
	);
	const other = await open(t, plain);
	await other.backup(request("payroll", new MemoryImage(content), 5));
	const planted = filesOf(plain, "packs");
	for (const name of planted) {
		mkdirSync(join(path, name, ".."), { recursive: true });
		cpSync(join(plain, name), join(path, name));
	}
	const repository = await again();
	const report = await repository.repair({});
	t.same(
		report.quarantined.map(({ file, good, bad }) => ({ file, good, bad })),
		planted.map((name) => ({ file: `quarantine/${name.split("/")[2]}`, good: 0, bad: null })),
	);
	t.same(report.remaining, []);
	t.same(await readBlocks(repository), WHOLE);
	await repository.close();

	// A pack of ours in which a plain record stands where a sealed one was.
	const pack = packOf(path, 1);
	const mine = recordsOf(path, pack)[2];
	const forged = readFileSync(join(path, pack));
	const block = content.subarray(2 * BLOCK, 3 * BLOCK);
	forged[mine.at + 5] = 0;
	forged[mine.at + 6] = 0;
	block.copy(forged, mine.at + 56);
	const covered = [forged.subarray(mine.at, mine.at + 16), forged.subarray(mine.at + 24, mine.at + mine.length)];
	forged.writeBigUInt64LE(xxh3(Buffer.concat(covered)), mine.at + 16);
	writeFileSync(join(path, pack), forged);
	const hurt = await again();
	t.same(hits((await hurt.repair({})).remaining), [bytes(2 * BLOCK, BLOCK)]);
	t.same(
		await readBlocks(hurt),
		WHOLE.map((word, n) => (n === 2 ? "error" : word)),
	);
});

t.test("a pack that comes back from a copy is read again, also by who met it damaged", async (t) => {
	const { path, again } = await one(t);
	const pack = packOf(path, 1);
	const whole = readFileSync(join(path, pack));
	const hurt = Buffer.from(whole);
	hurt.fill(0xee, 0, 96).fill(0xee, hurt.length - 64);
	writeFileSync(join(path, pack), hurt);
	const repository = await again();
	t.same(
		await readBlocks(repository),
		WHOLE.map(() => "error"),
	);
	writeFileSync(join(path, pack), whole);
	t.same(await readBlocks(repository), WHOLE);
});
