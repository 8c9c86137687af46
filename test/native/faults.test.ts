/** Fault rules: which call they act on, and what is left on disk. */
import { constants, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { createLane, type FaultRule, faults, sys } from "../../native/index.js";
import { child, scratchFile } from "./support.js";

t.afterEach(() => faults.clear());

t.test("an error instead of the call, as often as count says", async (t) => {
	const { fd, path } = scratchFile(t);
	faults.set([{ op: "pwrite", error: "ENOSPC", skip: 1, count: 2 }]);
	sys.pwrite(fd, Buffer.from("a"), 0);
	const expected = { code: "ENOSPC", errno: 28, syscall: "pwrite", path };
	t.throws(() => sys.pwrite(fd, Buffer.from("b"), 0), expected);
	t.throws(() => sys.pwritev(fd, [Buffer.from("c")], 0), expected);
	t.equal(readFileSync(path, "utf8"), "a", "nothing was written");
	sys.pwrite(fd, Buffer.from("d"), 0);
	t.equal(readFileSync(path, "utf8"), "d");
});

t.test("count -1 lasts until clear", async (t) => {
	const { fd } = scratchFile(t);
	faults.set([{ op: "fdatasync", error: "EIO", count: -1 }]);
	for (let i = 0; i < 5; i++) t.throws(() => sys.fdatasync(fd), { code: "EIO", syscall: "fdatasync" });
	sys.fsync(fd);
	faults.clear();
	sys.fdatasync(fd);
});

t.test("the first matching rule that still has a count acts", async (t) => {
	const { fd } = scratchFile(t);
	faults.set([
		{ op: "fsync", error: "EIO" },
		{ op: "*", error: "EROFS", skip: 1 },
		{ op: "fsync", error: "ENOSPC" },
	]);
	t.throws(() => sys.fsync(fd), { code: "EIO" });
	t.throws(() => sys.fsync(fd), { code: "ENOSPC" }, "the second rule lets one pass, to the third");
	t.throws(() => sys.fsync(fd), { code: "EROFS" });
	sys.fsync(fd);
});

t.test("paths: as opened, either name of a rename, descriptors opened elsewhere", async (t) => {
	const { fd, path, dir } = scratchFile(t, "first");
	const second = scratchFile(t, "second");
	faults.set([{ op: "pwrite", path: "second", error: "EIO", count: -1 }]);
	sys.pwrite(fd, Buffer.from("x"), 0);
	t.throws(() => sys.pwrite(second.fd, Buffer.from("x"), 0), { code: "EIO", path: second.path });
	faults.set([{ op: "rename", path: "target", error: "EIO", count: -1 }]);
	t.throws(() => sys.rename(path, join(dir, "target")), { code: "EIO", path });
	sys.rename(path, join(dir, "moved"));
	faults.set([{ op: "pwrite", path: "first", error: "EIO" }]);
	t.throws(() => sys.pwrite(fd, Buffer.from("x"), 0), { code: "EIO" }, "still known by the name it was opened with");
	const input = scratchFile(t, "third");
	const { openSync, closeSync } = await import("node:fs");
	const foreign = openSync(input.path, "r+");
	faults.set([{ op: "pwrite", path: "third", error: "EIO" }]);
	t.throws(() => sys.pwrite(foreign, Buffer.from("x"), 0), { code: "EIO" });
	closeSync(foreign);
});

t.test("short: a part is written, then the error", async (t) => {
	const { fd, path } = scratchFile(t);
	faults.set([{ op: "pwrite", short: 5, error: "ENOSPC" }]);
	t.throws(() => sys.pwritev(fd, [Buffer.from("abc"), Buffer.from("defg")], 0), { code: "ENOSPC" });
	t.equal(readFileSync(path, "utf8"), "abcde");
	faults.set([{ op: "*", short: 100, error: "EIO" }]);
	sys.fsync(fd);
	t.throws(() => sys.pwrite(fd, Buffer.from("xy"), 0), { code: "EIO" }, "a short rule acts on writes only");
	t.equal(readFileSync(path, "utf8"), "xycde");
});

t.test("every operation can fail", async (t) => {
	const { fd, path, dir } = scratchFile(t);
	const lane = createLane("faults", 1);
	t.teardown(() => lane.close());
	const calls: [string, () => unknown][] = [
		["open", () => sys.open(path, constants.O_RDONLY)],
		["pread", () => sys.pread(fd, Buffer.alloc(1), 0)],
		["pwrite", () => sys.pwrite(fd, Buffer.from("x"), 0)],
		["fsync", () => sys.fsync(fd)],
		["fdatasync", () => sys.fdatasync(fd)],
		["fsyncDirectory", () => sys.fsyncDirectory(dir)],
		["ftruncate", () => sys.ftruncate(fd, 0)],
		["fallocate", () => sys.fallocate(fd, 0, 0, 1)],
		["rename", () => sys.renameNoReplace(path, join(dir, "x"))],
		["link", () => sys.link(path, join(dir, "x"))],
		["unlink", () => sys.unlink(path)],
		["mkdir", () => sys.mkdir(join(dir, "x"), 0o700)],
		["rmdir", () => sys.rmdir(dir)],
		["fstat", () => sys.fstat(fd)],
		["statfs", () => sys.statfs(dir)],
		["seek", () => sys.seekData(fd, 0)],
		["lock", () => sys.lock(fd, "shared", 0, 1)],
		["pread", () => lane.pread(fd, Buffer.alloc(1), 0)],
		["pwrite", () => lane.write(fd, [Buffer.from("x")], 0, true)],
		["fdatasync", () => lane.write(fd, [Buffer.from("x")], 0, true)],
		["fsync", () => lane.fsync(fd)],
		["fdatasync", () => lane.fdatasync(fd)],
		["fsyncDirectory", () => lane.fsyncDirectory(dir)],
	];
	for (const [op, call] of calls) {
		faults.set([{ op, error: "EIO" }]);
		await t.rejects(async () => call(), { code: "EIO", errno: 5 }, op);
	}
	faults.set([{ op: "*", error: "EIO", count: -1 }]);
	sys.statfs(dir);
	sys.fstat(fd);
	t.ok(sys.lock(fd, "exclusive", 0, 1), "* leaves questions and locks alone");
	const spare = sys.open.bind(sys, path, constants.O_RDONLY);
	t.throws(spare, { code: "EIO" });
	faults.set([{ op: "close", error: "EIO" }]);
	const extra = spare();
	t.throws(() => sys.close(extra), { code: "EIO", path });
	t.throws(() => sys.close(extra), { code: "EBADF" }, "closed all the same, as Linux does");
});

t.test("a delay holds up the call; clear ends it", async (t) => {
	const { fd } = scratchFile(t);
	const hung = createLane("hung", 1);
	const healthy = createLane("healthy", 1);
	t.teardown(() => Promise.all([hung.close(), healthy.close()]));
	faults.set([{ op: "fsync", delayMs: 3_600_000 }]);
	let settled = false;
	const waiting = hung.fsync(fd).then(() => {
		settled = true;
	});
	const behind = hung.fdatasync(fd);
	for (let i = 0; i < 10; i++) await healthy.fdatasync(fd);
	t.notOk(settled, "another lane goes on meanwhile");
	t.equal(hung.pending, 2);
	faults.clear();
	await waiting;
	await behind;
});

t.test("a child is armed by its environment", async (t) => {
	const { path } = scratchFile(t);
	const script = `
		import { constants } from "node:fs";
		const fd = native.sys.open(process.env.TARGET, constants.O_RDWR);
		native.sys.pwrite(fd, Buffer.from("first"), 0);
		try { native.sys.pwrite(fd, Buffer.from("second"), 0); } catch (error) { console.log(error.code); }
	`;
	const run = (rules: FaultRule[]) => child(script, { TARGET: path, SPRINGBACK_FAULTS: JSON.stringify(rules) });
	t.equal((await run([{ op: "pwrite", skip: 1, error: "EDQUOT" }])).stdout, "EDQUOT\n");
	writeFileSync(path, "");
	const killed = await run([{ op: "pwrite", skip: 1, kill: true }]);
	t.equal(killed.signal, "SIGKILL");
	t.equal(readFileSync(path, "utf8"), "first");
	const torn = await run([{ op: "pwrite", skip: 1, short: 3 }]);
	t.equal(torn.signal, "SIGKILL", "short without an error kills after the part is written");
	t.equal(readFileSync(path, "utf8"), "secst");
	const wrong = await child("", { SPRINGBACK_FAULTS: '[{"op":"pwrite","error":"ENONSENSE"}]' });
	t.equal(wrong.code, 1);
	t.match(wrong.stderr, /SPRINGBACK_FAULTS is not a JSON array of fault rules: .*ENONSENSE/);
});

t.test("rules that mean nothing are refused, and the old ones stay", async (t) => {
	const { fd } = scratchFile(t);
	faults.set([{ op: "fsync", error: "EIO" }]);
	const wrong: unknown[] = [
		[{ op: "fsync" }],
		[{ op: 1, error: "EIO" }],
		[{ op: "fsync", error: "EWHATEVER" }],
		[{ op: "fsync", error: "EIO", skip: -1 }],
		[{ op: "fsync", error: "EIO", count: 1.5 }],
		[{ op: "fsync", kill: 1 }],
		[null],
		{},
		undefined,
	];
	for (const rules of wrong) t.throws(() => faults.set(rules as FaultRule[]));
	t.throws(() => sys.fsync(fd), { code: "EIO" });
});
