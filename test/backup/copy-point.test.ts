/** Copies of restore points: exact, only what is new is read, continued after an interruption, never twice. */
import { spawnSync } from "node:child_process";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import t from "tap";
import { backup, copyPoint } from "../../src/backup/index.js";
import { initRepository, openRepository, type Point, type Repository } from "../../src/repository/index.js";

const MIB = 1 << 20;
const CHEAP = { N: 2, r: 8, p: 1 };
const MAIN = fileURLToPath(new URL("../../src/cli/main.js", import.meta.url));

const noise = (length: number, seed: number): Buffer => {
	const bytes = Buffer.alloc(length);
	for (let at = 0; at + 4 <= length; at += 4)
		bytes.writeUInt32LE((Math.imul(at + seed, 2654435761) ^ (at >>> 3)) >>> 0, at);
	return bytes;
};

const content = async (repository: Repository, point: Point, disk: string): Promise<Buffer> => {
	const image = await repository.openDisk(point, disk);
	const bytes = Buffer.alloc(image.size, 0xee);
	await image.read(0, bytes);
	await image.close();
	return bytes;
};

const lab = async (t: { testdir(): string; teardown(act: () => Promise<void>): void }) => {
	const directory = t.testdir();
	const path = (name: string) => join(directory, name);
	await initRepository(path("a"), { blockSize: 65536 });
	await initRepository(path("b"), { blockSize: 262144 });
	const [a, b] = [await openRepository(path("a")), await openRepository(path("b"))];
	t.teardown(async () => {
		await a.close();
		await b.close();
	});
	return { path, a, b };
};

t.test("a chain of points, with configuration and files, into another block size", async (t) => {
	const { path, a, b } = await lab(t);
	const disk = noise(24 * MIB, 1);
	const data = noise(3 * MIB, 2);
	const versions: Buffer[] = [];
	writeFileSync(path("vm.vmx"), 'displayName = "vm"\nmemsize = "2048"\nfirmware = "efi"\nnvram = "vm.nvram"\n');
	writeFileSync(path("vm.nvram"), noise(5000, 9));
	writeFileSync(path("data.raw"), data);
	for (let n = 0; n < 3; n++) {
		noise(70_000, 100 + n).copy(disk, (2 + 7 * n) * MIB);
		versions.push(Buffer.from(disk));
		writeFileSync(path("disk.raw"), disk);
		const now = () => new Date(Date.UTC(2026, 0, 1 + n));
		await backup(a, { vm: "vm", disks: [path("disk.raw"), `data=${path("data.raw")}`], tags: [`n${n}`], now });
	}
	const points = await a.points("vm");
	const reports = [];
	for (const point of points) reports.push(await copyPoint(a, b, point));
	t.same(
		(await b.points("vm")).map(({ tags }) => tags),
		[["n0"], ["n1"], ["n2"]],
		"with their tags",
	);
	t.same(
		reports.map(({ disks }) => disks.map(({ read }) => read)),
		[
			[24 * MIB, 3 * MIB],
			[256 * 1024, 0],
			[256 * 1024, 0],
		],
		"after the first, only the blocks of what changed",
	);
	const copies = await b.points("vm");
	for (const [n, copy] of copies.entries()) {
		t.ok((await content(b, copy, "disk0")).equals(versions[n]), `point ${n}`);
		t.ok((await content(b, copy, "data")).equals(data));
		t.equal(copy.time, points[n].time, "made when its original was");
		t.same(copy.config, points[n].config);
		t.same(copy.files, points[n].files);
	}
	for (const point of points) t.equal((await copyPoint(a, b, point)).existed, true, "not a second time");
	for (const copy of copies) t.equal((await copyPoint(b, a, copy)).existed, true, "nor back");
	t.equal((await b.points()).length, 3);
	t.same((await b.check({ readData: true })).faults, []);
});

t.test("interrupted, and a damaged source", async (t) => {
	const { path, a, b } = await lab(t);
	writeFileSync(path("disk.raw"), noise(12 * MIB, 3));
	await backup(a, { vm: "vm", disks: [path("disk.raw")] });
	const [point] = await a.points();
	const stop = new AbortController();
	const progress = () => stop.abort();
	await t.rejects(copyPoint(a, b, point, { signal: stop.signal, progress }), { code: "INTERRUPTED" });
	t.same(await b.points(), []);
	rmSync(path("a/packs"), { recursive: true });
	const again = await openRepository(path("a"));
	t.teardown(() => again.close());
	await t.rejects(copyPoint(again, b, point), /vm/);
	t.same(await b.points(), [], "what cannot be read is not copied");
});

t.test("the command", async (t) => {
	const { path, a, b } = await lab(t);
	for (const vm of ["one", "two"]) {
		writeFileSync(path(`${vm}.raw`), noise(MIB, vm.length + vm.charCodeAt(0)));
		await backup(a, { vm, disks: [path(`${vm}.raw`)] });
	}
	await backup(a, { vm: "one", disks: [path("two.raw")] });
	const run = (...args: string[]) =>
		spawnSync("env", ["-u", "NODE_OPTIONS", process.execPath, MAIN, "copy", "--quiet", "--repo", path("a"), ...args], {
			encoding: "utf8",
		});
	t.match(run("one@latest", "--to", path("b")), {
		status: 0,
		stdout: /^1 restore points copied to .*, 0 were there\n$/,
	});
	t.match(run("--to", path("b")), { status: 0, stdout: /^2 restore points copied to .*, 1 were there\n$/ });
	const all = JSON.parse(run("--to", path("b"), "--json").stdout) as { existed: boolean }[];
	t.same(
		all.map(({ existed }) => existed),
		[true, true, true],
	);
	t.equal((await b.points()).length, 3);
	t.match(run("one", "two@latest", "--to", path("b")), {
		status: 0,
		stdout: /^0 restore points copied to .*, 3 were there\n$/,
	});
	writeFileSync(path("secret"), "of the copy\n");
	await initRepository(path("c"), { compression: "zstd", passphrase: Buffer.from("of the copy"), scrypt: CHEAP });
	t.match(run("one", "--to", path("c"), "--to-key-file", path("secret")), { status: 0, stdout: /^2 restore points/ });
	t.match(run("one", "--to", path("c")), { status: 1, stderr: /is encrypted/ });
	t.match(run("--to", path("a")), { status: 2, stderr: /that is the same repository\n$/ });
	t.match(run("one"), { status: 2, stderr: /--to is missing/ });
	t.match(run("three", "--to", path("b")), { status: 1, stderr: /three/ });
	t.match(run("--to", path("none")), { status: 1, stderr: /none/ });
});
