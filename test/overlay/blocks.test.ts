/** A segment's blocks while lanes are slow: the writer waits for what is done to its segment, and nothing follows. */
import { constants } from "node:fs";
import t, { type Test } from "tap";
import { createLane, faults, sys } from "../../native/index.js";
import { Blocks } from "../../src/overlay/blocks.js";
import { pattern, temporary } from "./lab.js";

const BYTES = 64 * 1024;
/** ms that a slow call takes */
const SLOW = 100;
const soon = (milliseconds = 20) => new Promise((resolve) => setTimeout(resolve, milliseconds));

interface Scene {
	fd: number;
	blocks: Blocks;
	failures: unknown[];
	/** what is in segment 1 when nothing moves any more */
	settled(): Promise<Buffer>;
}

const scene = (t: Test): Scene => {
	const path = `${temporary(t)}/log`;
	const fd = sys.open(path, constants.O_RDWR | constants.O_CREAT, 0o600);
	const lane = createLane("test", 2);
	const failures: unknown[] = [];
	const blocks = new Blocks(path, BYTES, lane, (error) => failures.push(error));
	t.teardown(async () => {
		faults.clear();
		await lane.close();
		blocks.close();
		sys.close(fd);
	});
	const settled = async () => {
		await soon(2 * SLOW);
		const content = Buffer.alloc(BYTES);
		sys.pread(fd, content, BYTES);
		return content;
	};
	return { fd, blocks, failures, settled };
};

const DATA = pattern(0, BYTES, 3);

for (const slow of ["fallocate", "pwrite", "fdatasync"])
	t.test(`a fill is overtaken while ${slow} is slow`, async (t) => {
		const { fd, blocks, failures, settled } = scene(t);
		faults.set([{ op: slow, path: "/log", delayMs: SLOW }]);
		blocks.fill(1);
		await soon();
		await blocks.prepare(1);
		t.ok(blocks.has(1));
		sys.pwrite(fd, DATA, BYTES);
		blocks.fill(1);
		await blocks.punch(1);
		t.ok((await settled()).equals(DATA), "nothing comes after the writer");
		t.equal(failures.length, 0);
	});

t.test("a segment that is being given back is asked for", async (t) => {
	const { fd, blocks, failures, settled } = scene(t);
	await blocks.prepare(1);
	await blocks.prepare(0);
	faults.set([{ op: "fallocate", path: "/log", delayMs: SLOW }]);
	const punched = blocks.punch(1);
	blocks.fill(1);
	t.equal(blocks.has(1), false, "it has no blocks from then on");
	await blocks.prepare(1);
	t.equal(blocks.has(1), true, "it has them again");
	sys.pwrite(fd, DATA, BYTES);
	await punched;
	t.ok((await settled()).equals(DATA));
	t.equal(failures.length, 0);
});

t.test("a fill past the page cache that the file system refuses goes through it the next time", async (t) => {
	const { blocks, failures } = scene(t);
	faults.set([{ op: "pwrite", path: "/log", error: "EINVAL" }]);
	for (const filled of [false, true]) {
		blocks.fill(1);
		while (blocks.isBusy(1)) await soon();
		t.equal(blocks.isFilled(1), filled);
	}
	t.equal(failures.length, 0);
});

t.test("a failed fill stops the session, want of space does not", async (t) => {
	const { blocks, failures } = scene(t);
	for (const [op, error, stops] of [
		["fallocate", "ENOSPC", 0],
		["pwrite", "ENOSPC", 0],
		["pwrite", "EIO", 1],
		["fdatasync", "ENOSPC", 2],
		["fallocate", "EIO", 3],
	] as const) {
		faults.set([{ op, path: "/log", error }]);
		const segment = op === "fallocate" ? 2 : 1;
		blocks.fill(segment);
		while (blocks.isBusy(segment)) await soon();
		t.equal(blocks.isFilled(segment), false);
		t.equal(failures.length, stops, `${op} ${error}`);
	}
	faults.set([{ op: "fallocate", path: "/log", error: "ENOSPC" }]);
	await t.rejects(blocks.prepare(2), { code: "ENOSPC" });
	t.equal(blocks.starved, true);
	await blocks.prepare(2);
	t.equal(blocks.starved, false);
});

t.test("a free segment whose parts cannot be given back keeps them, and is prepared as any other", async (t) => {
	const { fd, blocks, failures } = scene(t);
	sys.pwrite(fd, DATA.subarray(0, 4096), BYTES);
	sys.ftruncate(fd, 2 * BYTES);
	faults.set([{ op: "fallocate", path: "/log", error: "ENOSPC" }]);
	blocks.examine(1);
	t.notOk(blocks.has(1));
	await blocks.prepare(1);
	t.ok(blocks.has(1));
	t.equal(failures.length, 0);
});
