/** What goes in comes out: sizes, holes, deduplication, several disks, block sizes, huge sparse disks. */
import { createHash } from "node:crypto";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import type { Extent, Image } from "../../src/image/image.js";
import { RepositoryError } from "../../src/repository/index.js";
import { BLOCK, Dice, fresh, KIB, MemoryImage, MIB, open, readAll, request } from "./helpers.js";

t.test("sizes that are not multiples of anything are exact", async (t) => {
	const repository = await fresh(t);
	const dice = new Dice(1);
	for (const size of [0, 1, 511, 513, BLOCK - 1, BLOCK, BLOCK + 1, 64 * BLOCK, 64 * BLOCK + 7, 3 * MIB + 12345]) {
		const content = dice.bytes(size);
		const { point, disks } = await repository.backup(request(`vm ${size}`, new MemoryImage(content)));
		t.equal(disks[0].size, size);
		t.equal(disks[0].read, size);
		t.ok((await readAll(repository, `vm ${size}@${point.id.slice(0, 8)}`)).equals(content), `${size} bytes`);
	}
	t.same((await repository.check({ readData: true })).faults, []);
});

t.test("random images read through read and borrow at random places", async (t) => {
	for (const blockSize of [64 * KIB, 256 * KIB, MIB]) {
		const repository = await fresh(t, blockSize);
		const dice = new Dice(blockSize);
		const size = 9 * MIB + dice.below(MIB);
		const content = dice.bytes(size);
		for (let n = 0; n < 6; n++) {
			const at = dice.below(size);
			content.fill(0, at, Math.min(size, at + dice.below(MIB)));
		}
		// Two regions with the same content, at the same alignment.
		content.copy(content, 4 * MIB, 0, MIB);
		await repository.backup(request("vm", new MemoryImage(content)));
		const image = await repository.openDisk(await repository.resolve("vm"), "disk0");
		let borrowed = 0;
		for (let n = 0; n < 400; n++) {
			const offset = dice.below(size);
			const length = Math.min(size - offset, 1 + dice.below(n % 10 === 0 ? 3 * MIB : 20_000));
			const loans = image.borrow!(offset, length);
			const got = loans === undefined ? Buffer.alloc(length, 0xee) : Buffer.concat(loans.map(({ data }) => data));
			if (loans === undefined) await image.read(offset, got);
			else borrowed += 1;
			for (const loan of loans ?? []) loan.release();
			if (!got.equals(content.subarray(offset, offset + length))) t.fail(`differs at ${offset}, ${length} bytes`);
		}
		t.ok(borrowed > 100, `block size ${blockSize}: ${borrowed} borrowed`);
		t.throws(() => image.read(size - 1, Buffer.alloc(2)), RangeError);
		await image.close();
		await t.rejects(async () => image.read(0, Buffer.alloc(1)), { code: "ECLOSED" });
	}
});

t.test("holes are not read, and partial blocks around them are exact", async (t) => {
	const repository = await fresh(t);
	const content = new Dice(3).bytes(2 * MIB);
	const holes = [
		{ offset: 1000, length: 3000 },
		{ offset: BLOCK - 10, length: BLOCK },
		{ offset: MIB, length: 300_000 },
		{ offset: 2 * MIB - 100, length: 100 },
	];
	for (const { offset, length } of holes) content.fill(0, offset, offset + length);
	const { disks } = await repository.backup(request("vm", new MemoryImage(content, holes)));
	t.equal(disks[0].read, 2 * MIB - holes.reduce((sum, { length }) => sum + length, 0));
	t.ok((await readAll(repository, "vm")).equals(content));
});

t.test("dedup: within a disk, across points and across VMs", async (t) => {
	const repository = await fresh(t);
	const content = new Dice(4).bytes(4 * MIB);
	content.copy(content, 2 * MIB, 0, 2 * MIB);
	const first = await repository.backup(request("a", new MemoryImage(content), 0));
	t.equal(first.disks[0].new, 2 * MIB, "the second half is the first");
	const again = await repository.backup(request("a", new MemoryImage(content), 1));
	t.equal(again.disks[0].new, 0);
	t.equal(again.point.size_new, 0, "not even a map page");
	t.equal(again.point.parent, first.point.id);
	const other = await repository.backup(request("b", new MemoryImage(content), 2));
	t.equal(other.disks[0].new, 0);
	t.equal(other.point.parent, null);
	content[MIB + 5] ^= 1;
	const changed = await repository.backup(request("a", new MemoryImage(content), 3));
	t.equal(changed.disks[0].new, BLOCK, "O(changed)");
	t.ok(changed.point.size_new < BLOCK + 8 * KIB);
	t.ok((await readAll(repository, "a")).equals(content));
	t.same(
		(await repository.points("a")).map(({ id }) => id),
		[first.point.id, again.point.id, changed.point.id],
	);
	const stats = await repository.stats();
	t.equal(stats.points, 4);
	t.equal(stats.logicalBytes, 16 * MIB);
	t.equal(stats.uniqueBytes, 2 * MIB + BLOCK);
});

