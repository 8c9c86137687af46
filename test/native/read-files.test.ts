/** Many small files in one job. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { createLane, faults } from "../../native/index.js";
import { scratchFile } from "./support.js";

t.afterEach(() => faults.clear());

t.test("many files at once", async (t) => {
	const { path, dir } = scratchFile(t);
	const lane = createLane("files", 1);
	t.teardown(() => lane.close());
	writeFileSync(path, "abcdefghij");
	const other = join(dir, "other");
	writeFileSync(other, "xyz");
	const { bytes, lengths, errors } = await lane.readFiles([other, join(dir, "none"), path, path], 4);
	t.equal(bytes.toString("latin1"), "xyzabcdabcd");
	t.same([...lengths], [3, 0, 4, 4]);
	t.same([...errors], [undefined, "ENOENT", undefined, undefined]);
	faults.set([{ op: "pread", path: other, error: "EIO" }]);
	t.same([...(await lane.readFiles([other, other], 16)).errors], ["EIO", undefined]);
	t.same([...(await lane.readFiles([], 16)).lengths], []);
	t.throws(() => lane.readFiles([path], 2 ** 21), RangeError);
	t.throws(() => lane.readFiles([1 as unknown as string], 16), TypeError);
});
