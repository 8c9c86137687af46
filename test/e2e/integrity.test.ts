/** A repository that was copied, is read-only, damaged, foreign or large: the command line copes or says why not. */
import { spawn } from "node:child_process";
import { cpSync, readdirSync, readFileSync, renameSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import t, { type Test } from "tap";
import { enterNamespace } from "../../scripts/lab/namespace.js";
import { Keyring } from "../../src/repository/keyring.js";
import { encodePoint } from "../../src/repository/points.js";
import { forge, recordsOf } from "../repository/damage-lab.js";
import { digest, writeDisk } from "./content.js";
import { MAIN, must, type Run, run, Workspace } from "./workspace.js";

await enterNamespace(import.meta.url);

const MIB = 2 ** 20;

/** One line on stderr that names the thing, no stack, the exit code. */
function oneLine(t: Test, { code, stderr }: Run, expected: number, pattern: RegExp, name: string): void {
	t.equal(code, expected, `${name}: exit ${expected}`);
	const lines = stderr.trimEnd().split("\n");
	t.equal(lines.length, 1, `${name}: one line: ${stderr}`);
	t.match(lines[0], pattern, `${name}: says what`);
}

/** A repository with one point of `vm`, and the file it was made from. */
async function backedUp(t: Test, vm = "vm"): Promise<{ work: Workspace; disk: string }> {
	const work = new Workspace();
	t.teardown(() => work.close());
	await work.init();
	const disk = work.path("a.raw");
	writeDisk(disk, 7, 3 * MIB);
	await work.backup(vm, disk);
	return { work, disk };
}

const dataPack = (repository: string): string =>
	(readdirSync(join(repository, "packs"), { recursive: true }) as string[])
		.map((name) => join(repository, "packs", name))
		.filter((path) => statSync(path).isFile())
		.sort((a, b) => statSync(b).size - statSync(a).size)[0];

/** Lists, checks, publishes and exports. */
async function everythingWorks(t: Test, work: Workspace, vm: string, disk: string): Promise<void> {
	t.equal((await work.json<unknown[]>(["points"])).length, 1, "points");
	t.equal((await work.cli(["check", "--read-data"])).code, 0, "check");
	const published = await work.publish([vm, "--session", "s"]);
	const copy = work.path("copy.raw");
	await must("qemu-img", ["convert", "-f", "raw", "-O", "raw", `${published.ready.url}/disk0-flat.vmdk`, copy]);
	t.equal(await digest(copy), await digest(disk), "publish serves the exact bytes");
	await work.stop(published);
	await work.json(["export", vm, "-o", work.path("exported.raw")]);
	t.equal(await digest(work.path("exported.raw")), await digest(disk), "export");
}

t.test("a machine that has only the repository directory", async (t) => {
	const { work: old, disk } = await backedUp(t);
	const fresh = new Workspace();
	t.teardown(() => fresh.close());
	cpSync(old.repository, fresh.repository, { recursive: true });
	rmSync(join(fresh.repository, "index"), { recursive: true });
	renameSync(old.repository, `${old.repository}-gone`);
	process.env.HOME = fresh.path("home");
	t.match(await fresh.json(["rebuild"]), { packs: 2, segments: 1, faults: [] });
	await everythingWorks(t, fresh, "vm", disk);
	await fresh.backup("vm", disk);
	t.equal((await fresh.cli(["check", "--read-data"])).code, 0, "and backups go on");
});

t.test("read-only media", async (t) => {
	const { work, disk } = await backedUp(t);
	await must("mount", ["--bind", work.repository, work.repository]);
	t.teardown(() => run("umount", ["-l", work.repository]));
	await must("mount", ["-o", "remount,bind,ro", work.repository]);
	await everythingWorks(t, work, "vm", disk);
	for (const args of [["repair"], ["prune"], ["forget", "vm", "--keep-last", "1"]])
		t.equal((await work.cli([...args, "--dry-run"])).code, 0, `a dry run of ${args[0]}`);
	const writers = [["repair"], ["rebuild"], ["prune"], ["forget", "vm@latest", "--force"], ["hold", "vm@latest"]];
	for (const args of [["backup", "vm", "--disk", disk, "--quiet"], ...writers]) {
		const result = await work.cli(args);
		oneLine(t, result, 1, /cannot write to .*repo.*(EROFS).*check its owner and mount/, args[0]);
	}
	await must("umount", [work.repository]);
	rmSync(join(work.repository, "index"), { recursive: true });
	await must("mount", ["--bind", work.repository, work.repository]);
	await must("mount", ["-o", "remount,bind,ro", work.repository]);
	await work.json(["export", "vm", "-o", work.path("again.raw")]);
	t.equal(await digest(work.path("again.raw")), await digest(disk), "even without an index");
});

t.test("a block with a checksum that fits: export, copy and check tell it by its SHA-256", async (t) => {
	const work = new Workspace();
	t.teardown(() => work.close());
	await work.init();
	writeDisk(work.path("a.raw"), 7, 3 * MIB);
	await work.json(["backup", "vm", "--disk", work.path("a.raw"), "--compression", "none"]);
	const pack = relative(work.repository, dataPack(work.repository));
	forge(work.repository, pack, recordsOf(work.repository, pack)[1].at);
	const exporting = ["export", "vm", "-o", work.path("x.raw")];
	oneLine(t, await work.cli(exporting), 1, /differs from its SHA-256/, "export");
	const other = work.path("other");
	await must(process.execPath, [MAIN, "init", "--repo", other]);
	oneLine(t, await work.cli(["copy", "vm", "--to", other]), 1, /differs from its SHA-256/, "copy");
	const check = await work.cli(["check", "--read-data"]);
	t.equal(check.code, 3);
	t.match(check.stdout, /bad-record: .*differs from its SHA-256/);
	t.equal((await work.cli(["repair"])).code, 3);
	t.match((await work.cli(exporting)).stderr, /in no pack/, "and it is out of use");
});

t.test("springback.json or a restore point is lost: rebuild and repair by the command line", async (t) => {
	const { work, disk } = await backedUp(t);
	const second = (await work.backup("vm", disk)).point;
	const config = join(work.repository, "springback.json");
	const text = readFileSync(config, "utf8");
	rmSync(config);
	oneLine(t, await work.cli(["points"]), 1, /lost its springback\.json: springback rebuild restores it/, "lost");
	const copied = await work.cli(["rebuild"]);
	t.equal(copied.code, 0);
	t.match(copied.stderr, /springback\.json was restored from the repository's copy of it/);
	t.equal(readFileSync(config, "utf8"), text);
	rmSync(join(work.repository, "config"), { recursive: true });
	truncateSync(config, 80);
	oneLine(t, await work.cli(["points"]), 1, /is damaged \(cut short\): springback rebuild restores it/, "cut");
	const guessed = await work.cli(["rebuild", "--json"]);
	t.equal(guessed.code, 4, "something had to be guessed");
	t.match(JSON.parse(guessed.stdout).config, { from: "packs", guessed: [/compression lz4/, /created/], aside: String });
	t.equal((await work.cli(["check", "--read-data"])).code, 0);

	truncateSync(join(work.repository, "points", second), 100);
	t.equal((await work.cli(["check"])).code, 3);
	const dry = await work.cli(["repair", "--dry-run"]);
	t.equal(dry.code, 3);
	t.match(dry.stdout, new RegExp(`would move aside points/${second}`));
	const repaired = await work.cli(["repair"]);
	t.equal(repaired.code, 3, "a restore point was lost");
	t.match(
		repaired.stdout,
		new RegExp(`moved to quarantine/point-${second} .*: restore point .*${second}, written 20.* is lost`),
	);
	t.match(repaired.stdout, /every other restore point is whole/);
	for (const args of [["check"], ["repair"], ["prune"]]) t.equal((await work.cli(args)).code, 0, `${args[0]} after it`);
	await work.json(["export", "vm", "-o", work.path("x.raw")]);
	t.equal(await digest(work.path("x.raw")), await digest(disk));
});

t.test("a newer or foreign repository, a missing pack, a cut index segment", async (t) => {
	const { work, disk } = await backedUp(t);
	const config = join(work.repository, "springback.json");
	const text = readFileSync(config, "utf8");
	for (const args of [["points"], ["check"], ["repair"], ["rebuild"], ["export", "vm", "-o", work.path("x")]]) {
		writeFileSync(config, text.replace('"version": 1', '"version": 9'));
		oneLine(t, await work.cli(args), 1, /format 9, .* knows 1: install a newer springback/, `newer: ${args[0]}`);
		writeFileSync(config, '{"name": "other"}');
		oneLine(t, await work.cli(args), 1, /not a springback repository/, `foreign: ${args[0]}`);
	}
	writeFileSync(config, text);
	const [segment] = readdirSync(join(work.repository, "index"));
	truncateSync(join(work.repository, "index", segment), 2000);
	const cut = await work.cli(["check"]);
	t.equal(cut.code, 3);
	t.match(cut.stdout, new RegExp(`bad-index: index/${segment}`));
	await work.json(["export", "vm", "-o", work.path("cut.raw")]);
	t.equal(await digest(work.path("cut.raw")), await digest(disk), "reads go on without it");
	t.equal((await work.cli(["repair"])).code, 0, "repair replaces it");

	const pack = dataPack(work.repository);
	rmSync(pack);
	const check = await work.cli(["check"]);
	t.equal(check.code, 3);
	t.match(check.stdout, /missing-pack: .*\n {2}hits vm@[0-9a-f]{8} disk0 bytes 0 to \d+\n/);
	oneLine(t, await work.cli(["export", "vm", "-o", work.path("y"), "--quiet"]), 1, /disk0 at offset 0/, "missing pack");
	t.equal((await work.cli(["repair"])).code, 3, "repair says that the loss stays");
	await work.backup("vm", disk);
	t.equal((await work.cli(["check", "--read-data"])).code, 0, "the next backup heals");
});

t.test("names with any Unicode", async (t) => {
	const first = "Zürich 数据库 🖥";
	const { work, disk } = await backedUp(t, first);
	await everythingWorks(t, work, first, disk);
	const others = ["שרת-1", "-rf $HOME; 'x' \"y\" %s", "\u0301combining", "a".repeat(255), "\u202eright to left"];
	for (const [n, vm] of others.entries()) {
		t.equal((await work.cli(["backup", "--quiet", "--disk", disk, "--", vm])).code, 0, vm);
		t.equal((await work.cli(["export", "--quiet", "-o", work.path(`${n}.raw`), "--", vm])).code, 0);
		t.equal(await digest(work.path(`${n}.raw`)), await digest(disk), vm);
	}
	const points = await work.json<{ vm: string }[]>(["points"]);
	t.same(points.map(({ vm }) => vm).sort(), [first, ...others].sort());
	for (const vm of ["a/b", "a@b", "", "..", "line\nbreak"])
		oneLine(t, await work.cli(["backup", "--disk", disk, "--", vm]), 2, /a VM cannot be named/, JSON.stringify(vm));
});

t.test("10,000 VMs", async (t) => {
	const work = new Workspace();
	t.teardown(() => work.close());
	await work.init();
	const keyring = new Keyring("0".repeat(32));
	for (let n = 0; n < 10_000; n++) {
		const id = n.toString(16).padStart(8, "0").repeat(4);
		const disks = [{ name: "disk0", size: 40 * 2 ** 30, root: null }];
		const facts = { sources: [{ disk: "disk0", kind: "raw", path: `/srv/vm-${n}.raw` }] };
		const common = { version: 1, sequence: 1, parent: null, consistency: "crash" as const, config: null, files: [] };
		const point = { ...common, id, vm: `vm-${n}`, taken: 1.7e12 + n, disks, size_new: 0, facts };
		writeFileSync(join(work.repository, "points", id), encodePoint(point, keyring));
	}
	await work.json(["points"]);
	const started = performance.now();
	t.equal((await work.json<unknown[]>(["points"])).length, 10_000);
	t.comment(`points: ${(performance.now() - started).toFixed(0)} ms`);
	t.ok(performance.now() - started < 20_000, "in seconds on a busy machine");
	t.same(
		(await work.json<{ vm: string }[]>(["points", "vm-9999"])).map(({ vm }) => vm),
		["vm-9999"],
	);
	const unknown = await work.cli(["export", "nobody", "-o", work.path("x")]);
	oneLine(t, unknown, 1, /no VM "nobody".* and 9992 more/, "unknown VM");
	t.equal((await work.cli(["check", "--quiet"])).code, 0);
});

t.test("a share of the data each time; progress; interruption", async (t) => {
	const { work } = await backedUp(t);
	const all = await work.json<{ bytesRead: number }>(["check", "--read-data"]);
	let read = 0;
	for (let n = 0; n < 4; n++) {
		const part = await work.json<{ bytesRead: number; slice: { from: number } }>(["check", "--read-data=25%"]);
		t.equal(part.slice.from, n / 4);
		read += part.bytesRead;
	}
	t.equal(read, all.bytesRead, "four quarters are everything");
	t.equal((await work.json<{ slice: { from: number } }>(["check", "--read-data=25%"])).slice.from, 0, "then again");
	for (const bad of ["0%", "101%", "5", "x%"])
		oneLine(t, await work.cli(["check", `--read-data=${bad}`]), 2, /read-data=.*10%/, bad);

	const slow = JSON.stringify([{ op: "pread", path: "packs/", delayMs: 1500, count: -1 }]);
	for (const args of [["check", "--read-data"], ["repair"]]) {
		const env = { ...work.env(), SPRINGBACK_FAULTS: slow };
		const child = spawn("env", ["-u", "NODE_OPTIONS", process.execPath, MAIN, ...args, "--quiet"], { env });
		let stderr = "";
		child.stderr.setEncoding("utf8").on("data", (text: string) => {
			stderr += text;
		});
		const exited = new Promise((resolve) => child.once("exit", resolve));
		setTimeout(() => child.kill("SIGINT"), 2500);
		t.equal(await exited, 130, `${args[0]}: exit 130`);
		t.match(stderr, /^springback: .*interrupted.*\n$/, `${args[0]}: one line`);
	}
	t.equal((await work.cli(["check", "--read-data"])).code, 0);
});

t.test("repair by the command line", async (t) => {
	const { work, disk } = await backedUp(t);
	const pack = dataPack(work.repository);
	const bytes = readFileSync(pack);
	bytes[1000] ^= 1;
	writeFileSync(pack, bytes);
	const name = pack.slice(work.repository.length + 1);
	const dry = await work.cli(["repair", "--dry-run", "--quiet"]);
	t.equal(dry.code, 3);
	t.match(dry.stdout, new RegExp(`would move aside ${name} .*1 damaged`));
	t.match(dry.stdout, /hits vm@[0-9a-f]{8} disk0 bytes \d+ to \d+/);
	const real = await work.cli(["repair", "--quiet"]);
	t.equal(real.code, 3, "one block is lost");
	t.match(
		real.stdout,
		/moved to quarantine\/[0-9a-f]{32} .*1 damaged, \d+ stored again\nindex rebuilt\nmissing-record/,
	);
	await work.backup("vm", disk);
	const after = await work.cli(["repair", "--quiet"]);
	t.equal(after.code, 0);
	t.match(after.stdout, /nothing to repair/);
	t.equal(readdirSync(join(work.repository, "quarantine")).length, 2, "the pack and its report are kept");
});
