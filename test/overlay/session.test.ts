/** What a session promises, one thing at a time. */
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { faults } from "../../native/index.js";
import { openSession } from "../../src/overlay/index.js";
import { refusedFileSystem } from "../../src/overlay/lock.js";
import { create, DISK, diskOf, lab, open, PatternBase, pattern, readAll, temporary } from "./lab.js";

const FILE = { kind: "file" as const, mode: 0o640, uid: 5, gid: 6 };

t.test("a fresh session shows the seeds over the base", async (t) => {
	const l = lab(temporary(t));
	const tree = await create(l);
	const vm = tree.lookup(tree.root, "vm")!;
	t.match(tree.inode(vm), { kind: "directory", mode: 0o755, nlink: 2, uid: 1000, gid: 1000 });
	t.equal(tree.inode(tree.root)!.nlink, 3);
	t.equal(tree.parent(vm), tree.root);
	t.equal(tree.parent(tree.root), tree.root);
	const disk = diskOf(tree);
	t.match(tree.inode(disk), { size: DISK, base: 0, used: DISK - 1000, mode: 0o600 });
	t.same(await readAll(tree, disk, 0, DISK - 1000), pattern(0, DISK - 1000, 7));
	t.same(
		await readAll(tree, disk, DISK - 1010, 1010),
		Buffer.concat([pattern(DISK - 1010, 10, 7), Buffer.alloc(1000)]),
	);
	t.same(await tree.extents(disk, 0, DISK), [
		{ offset: 0, length: DISK - 1000, kind: "data" },
		{ offset: DISK - 1000, length: 1000, kind: "unallocated" },
	]);
	t.equal(tree.usage().lastWrite, 0n, "seeds are no client's writes");
	await tree.close();
	t.same(readdirSync(l.directory).sort(), ["index", "lock", "log", "reserve", "session"]);
});

t.test("one process at a time; clear words for what cannot be opened", async (t) => {
	const l = lab(temporary(t));
	await t.rejects(open(l), { code: "ENOENT", message: /holds no session/ });
	const tree = await create(l);
	await t.rejects(open(l), { message: new RegExp(`${l.directory}.*another process`) });
	await t.rejects(create(l), { code: "EEXIST" });
	await tree.close();
	const other = [{ base: new PatternBase(DISK), size: DISK }];
	await t.rejects(openSession({ ...l.options, bases: other }), { code: "EINVAL", message: /disk 0 has 200000 bytes/ });
	await t.rejects(openSession({ ...l.options, bases: [] }), { code: "EINVAL" });
	const path = join(l.directory, "session");
	const text = readFileSync(path, "utf8");
	writeFileSync(path, text.replace('"incompatible":[]', '"incompatible":["holograms"]'));
	await t.rejects(open(l), { code: "EINVAL", message: /holograms/ });
	writeFileSync(path, "{}");
	await t.rejects(open(l), { code: "ECORRUPT" });
	writeFileSync(path, text);
	truncateSync(join(l.directory, "index"), 1000);
	await t.rejects(open(l), { code: "ECORRUPT", message: /index is damaged/ });
});

t.test("network and user-space file systems are refused", async (t) => {
	t.equal(refusedFileSystem(0x6969), "NFS");
	t.equal(refusedFileSystem(0xff534d42 | 0), "CIFS", "whatever its sign");
	t.equal(refusedFileSystem(0x65735546), "FUSE");
	t.equal(refusedFileSystem(0xef53), undefined, "ext4");
	t.teardown(() => faults.clear());
	for (const op of ["rename", "fdatasync", "fsyncDirectory"]) {
		faults.set([{ op, path: op === "fsyncDirectory" ? "" : "probe", error: "EINVAL" }]);
		await t.rejects(create(lab(temporary(t))), { code: "EINVAL", message: /cannot hold a session: .* fails/ });
	}
	faults.clear();
});

t.test("exclusive creates: the verifier stays until attributes are set", async (t) => {
	const l = lab(temporary(t));
	let tree = await create(l);
	const verifier = Buffer.from("12345678");
	const { id } = await tree.create(1, "x", { ...FILE, verifier });
	await tree.close();
	tree = await open(l);
	t.same(tree.inode(id)!.verifier, verifier);
	await tree.change(id, { mode: 0o600 });
	t.equal(tree.inode(id)!.verifier, undefined);
	await tree.close();
});

