import { spawnSync } from "node:child_process";
import t from "tap";
import { cpio } from "../../scripts/lab/cpio.js";

t.test("another program unpacks it: names, contents of every length modulo four, modes", async (t) => {
	const directory = t.testdir({});
	const files = [0, 1, 2, 3, 4, 5].map((length) => ({ name: `f${length}`, content: "x".repeat(length) }));
	const archive = cpio([...files, { name: "run.sh", content: "exit 0\n", mode: 0o755 }]);
	t.equal(archive.length % 4, 0, "another archive can follow");
	const list = spawnSync("busybox", ["cpio", "-i"], { cwd: directory, input: archive, encoding: "utf8" });
	t.equal(list.status, 0, list.stderr);
	const found = spawnSync("sh", ["-c", "stat -c '%n %s %a' *; ./run.sh && cat f5"], {
		cwd: directory,
		encoding: "utf8",
	});
	t.equal(found.stdout, "f0 0 644\nf1 1 644\nf2 2 644\nf3 3 644\nf4 4 644\nf5 5 644\nrun.sh 7 755\nxxxxx");
});
