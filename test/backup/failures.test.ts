/** Sources that break, and what is left behind: nothing. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
	closeSync,
	existsSync,
	ftruncateSync,
	openSync,
	readdirSync,
	readFileSync,
	rmSync,
	statSync,
	truncateSync,
	writeFileSync,
	writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { faults } from "../../native/index.js";
import { backup, openSource, parseSources } from "../../src/backup/index.js";
import { nbdkit } from "../nbd/servers.js";
import { childrenOf, lab, leftOvers, noise, qemuImg, sparseFile } from "./lab.js";

const M = 1024 * 1024;
const T = M * M;

t.test("a raw file that shrinks while it is read", async (t) => {
	const { path, repository } = await lab(t);
	sparseFile(path("a.raw"), 64 * M, [{ at: 0, data: noise(1, 64 * M) }]);
	const progress = ({ done }: { done: number }) => {
		if (done > 0 && statSync(path("a.raw")).size > M) truncateSync(path("a.raw"), M);
	};
	await t.rejects(backup(repository, { vm: "vm", disks: [path("a.raw")], progress }), {
		code: "SOURCE",
		message: /disk0 at offset \d+: .*a\.raw: shrank below 67108864 bytes/,
	});
	t.same(await repository.points("vm"), []);
	writeFileSync(path("a.raw"), noise(2, M));
	t.ok((await backup(repository, { vm: "vm", disks: [path("a.raw")] })).point, "the next one works");
});

t.test("a raw file that cannot be read", async (t) => {
	const { path, repository } = await lab(t);
	sparseFile(path("bad.raw"), 8 * M, [{ at: 0, data: noise(1, 8 * M) }]);
	t.teardown(() => faults.clear());
	faults.set([{ op: "pread", path: "bad.raw", skip: 2, error: "EIO", count: -1 }]);
	await t.rejects(backup(repository, { vm: "vm", disks: [path("bad.raw")] }), {
		code: "SOURCE",
		message: /cannot read disk0 at offset \d+: .*bad\.raw: cannot read \d+ bytes at offset \d+: EIO/,
	});
	faults.clear();
	t.same(await repository.points("vm"), []);
});

t.test("a clock that was set back: the point is made, and somebody is told", async (t) => {
	const { path, repository } = await lab(t);
	sparseFile(path("a.raw"), M, [{ at: 0, data: noise(1, M) }]);
	const at = (minute: number) => ({
		vm: "vm",
		disks: [path("a.raw")],
		now: () => new Date(1795226425000 + minute * 60_000),
	});
	t.same((await backup(repository, at(10))).warnings, []);
	const { point, warnings } = await backup(repository, at(0));
	t.equal(warnings.length, 1);
	t.match(
		warnings[0],
		/the clock says 2026-11-21T02:00:25Z.* of 2026-11-21T02:10:25Z: check the clock; vm still names/,
	);
	t.match(warnings[0], new RegExp(`vm@${point.slice(0, 8)}`));
	t.not((await repository.resolve("vm")).id, point, "the newest is by time");
	t.same((await backup(repository, at(20))).warnings, []);
});

t.test("a raw file that is deleted while it is read is read to its end", async (t) => {
	const { path, repository, exported } = await lab(t);
	const content = sparseFile(path("a.raw"), 32 * M, [{ at: 0, data: noise(1, 32 * M) }]);
	await backup(repository, {
		vm: "vm",
		disks: [path("a.raw")],
		progress: () => rmSync(path("a.raw"), { force: true }),
	});
	t.notOk(existsSync(path("a.raw")));
	t.ok((await exported("vm")).equals(content));
});

t.test("images that are cut off are refused: QEMU would read zeros", async (t) => {
	const { path, repository } = await lab(t);
	sparseFile(path("a.raw"), 8 * M, [{ at: 0, data: noise(1, 8 * M) }]);
	const variants: [string, string, ...string[]][] = [
		["plain.qcow2", "qcow2"],
		["compressed.qcow2", "qcow2", "-c"],
		["extended.qcow2", "qcow2", "-o", "extended_l2=on,cluster_size=128k"],
		["data.qcow2", "qcow2", "-o", `data_file=${path("data.raw")}`],
		["sparse.vmdk", "vmdk", "-o", "subformat=monolithicSparse"],
		["stream.vmdk", "vmdk", "-o", "subformat=streamOptimized"],
		["split.vmdk", "vmdk", "-o", "subformat=twoGbMaxExtentSparse"],
		["flat.vmdk", "vmdk", "-o", "subformat=monolithicFlat"],
	];
	const holder: Record<string, string> = {
		"data.qcow2": "data.raw",
		"split.vmdk": "split-s001.vmdk",
		"flat.vmdk": "flat-flat.vmdk",
	};
	for (const [name, format, ...options] of variants) {
		qemuImg("convert", "-O", format, ...options, path("a.raw"), path(name));
		const file = path(holder[name] ?? name);
		for (const left of [0.9, 0.5, 0.02]) {
			truncateSync(file, Math.floor(statSync(file).size * left));
			await t.rejects(backup(repository, { vm: "vm", disks: [path(name)] }), { code: "SOURCE" }, `${name} ${left}`);
		}
	}
	t.same(await repository.points(), []);
	t.same(leftOvers(), []);
});

t.test("a qcow2 that shrinks while it is read", async (t) => {
	const { path, repository } = await lab(t);
	sparseFile(path("a.raw"), 64 * M, [{ at: 0, data: noise(1, 64 * M) }]);
	qemuImg("convert", "-O", "qcow2", path("a.raw"), path("a.qcow2"));
	const progress = () => truncateSync(path("a.qcow2"), 4 * M);
	await t.rejects(backup(repository, { vm: "vm", disks: [path("a.qcow2")], progress }), {
		code: "SOURCE",
		message: /a\.qcow2: shrank below \d+ bytes/,
	});
	t.same(await repository.points(), []);
	t.same(leftOvers(), []);
});

t.test("an NBD server that dies, and one that fails", async (t) => {
	const { repository } = await lab(t);
	const dying = await nbdkit(t, "--filter=delay", "pattern", "64M", "rdelay=10ms");
	await t.rejects(
		backup(repository, { vm: "vm", disks: [dying.uri], progress: () => void dying.child.kill("SIGKILL") }),
		{ code: "SOURCE", message: /connection lost/ },
	);
	const failing = await nbdkit(t, "--filter=error", "pattern", "4M", "error-pread-rate=100%", "error-pread=EIO");
	await t.rejects(backup(repository, { vm: "vm", disks: [failing.uri] }), { message: /failed: EIO/ });
	t.same(await repository.points(), []);
});

t.test("a 64 TiB export that is almost empty takes seconds", async (t) => {
	const { repository } = await lab(t);
	// The file plugin answers block status from SEEK_HOLE at once; tmpfs holds files of any size.
	const file = `/dev/shm/springback-test-${process.pid}.raw`;
	t.teardown(() => rmSync(file, { force: true }));
	const fd = openSync(file, "w");
	ftruncateSync(fd, 64 * T);
	for (const at of [0, 17 * T + 4096, 64 * T - 100]) writeSync(fd, noise(at % 97, 100), 0, 100, at);
	closeSync(fd);
	const { uri } = await nbdkit(t, "--readonly", "file", file);
	for (const source of [uri, file]) {
		const began = performance.now();
		const report = await backup(repository, { vm: "huge", disks: [source] });
		const seconds = (performance.now() - began) / 1000;
		t.ok(seconds < 30, `${seconds} s`);
		t.comment(`${source.slice(0, 12)}…: ${seconds} s, ${report.disks[0].read} bytes read`);
		t.equal(report.disks[0].size, 64 * T);
		t.ok(report.disks[0].read < M);
	}
	const image = await repository.openDisk(await repository.resolve("huge"), "disk0");
	for (const at of [0, 17 * T + 4096, 64 * T - 100]) {
		const data = Buffer.alloc(100);
		await image.read(at, data);
		t.ok(data.equals(noise(at % 97, 100)));
	}
	await image.close();
});

t.test("an interrupted backup ends soon, even on a source that hangs", async (t) => {
	const { path, repository } = await lab(t);
	sparseFile(path("a.raw"), 8 * M, [{ at: 0, data: noise(1, 8 * M) }]);
	qemuImg("convert", "-O", "qcow2", path("a.raw"), path("a.qcow2"));
	const { uri } = await nbdkit(t, "--filter=delay", "pattern", "64M", "rdelay=60");
	const mine = new Set(childrenOf(process.pid));
	const controller = new AbortController();
	setTimeout(() => controller.abort(), 1000);
	const began = performance.now();
	await t.rejects(backup(repository, { vm: "vm", disks: [path("a.qcow2"), uri], signal: controller.signal }), {
		code: "INTERRUPTED",
	});
	t.ok(performance.now() - began < 5000);
	t.same(
		leftOvers().filter((left) => !mine.has(left)),
		[],
	);
	t.same(await repository.points(), []);
	const aborted = AbortSignal.abort();
	await t.rejects(backup(repository, { vm: "vm", disks: [path("a.raw")], signal: aborted }), { code: "INTERRUPTED" });
});

t.test("QEMU runs as nobody, and dies with us, however we die", async (t) => {
	const { path } = await lab(t);
	qemuImg("create", "-q", "-f", "qcow2", path("a.qcow2"), "1M");
	const script = `
		import { openSource, parseSources } from ${JSON.stringify(join(import.meta.dirname, "../../src/backup/index.js"))};
		await openSource(parseSources([${JSON.stringify(path("a.qcow2"))}])[0]);
		console.log("open");
		setInterval(() => {}, 1000);`;
	writeFileSync(path("hold.mjs"), script);
	const holder = spawn(process.execPath, [path("hold.mjs")], { stdio: ["ignore", "pipe", "inherit"] });
	t.teardown(() => holder.kill("SIGKILL"));
	await once(holder.stdout, "data");
	const [pid] = childrenOf(holder.pid!).map((text) => text.replace(/\D/g, ""));
	t.ok(pid, "QEMU is its child");
	const status = readFileSync(`/proc/${pid}/status`, "utf8");
	const field = (name: string) => new RegExp(`^${name}:[ \\t]*(.*)$`, "m").exec(status)?.[1];
	if (process.getuid!() === 0) {
		t.match(field("Uid"), /^6[1-5]\d{3}\t/);
		t.match(field("CapEff"), /^0+$/);
		t.match(field("CapBnd"), /^0+$/);
		t.match(field("Groups"), /^\s*$/);
	}
	t.equal(field("NoNewPrivs"), "1");
	t.equal(field("Seccomp"), "2");
	t.same(
		readdirSync(tmpdir()).filter((name) => /^springback-[A-Za-z0-9]{6}$/.test(name)),
		[],
		"the socket's folder is gone",
	);
	holder.kill("SIGKILL");
	await once(holder, "exit");
	for (let i = 0; i < 200 && existsSync(`/proc/${pid}`); i++) await new Promise((resolve) => setTimeout(resolve, 10));
	t.notOk(existsSync(`/proc/${pid}`), "QEMU is gone");
});

t.test("reads after QEMU was killed fail, and closing works", async (t) => {
	const { path } = await lab(t);
	qemuImg("create", "-q", "-f", "qcow2", path("a.qcow2"), "1M");
	const { image } = await openSource(parseSources([path("a.qcow2")])[0]);
	const [pid] = childrenOf(process.pid).map((text) => Number(text.replace(/\D/g, "")));
	process.kill(pid, "SIGKILL");
	await t.rejects(
		(async () => {
			for (;;) await image.read(0, Buffer.alloc(512));
		})(),
		{ name: "ImageError", message: /connection lost/ },
	);
	await image.close();
	await image.close();
	t.same(leftOvers(), []);
});