t.test("results of requests are in the log with their effects, and bounded", async (t) => {
	const l = lab(temporary(t, true));
	let tree = await create(l);
	const record = (i: number) => ({ key: `key-${String(i).padStart(12, "0")}`, reply: Buffer.from(`reply ${i}`) });
	await tree.create(1, "a", FILE, record(0));
	await t.rejects(tree.create(1, "a", FILE, record(1)), { code: "EEXIST" });
	t.equal(tree.request(record(1).key), undefined, "a failure leaves no record");
	const copy = join(l.directory, "..", `${l.directory.split("/").pop()}-killed`);
	t.teardown(() => execFileSync("rm", ["-rf", copy]));
	execFileSync("cp", ["-r", l.directory, copy]);
	const killed = await open(l, copy);
	t.same(killed.request(record(0).key), Buffer.from("reply 0"), "after a kill");
	t.ok(killed.lookup(1, "a"));
	await killed.close();
	const id = tree.lookup(1, "a")!;
	for (let from = 2; from < 5002; from += 500) {
		await Promise.all(Array.from({ length: 500 }, (_, i) => tree.change(id, { mode: 0o600 }, record(from + i))));
	}
	await tree.close();
	tree = await open(l);
	t.same(tree.request(record(5001).key), Buffer.from("reply 5001"));
	t.same(tree.request(record(5001 - 4095).key), Buffer.from(`reply ${5001 - 4095}`));
	t.equal(tree.request(record(5001 - 4096).key), undefined, "the oldest ones go");
	t.equal(tree.request(record(0).key), undefined);
	await tree.close();
});

t.test("ctime is strictly monotonic, across restarts and clock steps", async (t) => {
	const l = lab(temporary(t));
	let tree = await create(l);
	const disk = diskOf(tree);
	let last = 0n;
	const step = async (): Promise<void> => {
		const { before } = await tree.write(disk, 0, Buffer.from("x"), true);
		t.equal(before.ctime > last || last === 0n || before.ctime === last, true);
		const { ctime } = tree.inode(disk)!;
		t.ok(ctime > last, `${ctime} > ${last}`);
		last = ctime;
	};
	await step();
	l.clock.ns -= 3_600_000_000_000n;
	await step();
	await tree.change(disk, { mtime: 5n });
	t.equal(tree.inode(disk)!.mtime, 5n);
	last = tree.inode(disk)!.ctime;
	await tree.close();
	l.clock.ns -= 86_400_000_000_000n;
	tree = await open(l);
	t.equal(tree.inode(disk)!.ctime, last);
	await step();
	await tree.close();
});

t.test("the base is never seen beyond the lowest size a file had", async (t) => {
	const l = lab(temporary(t));
	let tree = await create(l);
	const disk = diskOf(tree);
	await tree.change(disk, { size: 50_001 });
	await tree.change(disk, { size: DISK });
	const check = async (when: string): Promise<void> => {
		t.same(await readAll(tree, disk, 0, 50_001), pattern(0, 50_001, 7), when);
		t.same(await readAll(tree, disk, 50_001, DISK - 50_001), Buffer.alloc(DISK - 50_001), when);
		t.equal(tree.borrow(disk, 50_000, 10), undefined, "nor lent");
	};
	await check("at once");
	await tree.close();
	tree = await open(l);
	await check("after reopening");
	t.equal(tree.inode(disk)!.used, 50_001);
	t.same(
		(await tree.extents(disk, 49_000, 4000)).map((e) => e.kind),
		["data", "unallocated"],
	);
	await tree.close();
});

