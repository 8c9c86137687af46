/** What the next batch writes goes to the disk before those of the batch before are told: their answers take time. */
import t from "tap";
import type { Lane } from "../../native/index.js";
import type { Engine } from "../../src/overlay/engine.js";
import { create, diskOf, lab, pattern, readAll, temporary } from "./lab.js";

t.test("who was written is told once the next batch is on its way, or at once when there is none", async (t) => {
	const tree = await create(lab(temporary(t)));
	const disk = diskOf(tree);
	const { log } = (tree as unknown as { engine: Engine }).engine;
	const events: string[] = [];
	const { lane } = log;
	const watched: Lane = {
		...lane,
		async write(...args) {
			events.push("writes");
			await lane.write(...args);
			events.push("written");
		},
	};
	Object.assign(log, { lane: watched });
	const put = (name: string, at: number) =>
		tree.write(disk, at, pattern(at, 4096, 3), true).then(() => events.push(name));
	const first = put("first", 0);
	// The first is on its way; these wait for it.
	while (events.length === 0) await new Promise(setImmediate);
	const others = [put("second", 8192), put("third", 16384)];
	await Promise.all([first, ...others]);
	t.same(events, ["writes", "written", "writes", "first", "written", "second", "third"]);
	for (const at of [0, 8192, 16384]) t.same(await readAll(tree, disk, at, 4096), pattern(at, 4096, 3));
	await tree.close();
});
