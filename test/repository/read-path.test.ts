/** What comes along with a miss: pack tables, neighbouring pages and blocks. A help that must never harm. */
import { readdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { faults } from "../../native/index.js";
import { FileStore } from "../../src/repository/file-store.js";
import { createBlockCache, openRepository, type Repository } from "../../src/repository/index.js";
import { Keyring } from "../../src/repository/keyring.js";
import { PackSeals } from "../../src/repository/pack-seals.js";
import { PackTables } from "../../src/repository/pack-tables.js";
import { ReadAround } from "../../src/repository/read-around.js";
import { BLOCK, Dice, encrypted, fresh, MemoryImage, MIB, open, PASSPHRASE, randomFrom, request } from "./helpers.js";

t.afterEach(() => faults.clear());

const packsOf = (repository: Repository): { id: string; path: string; bytes: Buffer }[] =>
	readdirSync(join(repository.path, "packs"), { withFileTypes: true, recursive: true })
		.filter((entry) => entry.isFile())
		.map((entry) => ({ id: entry.name, path: join(entry.path, entry.name) }))
		.map((pack) => ({ ...pack, bytes: readFileSync(pack.path) }));

/** A repository with one VM of `blocks` blocks that do not compress. */
const stored = async (t: Parameters<typeof fresh>[0], blocks: number) => {
	const repository = await fresh(t);
	const content = new Dice(blocks).bytes(blocks * BLOCK);
	const { point } = await repository.backup(request("vm", new MemoryImage(content)));
	await repository.close();
	const packs = packsOf(repository);
	const data = packs.find(({ bytes }) => bytes[8] === 1)!;
	const meta = packs.find(({ bytes }) => bytes[8] === 2)!;
	return { path: repository.path, content, point, data, meta };
};

/** Waits until `condition` holds. */
const until = async (condition: () => boolean): Promise<boolean> => {
	for (let n = 0; n < 400 && !condition(); n++) await sleep(5);
	return condition();
};

t.test("pack tables: bounded; scattered use replaces nothing; what is wrong is not asked again", async (t) => {
	const { path, data, meta } = await stored(t, 300);
	const store = new FileStore(path, randomFrom("tables"), 2);
	t.teardown(() => store.close());
	const seals = new PackSeals(store, new Keyring("0".repeat(32)));
	const entry = data.bytes.readBigUInt64LE(data.bytes.length - 56);
	const first = data.bytes.subarray(Number(entry), Number(entry) + 48);

	const tables = new PackTables(store, seals);
	t.equal(tables.find(first, 0, 1), undefined);
	tables.reading(data.id, data.bytes.length);
	await tables.loaded(data.id);
	t.match(tables.find(first, 0, 1), { pack: data.id, offset: 96, rawLength: BLOCK });
	t.equal(tables.find(first, 0, 2), undefined, "another type");
	const place = tables.find(first, 0, 1)!;
	t.equal(tables.around(place, 1, 4 * place.length).length, 4);
	t.equal(tables.around({ ...place, offset: 5 * place.length }, 1, 4 * place.length).length, 4);
	t.same(tables.around({ ...place, pack: meta.id }, 1, MIB), []);
	tables.reject(data.id);
	t.equal(tables.bytes, 0);
	tables.reading(data.id, data.bytes.length);
	t.equal(tables.loaded(data.id), undefined, "rejected: not loaded again");

	const wrong = new PackTables(store, seals);
	wrong.reading(data.id, data.bytes.length - 1);
	wrong.reading("0".repeat(32), 100_000);
	await Promise.all([wrong.loaded(data.id), wrong.loaded("0".repeat(32))]);
	t.equal(wrong.bytes, 0);

	const oneTable = 300 * 48 + 512 * 4;
	const small = new PackTables(store, seals, 2 * oneTable);
	small.reading(data.id, data.bytes.length);
	await small.loaded(data.id);
	t.equal(small.bytes, oneTable);
	const tight = new PackTables(store, seals, 2 * oneTable - 2);
	tight.reading(data.id, data.bytes.length);
	await tight.loaded(data.id);
	t.equal(tight.bytes, 0, "one table takes at most half");
	small.reading(meta.id, meta.bytes.length);
	await small.loaded(meta.id);
	t.ok(small.bytes > oneTable && small.bytes <= 2 * oneTable);
	const late = new PackTables(store, seals, 2 * oneTable);
	late.reading(meta.id, meta.bytes.length);
	late.reading(data.id, data.bytes.length);
	await Promise.all([late.loaded(meta.id), late.loaded(data.id)]);
	late.reject(meta.id);
	t.equal(late.bytes, oneTable);
});

t.test("a miss brings its neighbours", async (t) => {
	const { path, content, point } = await stored(t, 200);
	const repository = await open(t, path, { cache: createBlockCache(8 * MIB) });
	const image = await repository.openDisk(point, "disk0");
	const target = Buffer.alloc(4096);
	await image.read(101 * BLOCK, target);
	t.ok(target.equals(content.subarray(101 * BLOCK, 101 * BLOCK + 4096)));
	const has = (block: number): boolean => {
		const loans = image.borrow!(block * BLOCK, 512);
		for (const loan of loans ?? []) loan.release();
		return loans !== undefined;
	};
	t.ok(await until(() => [100, 101, 102, 103].every(has)));
	t.notOk(has(99) || has(104));
	// The other leaves came with the first one: blocks below them take no page.
	faults.set([{ op: "pread", path: "packs", error: "EIO", count: -1 }]);
	await t.rejects(async () => image.read(0, target), { message: /at offset 0: .*\/packs\// }, "not the map, the block");
});

t.test("damaged or unreadable neighbours and footers fail no read", async (t) => {
	const { path, content, point, data, meta } = await stored(t, 200);
	const records = Math.floor((data.bytes.length - 96) / (BLOCK + 56));
	for (let n = 0; n < 200 && n < records; n += 2) data.bytes[96 + n * (BLOCK + 56) + 1000] ^= 1;
	// Footers, and every page but the first.
	data.bytes[data.bytes.length - 100] ^= 1;
	writeFileSync(data.path, data.bytes);
	const footer = Number(meta.bytes.readBigUInt64LE(meta.bytes.length - 56));
	const pages: number[] = [];
	for (let at = footer; at < meta.bytes.length - 64; at += 48) pages.push(meta.bytes.readUInt32LE(at + 36));
	meta.bytes[pages[1] + 70] ^= 1;
	writeFileSync(meta.path, meta.bytes);
	const image = await (await open(t, path)).openDisk(point, "disk0");
	for (let n = 0; n < 64; n++) {
		const target = Buffer.alloc(BLOCK);
		const got = await Promise.resolve(image.read(n * BLOCK, target)).then(
			() => "read",
			(error: { code: string }) => error.code,
		);
		t.equal(got, n % 2 === 0 ? "ECORRUPT" : "read");
		if (n % 2 === 1) t.ok(target.equals(content.subarray(n * BLOCK, (n + 1) * BLOCK)));
	}
	await t.rejects(async () => image.read(65 * BLOCK, Buffer.alloc(1)), { code: "ECORRUPT", message: /block map/ });
	await image.read(129 * BLOCK, Buffer.alloc(1));
});

t.test("errors and delays of prefetching reads", async (t) => {
	const { path, content, point } = await stored(t, 200);
	for (let skip = 0; skip < 24; skip++) {
		const repository = await openRepository(path);
		const image = await repository.openDisk(point, "disk0");
		faults.set([{ op: "pread", path: "packs", error: "EIO", skip, count: 1 }]);
		const target = Buffer.alloc(100);
		for (const block of [7, 6, 70, 131, 5]) {
			// A read that itself hits the fault asks the index again and succeeds: only one call fails.
			await image.read(block * BLOCK, target);
			t.ok(target.equals(content.subarray(block * BLOCK, block * BLOCK + 100)));
		}
		faults.clear();
		await repository.close();
	}
});

t.test("misses of one turn are read together, and a fault among them is one reader's own", async (t) => {
	const { path, content, point, data } = await stored(t, 400);
	// Damaged where it lies, so that no other place helps.
	const damaged = 42;
	data.bytes[96 + damaged * (BLOCK + 56) + 1000] ^= 1;
	writeFileSync(data.path, data.bytes);
	const cache = createBlockCache(32 * MIB);
	const repository = await open(t, path, { cache });
	const image = await repository.openDisk(point, "disk0");
	// The map, the pack's table and its descriptor are there.
	for (const block of [0, 64, 128, 192, 256, 320, 384]) await image.read(block * BLOCK, Buffer.alloc(1));
	const read = async (blocks: number[]) => {
		const targets = blocks.map(() => Buffer.alloc(3000));
		const reads = blocks.map((block, n) => image.read(block * BLOCK + 700, targets[n]));
		const results = await Promise.allSettled(reads);
		return results.map((result, n) => {
			if (result.status === "rejected") return result.reason.code;
			return targets[n].equals(content.subarray(blocks[n] * BLOCK + 700, blocks[n] * BLOCK + 3700)) ? "read" : "wrong";
		});
	};
	// Too far apart for a stream.
	const blocks = Array.from({ length: 32 }, (_, n) => 9 + n * 11);
	const expected = blocks.map((block) => (block === damaged ? "ECORRUPT" : "read"));
	t.same(await read(blocks), expected);
	await t.rejects(async () => image.read(damaged * BLOCK + 5, Buffer.alloc(1)), {
		message: new RegExp(`disk0 at offset ${damaged * BLOCK + 5}: .*/packs/.*checksum differs`),
		offset: damaged * BLOCK + 5,
	});
	// An error of the disk that passes is looked behind: a read fails only when every look does.
	faults.set([{ op: "pread", path: "packs", error: "EIO", skip: 3, count: 2 }]);
	const others = blocks.map((block) => block + 5);
	t.same(
		await read(others),
		others.map(() => "read"),
	);
	faults.set([{ op: "pread", path: "packs", error: "EIO", count: -1 }]);
	t.same(await read([362, 374, 395]), ["EIO", "EIO", "EIO"]);
	faults.clear();
	t.same(await read([362, 374, 395]), ["read", "read", "read"], "and nothing of it stays");
	t.ok(await until(() => cache.stats().pinnedBytes === 0), "every slot is given back");
});

t.test("a pack that is cut short fails the reads beyond its end only", async (t) => {
	const { path, content, point, data } = await stored(t, 200);
	const image = await (await open(t, path)).openDisk(point, "disk0");
	for (const block of [0, 64, 128]) await image.read(block * BLOCK, Buffer.alloc(1));
	truncateSync(data.path, 96 + 100 * (BLOCK + 56) + 500);
	const blocks = Array.from({ length: 20 }, (_, n) => 10 + n * 9);
	const targets = blocks.map(() => Buffer.alloc(600));
	const results = await Promise.allSettled(blocks.map((block, n) => image.read(block * BLOCK, targets[n])));
	for (const [n, block] of blocks.entries()) {
		t.equal(results[n].status, block < 100 ? "fulfilled" : "rejected", `block ${block}`);
		if (block < 100) t.ok(targets[n].equals(content.subarray(block * BLOCK, block * BLOCK + 600)));
	}
});

t.test("misses of an encrypted repository are read the same way", async (t) => {
	const writer = await encrypted(t);
	const content = new Dice(5).bytes(64 * BLOCK);
	const { point } = await writer.backup(request("vm", new MemoryImage(content)));
	await writer.close();
	const image = await (await open(t, writer.path, PASSPHRASE)).openDisk(point, "disk0");
	await image.read(0, Buffer.alloc(1));
	const blocks = [5, 9, 17, 33, 60];
	const targets = blocks.map(() => Buffer.alloc(BLOCK));
	await Promise.all(blocks.map((block, n) => image.read(block * BLOCK, targets[n])));
	for (const [n, block] of blocks.entries())
		t.ok(targets[n].equals(content.subarray(block * BLOCK, (block + 1) * BLOCK)));
});

t.test("a disk that hangs holds up its own repository's misses only, and close waits for them", async (t) => {
	const hung = await stored(t, 200);
	const healthy = await stored(t, 128);
	const cache = createBlockCache(32 * MIB);
	const slow = await openRepository(hung.path, { cache });
	const quick = await open(t, healthy.path, { cache });
	const [bad, good] = [await slow.openDisk(hung.point, "disk0"), await quick.openDisk(healthy.point, "disk0")];
	for (const image of [bad, good]) for (const block of [0, 64]) await image.read(block * BLOCK, Buffer.alloc(1));
	faults.set([{ op: "*", path: hung.path, delayMs: 3_600_000, count: -1 }]);
	let ended = 0;
	const waiting = Array.from({ length: 30 }, (_, n) =>
		Promise.resolve(bad.read((90 + n * 3) * BLOCK, Buffer.alloc(10))).then(() => {
			ended += 1;
		}),
	);
	const blocks = Array.from({ length: 30 }, (_, n) => 70 + n);
	const targets = blocks.map(() => Buffer.alloc(4096));
	await Promise.all(blocks.map((block, n) => good.read(block * BLOCK, targets[n])));
	for (const [n, block] of blocks.entries())
		t.ok(targets[n].equals(healthy.content.subarray(block * BLOCK, block * BLOCK + 4096)));
	t.equal(ended, 0);
	let closed = false;
	const closing = bad.close().then(() => {
		closed = true;
	});
	await sleep(20);
	t.equal(closed, false);
	faults.clear();
	await closing;
	await Promise.all(waiting);
	t.equal(ended, 30);
	await slow.close();
	t.ok(await until(() => cache.stats().pinnedBytes === 0));
});

t.test("close during a prefetch; opening a file blocks nobody", async (t) => {
	const { path, point } = await stored(t, 200);
	const descriptors = () => readdirSync("/proc/self/fd").length;
	const before = descriptors();
	for (const op of ["pread", "open"]) {
		const repository = await openRepository(path);
		const image = await repository.openDisk(point, "disk0");
		faults.set([{ op, path: "packs", delayMs: 40, count: -1 }]);
		let late = false;
		const reading = Promise.resolve(image.read(10 * BLOCK, Buffer.alloc(10))).then(() => {
			late = true;
		});
		await sleep(5);
		t.equal(late, false, "this thread is free meanwhile");
		const again =
			op === "open" ? [image.read(11 * BLOCK, Buffer.alloc(1)), image.read(150 * BLOCK, Buffer.alloc(1))] : [];
		await Promise.all([reading, ...again]);
		await repository.close();
		faults.clear();
		t.equal(descriptors(), before, `${op}: every descriptor is closed`);
	}
});

t.test("read-around stops where nobody uses what it brings", async (t) => {
	const pool = createBlockCache(64 * MIB).pool(BLOCK);
	const dice = new Dice(1);
	const fetch = (around: ReadAround, use: boolean) => {
		const slot = pool.take(dice.bytes(32), 0, true);
		around.fetched(slot);
		pool.ready(slot);
		pool.unpin(slot);
		if (use) pool.touch(slot);
	};
	const around = new ReadAround(BLOCK, pool);
	t.equal(around.group, 4);
	t.equal(new ReadAround(MIB, pool).group, 1);
	t.equal(new ReadAround(MIB, pool).worthwhile(0), false);
	t.equal(around.worthwhile(0), true);
	t.equal(around.worthwhile(5), false, "others are waiting");
	for (let n = 0; n < 200; n++) fetch(around, true);
	t.equal(around.worthwhile(0), true);
	for (let n = 0; n < 200; n++) fetch(around, false);
	let tries = 0;
	for (let n = 0; n < 160; n++) if (around.worthwhile(0)) tries += 1;
	t.equal(tries, 10);
	for (let n = 0; n < 100; n++) fetch(around, true);
	t.equal(around.worthwhile(0), true, "it is worth it again");
});