t.test("a guest that stores a copy of a map page shares nothing with the map", async (t) => {
	const repository = await fresh(t);
	const blocks = new Dice(5).bytes(64 * BLOCK);
	await repository.backup(request("a", new MemoryImage(blocks), 0));
	const identities = Buffer.concat(
		Array.from({ length: 64 }, (_, n) => sha256Of(blocks.subarray(n * BLOCK, (n + 1) * BLOCK))),
	);
	const { disks } = await repository.backup(request("b", new MemoryImage(identities), 1));
	t.equal(disks[0].new, 2048, "stored as a block of its own");
	t.ok((await readAll(repository, "b")).equals(identities));
	await repository.backup(request("c", new MemoryImage(blocks), 2));
	t.same((await repository.check({ readData: true })).faults, []);
});

const sha256Of = (bytes: Buffer): Buffer => createHash("sha256").update(bytes).digest();

t.test("several disks, extra files, configuration and facts", async (t) => {
	const repository = await fresh(t);
	const dice = new Dice(6);
	const [one, two] = [dice.bytes(MIB + 1), Buffer.alloc(3 * MIB)];
	const nvram = dice.bytes(2 * MIB + 3);
	const seen: string[] = [];
	const { point } = await repository.backup(
		request("Müller's VM 数据", { one: new MemoryImage(one), two: new MemoryImage(two) }, 0, {
			files: [
				{ name: "vm.nvram", content: nvram },
				{ name: "empty", content: Buffer.alloc(0) },
			],
			facts: { guessed: true },
			consistency: "application",
			progress: ({ what, done, total }) => seen.push(`${what} ${done}/${total}`),
		}),
	);
	t.equal(seen.at(-1), `two ${4 * MIB + 1}/${4 * MIB + 1}`);
	const found = await repository.resolve("Müller's VM 数据");
	t.same(found, point);
	t.same(found.facts, { guessed: true });
	t.equal(found.time, "2026-11-21T01:02:03Z");
	t.ok((await repository.extraFile(found, "vm.nvram")).equals(nvram));
	t.equal((await repository.extraFile(found, "empty")).length, 0);
	await t.rejects(repository.extraFile(found, "other"), { code: "UNKNOWN_POINT" });
	t.ok((await readAll(repository, found.vm, "one")).equals(one));
	t.ok((await readAll(repository, found.vm, "two")).equals(two));
	await t.rejects(repository.openDisk(found, "three"), { code: "UNKNOWN_POINT", message: /it has one, two/ });
});

t.test("a 64 TiB disk with little data takes no time", async (t) => {
	const repository = await fresh(t);
	const size = 64 * 1024 ** 4 - 12345;
	const dice = new Dice(7);
	const spots = new Map<number, Buffer>();
	for (let n = 0; n < 40; n++) spots.set(Math.floor(((size / 41) * n) / 4096) * 4096, dice.bytes(4096));
	spots.set(size - 345, dice.bytes(345));
	const image: Image = {
		size,
		read(offset, target) {
			const spot = spots.get(offset);
			if (spot?.length !== target.length) throw new Error(`read of a hole at ${offset}`);
			spot.copy(target);
		},
		extents(offset, length) {
			const runs: Extent[] = [];
			let at = offset;
			for (const [start, bytes] of spots) {
				if (start < offset || start >= offset + length) continue;
				runs.push({ offset: at, length: start - at, kind: "unallocated" });
				runs.push({ offset: start, length: bytes.length, kind: "data" });
				at = start + bytes.length;
			}
			runs.push({ offset: at, length: offset + length - at, kind: "unallocated" });
			return runs;
		},
		async close() {},
	};
	const started = performance.now();
	const { point } = await repository.backup(request("huge", image));
	t.ok(point.size_new < 1.5 * MIB, `${point.size_new} bytes stored`);
	const disk = await repository.openDisk(point, "disk0");
	for (const [offset, bytes] of spots) {
		const got = Buffer.alloc(bytes.length + Math.min(5000, size - offset - bytes.length), 0xee);
		await disk.read(offset, got);
		t.ok(got.subarray(0, bytes.length).equals(bytes) && got.subarray(bytes.length).every((byte) => byte === 0));
	}
	const extents = await disk.extents(0, size);
	t.equal(
		extents.reduce((sum, { length }) => sum + length, 0),
		size,
	);
	t.equal(extents.filter(({ kind }) => kind === "data").length, spots.size);
	await disk.close();
	t.ok(performance.now() - started < 20_000);
});

