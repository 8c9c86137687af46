/** Encrypted repositories: nothing readable in any file, nothing forged is served, no nonce twice. */
import { createHash } from "node:crypto";
import { cpSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import t from "tap";
import { faults } from "../../native/index.js";
import { decodeConfig, encodeConfig } from "../../src/repository/config.js";
import { initRepository, openRepository } from "../../src/repository/index.js";
import {
	BLOCK,
	Dice,
	encrypted,
	filesOf,
	folder,
	MemoryImage,
	MIB,
	open,
	PASSPHRASE,
	randomFrom,
	readAll,
	request,
} from "./helpers.js";

t.afterEach(() => faults.clear());

const salts = (path: string): string[] => {
	const files = [...filesOf(path, "packs"), ...filesOf(path, "tmp")].map((name) => readFileSync(join(path, name)));
	return files
		.filter((bytes) => bytes.toString("latin1", 0, 8) === "SBPACK01")
		.map((bytes) => bytes.toString("hex", 48, 80));
};

t.test("round trip: dedupe, index rebuilt from packs, check, nothing readable in any file", async (t) => {
	const repository = await encrypted(t);
	const { path } = repository;
	const marker = "plain marker of the guest ";
	const content = Buffer.concat([Buffer.alloc(BLOCK, marker), new Dice(1).bytes(3 * BLOCK), Buffer.alloc(100, "end")]);
	const facts = { where: "machine-room-4" };
	const files = [{ name: "secret.nvram", content: Buffer.alloc(5000, "nvram content ") }];
	await repository.backup(request("payroll-server", new MemoryImage(content), 0, { facts, files }));
	const { disks } = await repository.backup(
		request("payroll-server", new MemoryImage(content), 1, { compression: "none" }),
	);
	t.equal(disks[0].new, 0, "keyed identities are found again");
	t.ok((await readAll(repository, "payroll-server")).equals(content));
	const [point] = await repository.points();
	t.same(await repository.extraFile(point, "secret.nvram"), files[0].content);
	const report = await repository.check({ readData: true });
	t.same(report.faults, []);
	t.ok(report.bytesRead > 3 * BLOCK);

	const block = content.subarray(0, BLOCK);
	const secrets = [
		...["payroll", "machine-room", "secret.nvram", "nvram content", "disk0", "bios", marker.slice(0, 12)].flatMap(
			(word) => [Buffer.from(word), Buffer.from(word, "utf16le")],
		),
		content.subarray(2 * BLOCK, 2 * BLOCK + 16),
		// An identity that anybody can compute would show that the block is there.
		createHash("sha256").update(block).digest(),
		createHash("sha256")
			.update(content.subarray(BLOCK, 2 * BLOCK))
			.digest(),
		createHash("sha256").update(files[0].content).digest(),
	];
	for (const name of filesOf(path)) {
		const bytes = readFileSync(join(path, name));
		for (const secret of secrets) if (bytes.includes(secret)) t.fail(`${name} holds ${secret.toString("latin1")}`);
	}

	await repository.close();
	for (const name of readdirSync(join(path, "index"))) rmSync(join(path, "index", name));
	const later = await open(t, path, PASSPHRASE);
	t.ok((await readAll(later, "payroll-server")).equals(content), "from footers alone");
	t.same((await later.check({ readData: true })).faults, []);
});

t.test("a flipped bit in any file is found, and never served", { timeout: 300_000 }, async (t) => {
	const repository = await encrypted(t);
	const content = Buffer.concat([Buffer.alloc(BLOCK, "a"), Buffer.alloc(BLOCK, "b"), Buffer.alloc(1000, "c")]);
	await repository.backup(
		request("vm", new MemoryImage(content), 0, { files: [{ name: "n", content: Buffer.alloc(3000, "n") }] }),
	);
	const [point] = await repository.points();
	const { master } = repository;
	await repository.close();
	const broken = join(folder(t), "broken");
	let flips = 0;
	for (const file of filesOf(repository.path)) {
		const { size } = statSync(join(repository.path, file));
		for (let at = 0; at < size; at += size > 1500 ? 149 : 37) {
			cpSync(repository.path, broken, { recursive: true });
			const bytes = readFileSync(join(broken, file));
			bytes[at] ^= 1 << (at % 8);
			writeFileSync(join(broken, file), bytes);
			flips += 1;
			// The master key as the mount process has it: half a second for each scrypt would be most of this test.
			const opened = await openRepository(broken, { key: { masterOf: () => master } }).catch((error: Error) => error);
			if (opened instanceof Error) {
				if (file !== "springback.json") t.fail(`${file} byte ${at}: ${opened.message}`);
			} else {
				const report = await opened.check({ readData: true });
				if (!report.faults.some((fault) => fault.file === file))
					t.fail(`${file} byte ${at}: ${JSON.stringify(report.faults)}`);
				const got = await readAll(opened, `vm@${point.id}`).catch((error: Error) => error);
				if (Buffer.isBuffer(got) && !got.equals(content)) t.fail(`${file} byte ${at}: wrong bytes served`);
				const extra = await opened.extraFile(point, "n").catch((error: Error) => error);
				if (Buffer.isBuffer(extra) && !extra.equals(Buffer.alloc(3000, "n"))) t.fail(`${file} byte ${at}: wrong file`);
				await opened.close();
			}
			rmSync(broken, { recursive: true });
		}
	}
	t.ok(flips > 100, `${flips} flips`);
});

t.test("what somebody with write access can put there is not taken for ours", async (t) => {
	const repository = await encrypted(t);
	const { path } = repository;
	const key = { key: { masterOf: () => repository.master } };
	const content = new Dice(3).bytes(2 * BLOCK);
	const { point } = await repository.backup(request("vm", new MemoryImage(content)));
	await repository.close();

	// The same blocks in a plain repository that carries the same id.
	const plain = join(folder(t), "plain");
	await initRepository(plain);
	const config = decodeConfig(readFileSync(join(path, "springback.json"), "utf8"), path);
	const words = { ...config.features, incompatible: ["zstd"] };
	writeFileSync(join(plain, "springback.json"), encodeConfig({ ...config, features: words }));
	const other = await open(t, plain);
	await other.backup(request("vm", new MemoryImage(content), 5));
	for (const folder of ["packs", "index", "points"])
		cpSync(join(plain, folder), join(path, folder), { recursive: true });
	const mixed = await openRepository(path, key);
	t.same(
		(await mixed.points()).map(({ id }) => id),
		[point.id],
		"the plain point is not listed",
	);
	const kinds = (await mixed.check({ readData: false })).faults.map(({ kind }) => kind);
	t.same(new Set(kinds), new Set(["bad-pack", "bad-point"]));
	await mixed.close();

	// Two points, each under the other's name.
	const swapped = await encrypted(t);
	const one = (await swapped.backup(request("one", new MemoryImage(content), 0))).point;
	const two = (await swapped.backup(request("two", new MemoryImage(content), 1))).point;
	await swapped.close();
	const files = [one, two].map(({ id }) => join(swapped.path, "points", id));
	const [a, b] = files.map((file) => readFileSync(file));
	writeFileSync(files[0], b);
	writeFileSync(files[1], a);
	const again = await open(t, swapped.path, { key: { masterOf: () => swapped.master } });
	t.same(await again.points(), []);

	// A springback.json that says: not encrypted.
	writeFileSync(join(path, "springback.json"), encodeConfig({ ...config, features: words }));
	await t.rejects(openRepository(path), { code: "DAMAGED", message: /has keys, but/ });
	rmSync(join(path, "keys"), { recursive: true });
	await t.rejects(openRepository(path, { key: { passphrase: () => Buffer.from("x"), expected: true } }), {
		code: "UNSUPPORTED",
		message: /not encrypted, but a passphrase was given/,
	});
});

t.test("no key and nonce come twice: failed writes, retries, two writers with the same ids at hand", async (t) => {
	const repository = await encrypted(t);
	const { path, master } = repository;
	const content = new Dice(4).bytes(2 * MIB);
	const seen: string[] = [];
	for (let skip = 0; skip < 4; skip++) {
		faults.set([{ op: "pwrite", path: `${path}/tmp`, skip, error: "ENOSPC" }]);
		await t.rejects(repository.backup(request("vm", new MemoryImage(content), skip)), { code: "NO_SPACE" });
		seen.push(...salts(path));
		faults.clear();
	}
	await repository.backup(request("vm", new MemoryImage(content), 9));
	await repository.close();
	// Ids from one seed: the worst that a source of ids could do. Salts do not come from it.
	const writers = await Promise.all(
		["same", "same"].map((seed) => open(t, path, { random: randomFrom(seed), key: { masterOf: () => master } })),
	);
	const results = await Promise.allSettled(
		writers.map((writer, n) => writer.backup(request("vm", new MemoryImage(new Dice(10 + n).bytes(MIB)), 10 + n))),
	);
	t.ok(results.some(({ status }) => status === "fulfilled"));
	const all = [...new Set(seen), ...salts(path)];
	t.equal(new Set(all).size, all.length, `${all.length} packs`);
	t.notOk(all.includes("00".repeat(32)));
	const last = await open(t, path, { key: { masterOf: () => master } });
	t.same((await last.check({ readData: true })).faults, []);
});

t.test("a pack whose header is lost is read with the copy of its salt", async (t) => {
	const repository = await encrypted(t);
	const content = new Dice(5).bytes(4 * BLOCK);
	await repository.backup(request("vm", new MemoryImage(content)));
	await repository.close();
	for (const name of filesOf(repository.path, "packs")) {
		const bytes = readFileSync(join(repository.path, name));
		bytes.fill(0, 0, 96);
		writeFileSync(join(repository.path, name), bytes);
	}
	const again = await open(t, repository.path, { key: { masterOf: () => repository.master } });
	t.ok((await readAll(again, "vm")).equals(content));
	const { faults } = await again.check({ readData: true });
	t.same(
		faults.map(({ kind, file }) => `${kind} ${basename(file).length}`),
		["bad-pack 32", "bad-pack 32"],
	);
});

t.test("a footer is sealed under a nonce that no record can have", async (t) => {
	const repository = await encrypted(t);
	await repository.backup(request("vm", new MemoryImage(new Dice(6).bytes(BLOCK))));
	for (const name of filesOf(repository.path, "packs")) {
		const bytes = readFileSync(join(repository.path, name));
		const end = bytes.length - 64;
		t.equal(bytes.readUInt32LE(end + 20), 1, "flagged");
		t.ok(bytes.readBigUInt64LE(end + 8) < 2n ** 40n, "offsets of records stay below the footer's nonce");
		t.same(bytes.subarray(end - 32, end), bytes.subarray(48, 80), "the copy of the salt");
	}
});
