/** Which segments are whose, while what gives them back is slow. */
import { constants } from "node:fs";
import t from "tap";
import { createLane, faults, sys } from "../../native/index.js";
import { Blocks } from "../../src/overlay/blocks.js";
import { Segments } from "../../src/overlay/segments.js";
import { pattern, temporary } from "./lab.js";

const BYTES = 64 * 1024;

t.test("a segment on its way back to the file system is neither handed out nor freed twice", async (t) => {
	const path = `${temporary(t)}/log`;
	const fd = sys.open(path, constants.O_RDWR | constants.O_CREAT, 0o600);
	const lane = createLane("test", 1);
	const blocks = new Blocks(path, BYTES, lane, (error) => t.fail(String(error)));
	t.teardown(async () => {
		faults.clear();
		await lane.close();
		blocks.close();
		sys.close(fd);
	});
	const segments = new Segments(blocks);
	segments.plan = [segments.take()];
	segments.active = segments.plan[0];
	const others = Array.from({ length: 20 }, () => segments.take());
	for (const segment of others) await blocks.prepare(segment);
	// All of them are dead; most are given back, which is slow while the next checkpoint takes some and ends.
	faults.set([{ op: "fallocate", path: "/log", delayMs: 100 }]);
	const taken: number[] = [];
	const use = async (count: number): Promise<void> => {
		for (let i = 0; i < count; i++) {
			const segment = segments.take();
			await blocks.prepare(segment);
			taken.push(segment);
			segments.plan.push(segment);
			sys.pwrite(fd, pattern(0, BYTES, segment), segment * BYTES);
		}
	};
	segments.recycle(1, 1, () => false, false);
	await use(4);
	segments.recycle(2, 2, () => false, false);
	await use(6);
	await segments.settle();
	segments.recycle(3, 3, () => false, false);
	for (let i = 0; i < 20; i++) taken.push(segments.take());
	t.equal(new Set(taken).size, taken.length, "each is handed out once");
	const content = Buffer.alloc(BYTES);
	for (const segment of taken.slice(0, 10)) {
		sys.pread(fd, content, segment * BYTES);
		t.ok(content.equals(pattern(0, BYTES, segment)), `what was written to segment ${segment} is there`);
	}
});
