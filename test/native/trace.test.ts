/** The trace: what changed the disk, in an order that a crash test may rely on. */
import { constants } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { createLane, faults, sys } from "../../native/index.js";
import { noise, scratchFile } from "./support.js";

t.afterEach(() => {
	faults.clear();
	faults.stopTrace();
});

t.test("everything that changes the disk, nothing else", async (t) => {
	const { fd, path, dir } = scratchFile(t);
	const at = (name: string) => join(dir, name);
	const created = constants.O_CREAT | constants.O_RDWR;
	faults.startTrace();
	sys.close(sys.open(path, constants.O_RDONLY));
	sys.close(sys.open(at("new"), created));
	sys.pwritev(fd, [Buffer.from("ab"), Buffer.from("cd")], 7);
	sys.pread(fd, Buffer.alloc(4), 0);
	sys.fstat(fd);
	sys.fdatasync(fd);
	sys.fsync(fd);
	sys.ftruncate(fd, 100);
	sys.fallocate(fd, 3, 0, 50);
	sys.link(path, at("linked"));
	sys.rename(at("linked"), at("renamed"));
	sys.renameNoReplace(at("renamed"), at("again"));
	sys.mkdir(at("sub"), 0o700);
	sys.rmdir(at("sub"));
	sys.fsyncDirectory(dir);
	sys.unlink(at("again"));
	faults.mark("acknowledged");
	t.same(faults.stopTrace(), [
		{ op: "open", path: at("new"), flags: created },
		{ op: "pwrite", path, position: 7, length: 4, data: Buffer.from("abcd") },
		{ op: "fdatasync", path },
		{ op: "fsync", path },
		{ op: "ftruncate", path, length: 100 },
		{ op: "fallocate", path, position: 0, length: 50, flags: 3 },
		{ op: "link", path, to: at("linked") },
		{ op: "rename", path: at("linked"), to: at("renamed") },
		{ op: "rename", path: at("renamed"), to: at("again") },
		{ op: "mkdir", path: at("sub") },
		{ op: "rmdir", path: at("sub") },
		{ op: "fsyncDirectory", path: dir },
		{ op: "unlink", path: at("again") },
		{ op: "mark", path: "acknowledged" },
	]);
	sys.fsync(fd);
	faults.mark("unheard");
	t.same(faults.stopTrace(), [], "stopped");
});

t.test("failures leave no entry, torn writes leave their part", async (t) => {
	const { fd, path, dir } = scratchFile(t);
	faults.startTrace();
	faults.set([
		{ op: "fsync", error: "EIO" },
		{ op: "unlink", error: "EIO" },
		{ op: "pwrite", error: "EIO" },
		{ op: "pwrite", short: 3, error: "ENOSPC" },
		{ op: "pwrite", short: 0, error: "ENOSPC" },
	]);
	t.throws(() => sys.fsync(fd));
	t.throws(() => sys.unlink(path));
	t.throws(() => sys.unlink(join(dir, "none")));
	const parts = [Buffer.from("ab"), Buffer.from("cd"), Buffer.from("ef")];
	for (let i = 0; i < 3; i++) t.throws(() => sys.pwritev(fd, parts, 0));
	t.same(faults.stopTrace(), [{ op: "pwrite", path, position: 0, length: 3, data: Buffer.from("abc") }]);
});

t.test("the data is a copy", async (t) => {
	const { fd } = scratchFile(t);
	const data = noise(100_000, 5);
	const before = Buffer.from(data);
	faults.startTrace();
	sys.pwrite(fd, data, 0);
	data.fill(0);
	t.same(faults.stopTrace()[0]?.data, before);
});

t.test("a sync stands where it began", async (t) => {
	const { fd, path } = scratchFile(t);
	const slow = createLane("slow", 1);
	t.teardown(() => slow.close());
	faults.startTrace();
	faults.set([{ op: "fdatasync", delayMs: 3_600_000 }]);
	sys.pwrite(fd, Buffer.from("covered"), 0);
	const synced = slow.write(fd, [Buffer.from("also")], 100, true);
	while (!(await wrote(fd))) await new Promise((resolve) => setImmediate(resolve));
	// The delay precedes the call, so this write returns before the sync begins and is covered by it.
	sys.pwrite(fd, Buffer.from("before"), 200);
	faults.clear();
	await synced;
	sys.pwrite(fd, Buffer.from("after"), 300);
	const seen = faults.stopTrace().map((entry) => [entry.op, entry.path, entry.position]);
	t.same(seen, [
		["pwrite", path, 0],
		["pwrite", path, 100],
		["pwrite", path, 200],
		["fdatasync", path, undefined],
		["pwrite", path, 300],
	]);
});

/** Whether the lane's write has reached the file (its record in the trace follows at once, before the sync). */
async function wrote(fd: number): Promise<boolean> {
	return sys.fstat(fd).size >= 104;
}

t.test("lanes and the main thread write one trace", async (t) => {
	const { fd, path } = scratchFile(t);
	const lane = createLane("traced", 2);
	t.teardown(() => lane.close());
	faults.startTrace();
	await Promise.all(Array.from({ length: 50 }, (_, i) => lane.write(fd, [noise(16, i + 1)], i * 16, false)));
	await lane.fdatasync(fd);
	const trace = faults.stopTrace();
	t.equal(trace.length, 51);
	t.equal(trace[50].op, "fdatasync");
	const image = Buffer.alloc(800);
	for (const entry of trace) entry.data?.copy(image, entry.position);
	const disk = Buffer.alloc(800);
	sys.pread(fd, disk, 0);
	t.same(image, disk, "replaying the trace gives the file");
	t.ok(trace.every((entry) => entry.path === path));
});
