/** Wrong paths and damaged or foreign folders get one clear error; two processes and read-only copies work. */
import { execFile } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import t from "tap";
import { faults } from "../../native/index.js";
import { type Config, decodeConfig, encodeConfig } from "../../src/repository/config.js";
import { createBlockCache, initRepository, openRepository } from "../../src/repository/index.js";
import {
	BLOCK,
	childEnvironment,
	Dice,
	folder,
	fresh,
	MemoryImage,
	MIB,
	open,
	randomFrom,
	readAll,
	request,
} from "./helpers.js";

t.test("init", async (t) => {
	const place = folder(t);
	const path = join(place, "deep", "er", "repository");
	await initRepository(path, { blockSize: 128 * 1024, random: randomFrom("init"), now: () => new Date(0) });
	const repository = await open(t, path);
	t.equal(repository.blockSize, 128 * 1024);
	t.match(repository.id, /^[0-9a-f]{32}$/);
	t.match(readFileSync(join(path, "springback.json"), "utf8"), /"created": "1970-01-01T00:00:00Z"/);
	await t.rejects(initRepository(path), { code: "EXISTS", message: /already/ });
	await t.rejects(initRepository(join(place, "x"), { blockSize: 4096 }), RangeError);
	const foreign = join(place, "foreign");
	mkdirSync(foreign);
	writeFileSync(join(foreign, "letter.txt"), "dear");
	await t.rejects(initRepository(foreign), { code: "EXISTS", message: /letter\.txt/ });
	await t.rejects(openRepository(foreign), { code: "NOT_A_REPOSITORY" });
	await t.rejects(openRepository(join(foreign, "letter.txt")), { code: "NOT_A_REPOSITORY" });
	await t.rejects(openRepository(join(place, "nowhere")), { code: "NOT_FOUND" });
});

t.test("an init that was cut short can be repeated", async (t) => {
	t.teardown(() => faults.clear());
	for (let skip = 0; ; skip++) {
		const path = join(folder(t), "repository");
		faults.set([{ op: "*", path, skip, error: "EIO" }]);
		const failed = await initRepository(path).then(
			() => false,
			() => true,
		);
		faults.clear();
		if (!failed) break;
		await initRepository(path).catch((error) => t.equal(error.code, "EXISTS", "the config was already in place"));
		const repository = await openRepository(path);
		await repository.close();
	}
});

t.test("springback.json: truncated, changed, newer", async (t) => {
	const repository = await fresh(t);
	const file = join(repository.path, "springback.json");
	const good = readFileSync(file, "utf8");
	const attempt = async (text: string) => {
		writeFileSync(file, text);
		return openRepository(repository.path);
	};
	await t.rejects(attempt(""), { code: "DAMAGED" });
	await t.rejects(attempt(good.slice(0, 60)), { code: "DAMAGED", message: /cut short/ });
	await t.rejects(attempt(good.replace("65536", "131072")), { code: "DAMAGED", message: /checksum/ });
	await t.rejects(attempt(good.replace('"version": 1', '"version": 2')), { code: "NEWER_FORMAT" });
	await t.rejects(attempt("{}"), { code: "NOT_A_REPOSITORY" });
	for (let at = 0; at < good.length; at++) {
		const bytes = Buffer.from(good);
		bytes[at] ^= 1 << (at % 8);
		writeFileSync(file, bytes);
		await t.rejects(openRepository(repository.path), { name: "RepositoryError" }, `bit flip at ${at}`);
	}
	writeFileSync(file, good);
});

