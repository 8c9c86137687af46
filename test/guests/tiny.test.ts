import { createHash, randomFillSync } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { runTiny } from "../../scripts/lab/tiny.js";

t.test("a script runs in the tiny guest, calls the host, reads a disk and hands back its status", async (t) => {
	const content = randomFillSync(Buffer.alloc(3 << 20));
	const disk = join(t.testdir({}), "disk.raw");
	writeFileSync(disk, content);
	const asked: string[][] = [];
	const result = await runTiny({
		script: `echo "first line"
host ask a b && echo went on
host refuse || echo "refused: $?"
sha256sum < /dev/vda
cat /extra
exit 5`,
		files: [{ name: "extra", content: "from the second archive\n" }],
		disks: [{ source: disk, readOnly: true }],
		calls: {
			ask: (...words: string[]) => {
				asked.push(words);
				return "an answer";
			},
			refuse: () => Promise.reject(new Error("no")),
		},
	});
	t.equal(result.status, 5);
	t.strictSame(asked, [["a", "b"]]);
	t.strictSame(result.output.trim().split("\n"), [
		"first line",
		"an answer",
		"went on",
		"Error: no",
		"refused: 1",
		`${createHash("sha256").update(content).digest("hex")}  -`,
		"from the second archive",
	]);
});

t.test("a guest that does not end in time is killed", async (t) => {
	const result = await runTiny({ script: "sleep 1000", timeout: 300 });
	t.equal(result.status, null);
	const children = readFileSync(`/proc/self/task/${process.pid}/children`, "utf8");
	t.equal(children.trim(), "", "no process is left");
});