t.test("sparse files of 64 TiB", async (t) => {
	const l = lab(temporary(t));
	let tree = await create(l);
	const size = 64 * 2 ** 40;
	const { id } = await tree.create(1, "huge.vmdk", { ...FILE, size });
	t.equal(tree.inode(id)!.size, size);
	const offsets = [0, 1, 2 ** 32 - 3, 2 ** 40 + 511, size - 5];
	for (const offset of offsets) await tree.write(id, offset, pattern(offset, 5, 3), true);
	await t.rejects(tree.write(id, Number.MAX_SAFE_INTEGER - 2, Buffer.alloc(10, 1), true), { code: "EFBIG" });
	await tree.close();
	tree = await open(l);
	for (const offset of offsets.slice(2)) {
		t.same(await readAll(tree, id, offset, 5), pattern(offset, 5, 3));
		t.same(await readAll(tree, id, offset - 4, 4), Buffer.alloc(4));
	}
	t.ok(tree.inode(id)!.used < 100);
	t.ok(tree.usage().diskBytes < 8 << 20, "no file is sized like its disk");
	await tree.change(id, { size: 0 });
	await tree.change(id, { size });
	t.same(await readAll(tree, id, size - 5, 5), Buffer.alloc(5));
	await tree.close();
});

t.test("the base's memory is lent where nothing lies over it", async (t) => {
	const l = lab(temporary(t), { bases: [{ base: new PatternBase(8 << 20), size: 8 << 20 }] });
	const base = l.options.bases[0].base as PatternBase;
	const tree = await create(l);
	const disk = diskOf(tree);
	t.same(tree.borrow(disk, 4096, 4096)![0].data, pattern(4096, 4096, 7));
	await tree.write(disk, 4096, pattern(4096, 512, 9), true);
	t.equal(tree.borrow(disk, 4096, 4096), undefined, "something of its own: copied, not lent");
	t.ok(tree.borrow(disk, 8192, 4096), "beside it: still lent");
	t.ok(tree.borrow(disk, 1 << 20, 65536));
	t.equal(tree.borrow(disk, (8 << 20) - 100, 200), undefined, "not beyond the end");
	const { borrows } = base;
	const started = performance.now();
	for (let i = 0; i < 20_000; i++) tree.borrow(disk, (4 << 20) + (i % 64) * 512, 1);
	t.equal(base.borrows, borrows + 20_000);
	t.comment(
		`${(((performance.now() - started) / 20_000) * 1000).toFixed(2)} µs per borrow, the base's own part included`,
	);
	t.equal(tree.read(disk, 4096, Buffer.alloc(4096)), undefined, "what was just written is read without waiting");
	await tree.close();
});

t.test("a base that answers later", async (t) => {
	const l = lab(temporary(t), { bases: [{ base: new PatternBase(DISK, 7, true), size: DISK }] });
	const tree = await create(l);
	const disk = diskOf(tree);
	await tree.write(disk, 100, pattern(0, 10, 1), true);
	const expected = pattern(0, 300, 7);
	pattern(0, 10, 1).copy(expected, 100);
	t.same(await readAll(tree, disk, 0, 300), expected);
	await tree.close();
});

t.test("directories of 100,000 entries", async (t) => {
	const l = lab(temporary(t, true), { segmentBytes: 1 << 20, reserveBytes: 1 << 20 });
	let tree = await create(l);
	const { id: directory } = await tree.create(1, "many", { ...FILE, kind: "directory" });
	const count = 100_000;
	for (let from = 0; from < count; from += 2000) {
		await Promise.all(Array.from({ length: 2000 }, (_, i) => tree.create(directory, `file-${from + i}`, FILE)));
	}
	await tree.close();
	const started = performance.now();
	tree = await open(l);
	t.comment(`opened in ${Math.round(performance.now() - started)} ms`);
	let after = 0n;
	let seen = 0;
	const began = performance.now();
	for (;;) {
		const { entries, end } = tree.list(directory, after, 100);
		for (const entry of entries) {
			if (entry.cookie <= after) return t.fail("cookies grow");
			after = entry.cookie;
			seen++;
			// Removing what was listed disturbs nothing.
			if (seen % 1000 === 0) await tree.remove(directory, entry.name);
		}
		if (end) break;
	}
	t.equal(seen, count);
	const ms = performance.now() - began;
	t.ok(ms < 5000, `listed in ${Math.round(ms)} ms`);
	const last = after;
	await tree.remove(directory, `file-${count - 2}`);
	await tree.create(directory, "new", FILE);
	t.ok(tree.list(directory, last, 10).entries[0].cookie > last, "cookies are never used again");
	t.equal(tree.list(directory, 0n, 1_000_000).entries.length, count - 100);
	await tree.close();
});
