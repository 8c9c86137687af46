/** Compression levels: chosen at init, overridden by a backup, mixed in one repository, damage found in each. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { initRepository, openRepository, parseCompression, type Repository } from "../../src/repository/index.js";
import { BLOCK, Dice, filesOf, folder, MemoryImage, open, readAll, request } from "./helpers.js";

/** Text with few letters and hardly a repetition longer than a few bytes: what an entropy coder is for. */
const text = (length: number, seed: number): Buffer =>
	Buffer.from(new Dice(seed).bytes(length).toString("hex").slice(0, length));

const made = async (t: Parameters<typeof folder>[0], compression?: string): Promise<Repository> => {
	const path = join(folder(t), "repository");
	await initRepository(path, { compression });
	return open(t, path);
};

/** Codecs of the data blocks in a repository, in file order. */
const codecsIn = (path: string): number[] =>
	filesOf(path, "packs").flatMap((name) => {
		const bytes = readFileSync(join(path, name));
		const codecs: number[] = [];
		for (let at = 96; bytes.toString("latin1", at, at + 4) === "SBR1"; at += 56 + bytes.readUInt32LE(at + 12))
			if (bytes[at + 4] === 1) codecs.push(bytes[at + 5]);
		return codecs;
	});

t.test("what can be named", async (t) => {
	for (const good of ["none", "lz4", "zstd", "zstd:1", "zstd:19"]) t.ok(parseCompression(good), good);
	for (const bad of ["", "gzip", "zstd:0", "zstd:20", "zstd:", "zstd:3.5", "LZ4", "lz4:9"])
		t.equal(parseCompression(bad), undefined, bad);
	await t.rejects(initRepository(join(folder(t), "x"), { compression: "gzip" }), RangeError);
});

t.test("stored sizes: none > lz4 > zstd, and higher levels are smaller", async (t) => {
	const content = Buffer.concat(
		Array.from({ length: 8 }, (_, n) => Buffer.from(`line ${n} `.repeat(3000) + text(30_000, n + 1).toString())),
	);
	const sizes: number[] = [];
	for (const compression of ["none", "lz4", "zstd:1", "zstd:19"]) {
		const repository = await made(t, compression);
		const { disks } = await repository.backup(request("vm", new MemoryImage(content)));
		t.ok((await readAll(repository, "vm")).equals(content), compression);
		sizes.push(disks[0].stored);
	}
	t.same(
		[...sizes].sort((a, b) => b - a),
		sizes,
		sizes.join(" > "),
	);
	t.ok(sizes[0] > content.length && sizes[3] < content.length / 2);
});

t.test("mixed in one repository; blocks that are there already are not stored again", async (t) => {
	const repository = await made(t, "zstd:9");
	const blocks = [1, 2, 3, 4].map((seed) => text(BLOCK, seed));
	await repository.backup(request("a", new MemoryImage(blocks[0])));
	await repository.backup(request("b", new MemoryImage(blocks[1]), 1, { compression: "none" }));
	const long = Buffer.alloc(BLOCK, "for lz4 ");
	await repository.backup(request("c", new MemoryImage(long), 2, { compression: "lz4" }));
	const all = Buffer.concat([blocks[0], blocks[1], long, blocks[2], new Dice(9).bytes(BLOCK)]);
	const { disks } = await repository.backup(request("d", new MemoryImage(all), 3));
	t.equal(disks[0].new, 2 * BLOCK);
	t.same(codecsIn(repository.path).sort(), [0, 0, 1, 2, 2], "random bytes are stored raw");
	t.ok((await readAll(repository, "d")).equals(all));
	t.same((await repository.check({ readData: true })).faults, []);
	await t.rejects(repository.backup(request("e", new MemoryImage(all), 4, { compression: "best" })), RangeError);
});

t.test("a repository made before compression was recorded: LZ4", async (t) => {
	const repository = await made(t);
	await repository.backup(request("vm", new MemoryImage(Buffer.alloc(BLOCK, "x"))));
	t.same(codecsIn(repository.path), [1]);
});

t.test("a flipped bit in a zstd record is found, and never served", async (t) => {
	const repository = await made(t, "zstd");
	const content = text(1000, 5);
	await repository.backup(request("vm", new MemoryImage(content)));
	await repository.close();
	const name = filesOf(repository.path, "packs").find((file) => readFileSync(join(repository.path, file))[8] === 1)!;
	const file = join(repository.path, name);
	const good = readFileSync(file);
	t.equal(good[96 + 5], 2, "zstd");
	const end = 96 + 56 + good.readUInt32LE(96 + 12);
	for (let at = 96; at < end; at += 3) {
		const bytes = Buffer.from(good);
		bytes[at] ^= 1 << (at % 8);
		writeFileSync(file, bytes);
		const again = await openRepository(repository.path);
		const got = await readAll(again, "vm").catch((error: { code: string }) => error.code);
		if (got !== "ECORRUPT") t.fail(`byte ${at}: ${Buffer.isBuffer(got) ? "bytes were served" : got}`);
		await again.close();
	}
	writeFileSync(file, good);
	const again = await open(t, repository.path);
	t.ok((await readAll(again, "vm")).equals(content));
});