t.test("the source's errors name disk and place, and leave nothing behind", async (t) => {
	const repository = await fresh(t);
	const content = new Dice(8).bytes(8 * MIB);
	const broken = new MemoryImage(content);
	broken.read = (offset, target) => {
		if (offset + target.length > 5 * MIB) throw new Error("input/output error");
		content.copy(target, 0, offset, offset + target.length);
	};
	await t.rejects(repository.backup(request("vm", broken)), {
		code: "SOURCE",
		message: /disk0 at offset \d+: input\/output error/,
	});
	broken.extents = () => {
		throw new Error("gone");
	};
	await t.rejects(repository.backup(request("vm", broken)), { code: "SOURCE", message: /disk0: gone/ });
	broken.extents = () => [
		{ offset: MIB, length: MIB, kind: "data" },
		{ offset: 0, length: MIB, kind: "data" },
	];
	await t.rejects(repository.backup(request("vm", broken)), { code: "SOURCE", message: /out of order/ });
	t.same(await repository.points(), []);
	t.ok((await repository.backup(request("vm", new MemoryImage(content)))).point);
});

t.test("an interrupted backup leaves no point and no temporary file", async (t) => {
	const repository = await fresh(t);
	const content = new Dice(9).bytes(20 * MIB);
	const stop = new AbortController();
	const interrupted = repository.backup(
		request("vm", new MemoryImage(content), 0, {
			signal: stop.signal,
			progress: ({ done }) => {
				if (done >= 6 * MIB) stop.abort();
			},
		}),
	);
	await t.rejects(interrupted, { code: "INTERRUPTED" });
	t.same(await repository.points(), []);
	t.same(readdirSync(join(repository.path, "tmp")), []);
	await repository.backup(request("vm", new MemoryImage(content)));
	t.ok((await readAll(repository, "vm")).equals(content));
});

t.test("names that cannot be VMs or disks are refused", async (t) => {
	const repository = await fresh(t);
	const image = new MemoryImage(Buffer.alloc(10));
	for (const vm of ["", "  ", "a/b", "a@b", "a\0b", "..", "\ud800"])
		await t.rejects(repository.backup(request(vm, image)), RepositoryError, JSON.stringify(vm));
	await t.rejects(repository.backup(request("vm", { "a b": image })), { code: "SOURCE" });
	const twice = { ...request("vm", image), disks: ["a", "a"].map((name) => ({ name, image })) };
	await t.rejects(repository.backup(twice), { code: "SOURCE", message: /two disks/ });
});

t.test("several packs and checkpoints; an interrupted backup is continued from its last checkpoint", async (t) => {
	const { path } = await fresh(t);
	const repository = await open(t, path, { checkpointRecords: 500 });
	const content = new Dice(10).bytes(100 * MIB + 5);
	const stop = new AbortController();
	const progress = ({ done }: { done: number }) => {
		if (done >= 80 * MIB) stop.abort();
	};
	const interrupted = repository.backup(request("vm", new MemoryImage(content), 0, { signal: stop.signal, progress }));
	await t.rejects(interrupted, { code: "INTERRUPTED" });
	t.same(readdirSync(join(path, "tmp")), []);
	const { disks } = await repository.backup(request("vm", new MemoryImage(content)));
	t.ok(disks[0].new > 0 && disks[0].new < 50 * MIB, `${disks[0].new} bytes were still to store`);
	t.ok((await readAll(repository, "vm")).equals(content));
	t.same((await repository.check({ readData: true })).faults, []);
	const already = new AbortController();
	already.abort();
	await t.rejects(repository.backup(request("vm", new MemoryImage(content), 0, { signal: already.signal })), {
		code: "INTERRUPTED",
	});
});

t.test("one backup fills more than one pack", async (t) => {
	const repository = await fresh(t);
	const content = new Dice(11).bytes(70 * MIB);
	await repository.backup(request("vm", new MemoryImage(content)));
	t.equal((await repository.stats()).packs, 3);
	t.ok((await readAll(repository, "vm")).equals(content));
});
