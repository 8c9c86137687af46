/** Wrong input gets one clear line and exit 1 or 2, and nothing is lost. */

import {
	closeSync,
	mkdirSync,
	openSync,
	readdirSync,
	statSync,
	truncateSync,
	unlinkSync,
	writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import t, { type Test } from "tap";
import { enterNamespace } from "../../scripts/lab/namespace.js";
import { writeDisk } from "./content.js";
import { MAIN, must, type Run, run, Workspace } from "./workspace.js";

await enterNamespace(import.meta.url);

const MIB = 2 ** 20;

/** One line on stderr that names the thing, no stack, the exit code. */
function oneLine(t: Test, { code, stderr }: Run, expected: number, pattern: RegExp, name: string): void {
	t.equal(code, expected, `${name}: exit ${expected}`);
	const lines = stderr.trimEnd().split("\n");
	t.equal(lines.length, 1, `${name}: one line: ${stderr}`);
	t.match(lines[0], pattern, `${name}: says what`);
	t.notMatch(stderr, /^\s+at /m, `${name}: no stack`);
}

t.test("arguments and names", async (t) => {
	const work = new Workspace();
	t.teardown(() => work.close());
	oneLine(t, await work.cli(["points"]), 1, /repo/, "no repository");
	mkdirSync(work.repository);
	writeFileSync(join(work.repository, "letter.txt"), "hello");
	oneLine(t, await work.cli(["points"]), 1, /not a.*repository/i, "not a repository");
	oneLine(t, await work.cli(["init"]), 1, /empty/i, "init in a foreign directory");
	unlinkSync(join(work.repository, "letter.txt"));
	await work.init();
	oneLine(t, await work.cli(["init"]), 1, /already|exists/i, "init twice");
	oneLine(t, await work.cli(["frobnicate"]), 2, /frobnicate/, "unknown command");
	oneLine(t, await work.cli(["points", "--frob"]), 2, /--frob/, "unknown option");
	oneLine(t, await work.cli(["init", "--block-size", "3"]), 2, /block-size/, "bad block size");
	oneLine(t, await work.cli(["backup", "vm"]), 2, /--disk/, "no disk");
	oneLine(t, await work.cli(["backup", "vm", "--disk", work.path("none.raw")]), 1, /none\.raw/, "missing source");
	oneLine(t, await work.cli(["backup", "a/b", "--disk", work.path("none.raw")]), 2, /a\/b/, "bad VM name");
	oneLine(t, await work.cli(["publish", "nobody"]), 1, /nobody/, "unknown VM");
	writeDisk(work.path("a.raw"), 1, MIB);
	const ids: string[] = [];
	for (let i = 0; i < 40; i++) ids.push((await work.backup("vm", work.path("a.raw"))).point);
	oneLine(t, await work.cli(["publish", "vm@ffffffffffffffffffffffffffffffff"]), 1, /ffffffff/, "unknown point");
	// Forty ids share first digits: a prefix of one digit is ambiguous by the pigeonhole principle.
	const first = ids.map((id) => id[0]);
	const twice = first.find((digit, i) => first.indexOf(digit) !== i) as string;
	oneLine(t, await work.cli(["publish", `vm@${twice}`]), 1, new RegExp(`${twice}.*`), "ambiguous prefix");
	oneLine(t, await work.cli(["export", "vm", "--disk", "7", "-o", work.path("x")]), 2, /7/, "unknown disk");
	t.equal((await work.cli(["check"])).code, 0, "and the repository is whole");
});

t.test("ports in use", async (t) => {
	const work = new Workspace();
	t.teardown(() => work.close());
	const server = createServer().listen(2049, "127.0.0.1");
	t.teardown(() => void server.close());
	await new Promise((resolve) => server.once("listening", resolve));
	await work.init();
	writeDisk(work.path("a.raw"), 1, MIB);
	await work.backup("vm", work.path("a.raw"));
	oneLine(t, await work.cli(["publish", "vm"]), 1, /2049/, "port in use");
	oneLine(t, await work.cli(["publish", "vm", "--nfs-port", "nine"]), 2, /nine/, "not a port");
	const published = await work.publish(["vm", "--nfs-port", "0", "--mount-port", "0"]);
	t.ok(published.ready.nfsPort > 0, "another port works");
	oneLine(
		t,
		await work.cli(["publish", "vm", "--nfs-port", "4000"]),
		2,
		/4000/,
		"other port than the running process'",
	);
});

t.test("a truncated pack", async (t) => {
	const work = new Workspace();
	t.teardown(() => work.close());
	await work.init();
	writeDisk(work.path("a.raw"), 1, 4 * MIB);
	await work.backup("vm", work.path("a.raw"));
	const published = await work.publish(["vm", "--session", "s"]);
	const packs = (readdirSync(join(work.repository, "packs"), { recursive: true }) as string[])
		.map((name) => join(work.repository, "packs", name))
		.filter((path) => statSync(path).isFile());
	const largest = packs.sort((a, b) => statSync(b).size - statSync(a).size)[0];
	truncateSync(largest, 1000);
	const copy = await run("qemu-img", [
		"convert",
		"-f",
		"raw",
		"-O",
		"raw",
		`${published.ready.url}/disk0-flat.vmdk`,
		work.path("x"),
	]);
	t.not(copy.code, 0, "the client gets a read error");
	const name = largest.split("/").pop() as string;
	t.match(work.log(), new RegExp(name), "the log names the pack");
	const check = await work.cli(["check"]);
	t.equal(check.code, 3, "check finds it");
	t.match(check.stdout, new RegExp(name), "and names it");
	t.equal((await work.sessions()).find((info) => info.session === "s")?.state, "open", "the process lives");
});

t.test("a full disk", async (t) => {
	const work = new Workspace();
	t.teardown(() => work.close());
	const small = work.path("small");
	mkdirSync(small);
	await must("mount", ["-t", "tmpfs", "-o", "size=3m", "tmpfs", small]);
	t.teardown(() => run("umount", ["-l", small]));
	const repo = join(small, "repo");
	await must(process.execPath, [MAIN, "init", "--repo", repo]);
	writeDisk(work.path("first.raw"), 1, 300_000);
	writeDisk(work.path("big.raw"), 2, 40 * MIB);
	const backup = (file: string) => work.cli(["backup", "vm", "--disk", work.path(file), "--repo", repo, "--quiet"]);
	t.equal((await backup("first.raw")).code, 0, "a small backup fits");
	// Incompressible: cannot fit in 3 MiB.
	const fd = openSync(work.path("noise.raw"), "w");
	closeSync(fd);
	await must("dd", ["if=/dev/urandom", `of=${work.path("noise.raw")}`, "bs=1M", "count=8", "status=none"]);
	oneLine(t, await backup("noise.raw"), 1, /space/i, "the repository's disk is full");
	const points = await work.cli(["points", "--repo", repo, "--json"]);
	t.equal(JSON.parse(points.stdout).length, 1, "nothing half-committed");
	t.equal((await work.cli(["check", "--read-data", "--repo", repo])).code, 0, "the first point is whole");
	await must("mount", ["-o", "remount,size=64m", small]);
	t.equal((await backup("noise.raw")).code, 0, "the retry works");
	t.equal((await work.cli(["check", "--read-data", "--repo", repo])).code, 0, "and everything is whole");
});

t.test("a source that vanishes", async (t) => {
	const work = new Workspace();
	t.teardown(() => work.close());
	await work.init();
	oneLine(
		t,
		await work.cli(["backup", "vm", "--disk", `nbd+unix:///?socket=${work.path("no.sock")}`]),
		1,
		/no\.sock/,
		"no NBD server",
	);
	const result = await work.cli(["backup", "vm", "--quiet", "--disk", `nbd+unix:///?socket=${work.path("bad.sock")}`]);
	t.not(result.code, 0);
	t.equal((await work.json<unknown[]>(["points"])).length, 0, "no point is made");
});
