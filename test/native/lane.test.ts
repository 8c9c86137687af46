/** Lanes: order, concurrency, closing. Life and death of processes is in lifetime.test.ts. */
import { constants, readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { createLane, faults, sys } from "../../native/index.js";
import { noise, scratchFile } from "./support.js";

t.afterEach(() => faults.clear());

t.test("properties", async (t) => {
	const { fd } = scratchFile(t);
	const lane = createLane("reader", 3);
	t.equal(lane.name, "reader");
	t.equal(lane.threads, 3);
	t.equal(lane.pending, 0);
	const jobs = [lane.fsync(fd), lane.fsync(fd)];
	t.equal(lane.pending, 2);
	await Promise.all(jobs);
	t.equal(lane.pending, 0);
	await lane.close();
});

t.test("each job does what it says", async (t) => {
	const { fd, path, dir } = scratchFile(t);
	const lane = createLane("jobs", 1);
	t.teardown(() => lane.close());
	t.equal(await lane.write(fd, [Buffer.from("abc"), Buffer.alloc(0), Buffer.from("def")], 2, true), undefined);
	t.equal(readFileSync(path, "latin1"), "\0\0abcdef");
	const target = Buffer.alloc(10, 0xff);
	t.equal(await lane.pread(fd, target, 4), 4);
	t.equal(target.toString("latin1"), "cdef\xff\xff\xff\xff\xff\xff");
	t.equal(await lane.pread(fd, target, 100), 0);
	await lane.fdatasync(fd);
	await lane.fsync(fd);
	await lane.fsyncDirectory(dir);
	await t.rejects(lane.fsyncDirectory(path), { code: "ENOTDIR", errno: 20, syscall: "fsyncDirectory", path });
	await t.rejects(lane.pread(1_000_000, target, 0), { code: "EBADF", syscall: "pread" });
	await t.rejects(lane.write(1_000_000, [target], 0, false), { code: "EBADF", syscall: "pwrite" });
});

t.test("zeros past the page cache, and blocks", async (t) => {
	const { fd, path } = scratchFile(t);
	const direct = sys.open(path, constants.O_RDWR | constants.O_DIRECT);
	const lane = createLane("space", 1);
	t.teardown(async () => {
		await lane.close();
		sys.close(direct);
	});
	const length = 1024 * 1024 + 8192;
	sys.pwrite(fd, Buffer.alloc(length + 8192, 0xff), 0);
	t.equal(await lane.writeZeros(direct, 4096, length), undefined);
	const content = readFileSync(path);
	t.ok(content.subarray(4096, 4096 + length).equals(Buffer.alloc(length)));
	t.equal(content[4095], 0xff);
	t.equal(content[4096 + length], 0xff);
	await lane.writeZeros(fd, 0, 1);
	t.same([...readFileSync(path).subarray(0, 2)], [0, 0xff], "any length without O_DIRECT");
	t.equal(await lane.fallocate(fd, 3, 0, 65536), undefined);
	t.ok(readFileSync(path).subarray(0, 65536).equals(Buffer.alloc(65536)), "a hole");
	t.equal(sys.seekData(fd, 0), 65536);
	await lane.fallocate(fd, 0, 4 * length, 4096);
	t.equal(sys.fstat(fd).size, 4 * length + 4096);
	await t.rejects(lane.fallocate(1_000_000, 0, 0, 1), { code: "EBADF", syscall: "fallocate" });
	await t.rejects(lane.writeZeros(1_000_000, 0, 1), { code: "EBADF", syscall: "pwrite" });
});

t.test("one thread is first in, first out", async (t) => {
	const { fd, path } = scratchFile(t);
	const lane = createLane("fifo", 1);
	t.teardown(() => lane.close());
	const order: number[] = [];
	const jobs = Array.from({ length: 200 }, (_, i) =>
		lane.write(fd, [Buffer.of(i)], 0, false).then(() => order.push(i)),
	);
	await Promise.all(jobs);
	t.same(
		order,
		Array.from({ length: 200 }, (_, i) => i),
	);
	t.equal(readFileSync(path)[0], 199, "the last write is the one that stays");
});

t.test("threads of one lane work side by side", async (t) => {
	const { fd } = scratchFile(t);
	const lane = createLane("wide", 3);
	t.teardown(() => lane.close());
	faults.set([{ op: "fsync", delayMs: 3_600_000, count: 2 }]);
	const hung = [lane.fsync(fd), lane.fsync(fd)];
	for (let i = 0; i < 20; i++) await lane.fdatasync(fd);
	t.equal(lane.pending, 2, "two hang, the third thread works on");
	faults.clear();
	await Promise.all(hung);
});

t.test("many jobs from many lanes all settle, each with its own result", async (t) => {
	const { fd } = scratchFile(t);
	const image = noise(64 * 1024, 3);
	sys.pwrite(fd, image, 0);
	const lanes = [createLane("a", 1), createLane("b", 2), createLane("c", 4)];
	t.teardown(() => Promise.all(lanes.map((lane) => lane.close())));
	let wrong = 0;
	const jobs = Array.from({ length: 3000 }, async (_, i) => {
		const at = (i * 37) % (image.length - 64);
		const target = Buffer.alloc(64);
		const got = await lanes[i % 3].pread(fd, target, at);
		if (got !== 64 || !target.equals(image.subarray(at, at + 64))) wrong++;
	});
	await Promise.all(jobs);
	t.equal(wrong, 0);
	t.same(
		lanes.map((lane) => lane.pending),
		[0, 0, 0],
	);
});

t.test("jobs queued while others settle", async (t) => {
	const { fd } = scratchFile(t);
	const lane = createLane("chain", 2);
	t.teardown(() => lane.close());
	const chain = async () => {
		for (let i = 0; i < 200; i++) await lane.pread(fd, Buffer.alloc(1), 0);
	};
	await Promise.all(Array.from({ length: 8 }, chain));
	t.equal(lane.pending, 0);
});

t.test("close waits for every job, then refuses more", async (t) => {
	const { fd, path } = scratchFile(t);
	const lane = createLane("closing", 1);
	const done: string[] = [];
	faults.set([{ op: "pwrite", delayMs: 20, count: -1 }]);
	for (let i = 0; i < 5; i++) {
		lane.write(fd, [Buffer.from(`${i}`)], i, false).then(() => done.push(`${i}`));
	}
	const closed = lane.close().then(() => done.push("closed"));
	await t.rejects(lane.fsync(fd), { code: "ECLOSED" }, "a closing lane takes nothing");
	const again = lane.close();
	await closed;
	await again;
	t.same(done, ["0", "1", "2", "3", "4", "closed"]);
	t.equal(readFileSync(path, "utf8"), "01234");
	await lane.close();
	await t.rejects(lane.pread(fd, Buffer.alloc(1), 0), { code: "ECLOSED", message: /lane 'closing' is closed/ });
	t.equal(lane.pending, 0);
});

t.test("a failed job does not stop the lane", async (t) => {
	const { fd } = scratchFile(t);
	const lane = createLane("failing", 1);
	t.teardown(() => lane.close());
	faults.set([{ op: "fdatasync", error: "EIO" }]);
	const results = await Promise.allSettled([lane.fsync(fd), lane.fdatasync(fd), lane.fsync(fd)]);
	t.same(
		results.map((result) => result.status),
		["fulfilled", "rejected", "fulfilled"],
	);
});

t.test("threads end with their lane", async (t) => {
	const count = () => Number(/Threads:\s*(\d+)/.exec(readFileSync("/proc/self/status", "utf8"))?.[1]);
	const lane = createLane("counted", 8);
	const before = count();
	await lane.close();
	t.ok(count() <= before - 8);
});

t.test("open: on a thread of the lane, with its errors and faults", async (t) => {
	const lane = createLane("open", 1);
	const path = join(t.testdir({ file: "content" }), "file");
	const fd = await lane.open(path, constants.O_RDONLY);
	const target = Buffer.alloc(7);
	t.equal(await lane.pread(fd, target, 0), 7);
	t.equal(target.toString(), "content");
	sys.close(fd);
	await t.rejects(lane.open(`${path}-gone`, constants.O_RDONLY), { code: "ENOENT", syscall: "open" });
	t.throws(() => lane.open(path, -1));
	faults.set([{ op: "open", path, error: "EMFILE" }]);
	t.teardown(() => faults.clear());
	await t.rejects(lane.open(path, constants.O_RDONLY), { code: "EMFILE", path });
	const made = await lane.open(`${path}-new`, constants.O_RDWR | constants.O_CREAT, 0o600);
	t.equal(sys.fstat(made).mode & 0o777, 0o600);
	sys.close(made);
	await lane.close();
	await t.rejects(lane.open(path, constants.O_RDONLY), { code: "ECLOSED" });
});
