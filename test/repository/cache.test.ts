/** The block cache: bounded, shared, scan-resistant, never evicting what is lent; coalesced misses and read-ahead. */
import { createHash } from "node:crypto";
import { closeSync, openSync, readdirSync, writeSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { faults } from "../../native/index.js";
import { createBlockCache, openRepository } from "../../src/repository/index.js";
import { ReadAhead } from "../../src/repository/read-ahead.js";
import { BLOCK, Dice, fresh, MemoryImage, MIB, open, request } from "./helpers.js";

const identity = (n: number): Buffer => createHash("sha256").update(String(n)).digest();

t.test("slots: eviction, pins, generations", async (t) => {
	const pool = createBlockCache(4 * MIB).pool(BLOCK);
	t.equal(pool.capacity, 64);
	const load = (n: number) => {
		const slot = pool.take(identity(n), 0, false);
		if (slot >= 0) pool.ready(slot);
		return slot;
	};
	const slots: number[] = [];
	for (let n = 0; n < 64; n++) slots.push(load(n));
	t.equal(new Set(slots).size, 64);
	t.equal(load(64), -1, "all are pinned");
	for (const slot of slots) pool.unpin(slot);
	pool.pin(slots[7]);
	const generation = pool.generation[slots[8]];
	for (let n = 100; n < 300; n++) pool.unpin(load(n));
	t.equal(pool.find(identity(7), 0), slots[7], "lent: stays");
	t.not(pool.generation[slots[8]], generation);
	t.equal(pool.find(identity(8), 0), -1);
	pool.unpin(slots[7]);
	t.equal(pool.pinnedSlots, 0);
	const failed = pool.take(identity(999), 0, false);
	pool.fail(failed);
	t.equal(pool.find(identity(999), 0), -1);
	t.equal(pool.pinnedSlots, 0);
});

t.test("slots: what is used often survives a scan", async (t) => {
	const pool = createBlockCache(4 * MIB).pool(BLOCK);
	const use = (n: number): boolean => {
		const found = pool.find(identity(n), 0);
		if (found >= 0) {
			pool.touch(found);
			return true;
		}
		const slot = pool.take(identity(n), 0, false);
		pool.ready(slot);
		pool.unpin(slot);
		return false;
	};
	for (let round = 0; round < 3; round++) for (let n = 0; n < 30; n++) use(n);
	for (let n = 1000; n < 5000; n++) {
		use(n);
		if (n % 40 === 0) use((n / 40) % 30);
	}
	let hits = 0;
	for (let n = 0; n < 30; n++) if (pool.find(identity(n), 0) >= 0) hits += 1;
	t.ok(hits >= 25, `${hits} of 30 are still there`);
});

t.test("slots: random use agrees with a plain map", async (t) => {
	const pool = createBlockCache(2 * MIB).pool(BLOCK);
	const dice = new Dice(5);
	const pinned = new Map<number, number>();
	for (let step = 0; step < 20_000; step++) {
		const n = dice.below(100);
		const found = pool.find(identity(n), 0);
		if (pinned.has(n) && found !== pinned.get(n)) t.fail(`block ${n} was evicted while pinned`);
		if (found >= 0) {
			pool.touch(found);
			if (!pinned.has(n) && pinned.size < 20) {
				pool.pin(found);
				pinned.set(n, found);
			} else if (pinned.has(n)) {
				pool.unpin(found);
				pinned.delete(n);
			}
			continue;
		}
		const slot = pool.take(identity(n), 0, dice.below(2) === 0);
		if (slot < 0) t.fail("no slot although most are free");
		else if (dice.below(10) === 0) pool.fail(slot);
		else {
			pool.ready(slot);
			pool.unpin(slot);
		}
	}
	t.equal(pool.pinnedSlots, pinned.size);
});

t.test("two block sizes share one budget", async (t) => {
	const cache = createBlockCache(4 * MIB);
	const small = cache.pool(BLOCK);
	const memory = new Set<Buffer>();
	for (let n = 0; n < 200; n++) {
		const slot = small.take(identity(n), 0, false);
		memory.add(small.slab(slot));
		small.ready(slot);
		small.unpin(slot);
	}
	t.equal(cache.stats().allocatedBytes, 4 * MIB);
	const large = cache.pool(MIB);
	const slot = large.take(identity(1), 0, false);
	t.ok(slot >= 0);
	t.ok(memory.has(large.slab(slot)), "the memory is handed on: at no time is there more than the budget");
	large.ready(slot);
	t.ok(cache.stats().allocatedBytes <= 4 * MIB);
	for (let n = 300; n < 400; n++) {
		const one = small.take(identity(n), 0, false);
		small.ready(one);
		small.unpin(one);
	}
	t.equal(cache.stats().pinnedBytes, MIB);
});

t.test("a disk larger than the cache is read within the budget, and shared content is read once", async (t) => {
	const writer = await fresh(t);
	const content = new Dice(11).bytes(24 * MIB);
	await writer.backup(request("a", new MemoryImage(content), 0));
	await writer.backup(request("b", new MemoryImage(content), 1));
	const cache = createBlockCache(8 * MIB);
	const repository = await open(t, writer.path, { cache });
	const image = await repository.openDisk(await repository.resolve("a"), "disk0");
	const dice = new Dice(12);
	await Promise.all(
		Array.from({ length: 8 }, async () => {
			for (let n = 0; n < 150; n++) {
				const offset = dice.below(content.length - 4096);
				const got = Buffer.alloc(4096);
				await image.read(offset, got);
				if (!got.equals(content.subarray(offset, offset + 4096))) t.fail(`differs at ${offset}`);
			}
		}),
	);
	const whole = Buffer.alloc(content.length);
	await image.read(0, whole);
	t.ok(whole.equals(content));
	const stats = cache.stats();
	t.ok(stats.allocatedBytes <= 8 * MIB, `${stats.allocatedBytes} bytes of slabs`);
	t.equal(stats.pinnedBytes, 0);
	const other = await repository.openDisk(await repository.resolve("b"), "disk0");
	await other.read(content.length - 100, Buffer.alloc(100));
	const loans = other.borrow!(content.length - MIB, 4096);
	t.ok(loans, "b finds in memory what a has read");
	for (const loan of loans!) loan.release();
});

t.test("lent bytes stay while the cache turns over, and everything lent still reads", async (t) => {
	const writer = await fresh(t);
	const content = new Dice(13).bytes(8 * MIB);
	await writer.backup(request("vm", new MemoryImage(content)));
	const cache = createBlockCache(MIB);
	const repository = await open(t, writer.path, { cache });
	const image = await repository.openDisk(await repository.resolve("vm"), "disk0");
	const held = [];
	for (let block = 0; block < 16; block++) {
		await image.read(block * BLOCK, Buffer.alloc(1));
		// What is being read ahead is pinned as well, so which block is refused is a matter of timing.
		for (const loan of image.borrow!(block * BLOCK + 100, 5000) ?? []) held.push({ block, loan });
	}
	t.equal(held.length, 9, "when half of the cache is lent, what is asked for beyond that is copied");
	const pool = cache.pool(BLOCK);
	for (let slot = 0; slot < 16; slot++) pool.pin(slot);
	const whole = Buffer.alloc(content.length);
	await image.read(0, whole);
	t.ok(whole.equals(content), "read past the cache when every slot is pinned");
	for (let slot = 0; slot < 16; slot++) pool.unpin(slot);
	for (const { block, loan } of held) {
		const expected = content.subarray(block * BLOCK + 100, block * BLOCK + 5100);
		t.ok(loan.data.equals(expected), `what was lent of block ${block} is unchanged`);
	}
	t.equal(cache.stats().pinnedBytes, held.length * BLOCK);
	for (const { loan } of held) {
		loan.release();
		loan.release();
	}
	t.equal(cache.stats().pinnedBytes, 0);
	t.ok(cache.stats().allocatedBytes <= MIB);
	await image.read(0, Buffer.alloc(1));
	for (const loan of image.borrow!(0, 512)!) loan.release();
});

t.test("concurrent misses of one block read it once", async (t) => {
	const writer = await fresh(t);
	const content = new Dice(14).bytes(BLOCK);
	await writer.backup(request("vm", new MemoryImage(content)));
	const cache = createBlockCache(MIB);
	const repository = await open(t, writer.path, { cache });
	const image = await repository.openDisk(await repository.resolve("vm"), "disk0");
	await Promise.all(Array.from({ length: 30 }, (_, n) => image.read(n * 100, Buffer.alloc(100))));
	t.equal(cache.stats().misses, 1);
});

t.test("sequential reading runs ahead", async (t) => {
	const writer = await fresh(t);
	const content = new Dice(15).bytes(16 * MIB);
	await writer.backup(request("vm", new MemoryImage(content)));
	const cache = createBlockCache(32 * MIB);
	const repository = await open(t, writer.path, { cache });
	const image = await repository.openDisk(await repository.resolve("vm"), "disk0");
	for (let offset = 0; offset < content.length; offset += BLOCK) {
		const got = Buffer.alloc(BLOCK);
		await image.read(offset, got);
		if (!got.equals(content.subarray(offset, offset + BLOCK))) t.fail(`differs at ${offset}`);
	}
	const { misses } = cache.stats();
	t.ok(misses < 64, `${misses} of 256 blocks were waited for alone`);
});

t.test("read-ahead tells streams from random reads", async (t) => {
	const ahead = new ReadAhead(32);
	const dice = new Dice(16);
	for (let n = 0; n < 1000; n++) t.equal(ahead.observe(dice.below(1e9) * 64), 0);
	let fetched = 0;
	for (let block = 5000; block < 5100; block++) fetched += ahead.observe(block);
	t.ok(fetched >= 100 && fetched <= 140, `${fetched} blocks for a stream of 100`);
	t.equal(new ReadAhead(0).observe(1) + new ReadAhead(0).observe(2), 0);
});

t.test("a truncated pack and a failing disk are errors of the read, not of the process", async (t) => {
	const writer = await fresh(t);
	const content = new Dice(17).bytes(4 * MIB);
	await writer.backup(request("vm", new MemoryImage(content)));
	const packs = join(writer.path, "packs");
	const files = readdirSync(packs).flatMap((xx) => readdirSync(join(packs, xx)).map((name) => join(packs, xx, name)));
	const repository = await open(t, writer.path);
	const image = await repository.openDisk(await repository.resolve("vm"), "disk0");
	await image.read(0, Buffer.alloc(1));
	t.teardown(() => faults.clear());
	faults.set([{ op: "pread", path: "/packs/", error: "EIO", count: -1 }]);
	await t.rejects(async () => image.read(2 * MIB, Buffer.alloc(10)), {
		name: "ImageError",
		code: "EIO",
		message: /packs\/.* offset \d+/,
	});
	faults.clear();
	await image.read(2 * MIB, Buffer.alloc(10));
	const { truncateSync, statSync } = await import("node:fs");
	for (const file of files) truncateSync(file, Math.floor(statSync(file).size / 2));
	await t.rejects(async () => image.read(4 * MIB - 10, Buffer.alloc(10)), {
		name: "ImageError",
		code: "ECORRUPT",
		message: /packs\/.*cut short/,
	});
	const got = Buffer.alloc(10);
	await image.read(2 * MIB, got);
	t.ok(got.equals(content.subarray(2 * MIB, 2 * MIB + 10)), "what is in memory still reads");
	await image.close();
	const checked = await openRepository(writer.path);
	const report = await checked.check({ readData: false });
	await checked.close();
	t.ok(report.faults.some(({ kind }) => kind === "truncated-pack"));
	t.ok(report.faults.some(({ hits }) => hits.some(({ vm, disk }) => vm === "vm" && disk === "disk0")));
});

t.test("a record overwritten by garbage is never served", async (t) => {
	const writer = await fresh(t);
	const content = new Dice(18).bytes(BLOCK);
	await writer.backup(request("vm", new MemoryImage(content)));
	const packs = join(writer.path, "packs");
	for (const xx of readdirSync(packs))
		for (const name of readdirSync(join(packs, xx))) {
			const fd = openSync(join(packs, xx, name), "r+");
			writeSync(fd, Buffer.from([1, 2, 3]), 0, 3, 400);
			closeSync(fd);
		}
	const repository = await open(t, writer.path);
	const point = await repository.resolve("vm");
	await t.rejects(
		async () => {
			const image = await repository.openDisk(point, "disk0");
			await image.read(0, Buffer.alloc(10));
		},
		{ code: /ECORRUPT|DAMAGED/ },
	);
});

t.test(
	"a block whose fill is stuck is taken anew, and the stuck slot is used again only when its filler is done",
	async (t) => {
		const pool = createBlockCache(MIB).pool(BLOCK);
		const stuck = pool.take(identity(1), 0, false);
		t.equal(pool.isStuck(stuck), false, "not at once");
		await new Promise((resolve) => setTimeout(resolve, 150));
		t.equal(pool.isStuck(stuck), true);
		pool.disown(stuck);
		t.equal(pool.find(identity(1), 0), -1);
		const again = pool.take(identity(1), 0, false);
		t.not(again, stuck);
		pool.ready(again);
		pool.unpin(again);
		t.equal(pool.find(identity(1), 0), again);
		const others = Array.from({ length: 200 }, (_, n) => {
			const slot = pool.take(identity(n + 2), 0, false);
			pool.ready(slot);
			pool.unpin(slot);
			return slot;
		});
		t.notOk(others.includes(stuck), "never while it may still be written to");
		const { generation } = pool;
		const before = generation[stuck];
		pool.ready(stuck);
		t.equal(pool.pinnedSlots, 1);
		pool.unpin(stuck);
		t.not(generation[stuck], before, "hints to it are no longer good");
		t.equal(pool.take(identity(900), 0, false), stuck, "then it is free");
		pool.disown(stuck);
		pool.fail(stuck);
		t.equal(pool.pinnedSlots, 0);
		t.equal(pool.take(identity(901), 0, false), stuck, "also when its fill fails");
	},
);