t.test("features that this program does not know", async (t) => {
	const { path } = await fresh(t);
	const file = join(path, "springback.json");
	const config = decodeConfig(readFileSync(file, "utf8"), path);
	const use = (features: Partial<Config["features"]>) =>
		writeFileSync(file, encodeConfig({ ...config, features: { ...config.features, ...features } }));
	use({ compatible: ["colour"] });
	await (await openRepository(path)).close();
	use({ readCompatible: ["retention"] });
	const repository = await open(t, path);
	await t.rejects(repository.backup(request("vm", new MemoryImage(Buffer.alloc(1)))), {
		code: "READ_ONLY",
		message: /retention/,
	});
	use({ readCompatible: [], incompatible: ["zstd", "telepathy"] });
	await t.rejects(openRepository(path), { code: "NEWER_FORMAT", message: /uses telepathy,/ });
	use({ readCompatible: [], incompatible: [] });
	const old = await open(t, path);
	const zstd = request("vm", new MemoryImage(Buffer.alloc(1)), 0, { compression: "zstd" });
	await t.rejects(old.backup(zstd), { code: "UNSUPPORTED", message: /without zstd/ });
	use({ readCompatible: [], incompatible: ["encryption"] });
	await t.rejects(openRepository(path), { code: "ENCRYPTED", message: /--key-file/ });
});

t.test("a cache of another make is refused, a tiny one too", async (t) => {
	const repository = await fresh(t);
	await t.rejects(openRepository(repository.path, { cache: { budgetBytes: 5 } }), TypeError);
	t.throws(() => createBlockCache(1000), RangeError);
});

const writer = `
import { openRepository } from "${new URL("../../src/repository/index.js", import.meta.url).href}";
import { MemoryImage, Dice, request } from "${new URL("./helpers.js", import.meta.url).href}";
const repository = await openRepository(process.argv[1]);
const common = new Dice(77).bytes(${4 * MIB});
const own = new Dice(Number(process.argv[2])).bytes(${2 * MIB});
for (let n = 0; n < 3; n++)
	await repository.backup(request("vm" + process.argv[2], new MemoryImage(Buffer.concat([common, own])), n));
await repository.close();
`;

t.test("two processes back up into one repository at once", async (t) => {
	const repository = await fresh(t);
	const run = promisify(execFile);
	await Promise.all(
		[1, 2].map((n) =>
			run(process.execPath, ["--input-type=module", "-e", writer, repository.path, String(n)], {
				env: childEnvironment,
			}),
		),
	);
	t.equal((await repository.points()).length, 6);
	const common = new Dice(77).bytes(4 * MIB);
	for (const n of [1, 2]) {
		const expected = Buffer.concat([common, new Dice(n).bytes(2 * MIB)]);
		t.ok((await readAll(repository, `vm${n}`)).equals(expected), "read by a process that was open all the time");
	}
	t.same((await repository.check({ readData: true })).faults, []);
});

t.test("a point that another process deletes is not opened", async (t) => {
	const repository = await fresh(t);
	const { point } = await repository.backup(request("vm", new MemoryImage(new Dice(1).bytes(BLOCK))));
	const { sys } = await import("../../native/index.js");
	const pins = sys.open(join(repository.path, "locks/pins"), 2);
	const byte = Number.parseInt(point.id.slice(0, 12), 16);
	t.ok(sys.lock(pins, "exclusive", byte, 1));
	await t.rejects(repository.openDisk(point, "disk0"), { code: "LOCKED" });
	sys.unlock(pins, byte, 1);
	const disk = await repository.openDisk(point, "disk0");
	t.notOk(sys.lock(pins, "exclusive", byte, 1), "pinned while open");
	await disk.close();
	t.ok(sys.lock(pins, "exclusive", byte, 1));
	sys.close(pins);
	sys.unlink(join(repository.path, "points", point.id));
	await t.rejects(repository.openDisk(point, "disk0"), { code: "UNKNOWN_POINT" });
});

t.test("a full or read-only repository says so", async (t) => {
	const repository = await fresh(t);
	t.teardown(() => faults.clear());
	const image = new MemoryImage(new Dice(1).bytes(MIB));
	faults.set([{ op: "open", path: `${repository.path}/tmp`, error: "EROFS", count: -1 }]);
	await t.rejects(repository.backup(request("vm", image)), { code: "READ_ONLY" });
	faults.clear();
	await repository.backup(request("vm", image));
});
