/** Full restore of one disk, to files and to NBD. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { faults } from "../../native/index.js";
import { copyImage, exportDisk } from "../../src/backup/index.js";
import type { Extent, Image } from "../../src/image/index.js";
import { connectNbd } from "../../src/nbd/index.js";
import { nbdkit } from "../nbd/servers.js";
import { type Lab, lab, noise, sparseFile } from "./lab.js";

const M = 1024 * 1024;

async function withPoint(t: Parameters<typeof lab>[0]): Promise<Lab & { content: Buffer }> {
	const it = await lab(t);
	const content = sparseFile(it.path("a.raw"), 96 * M + 333, [
		{ at: 0, data: noise(1, 10 * M) },
		{ at: 90 * M + 7, data: noise(2, M) },
		{ at: 96 * M + 300, data: noise(3, 33) },
	]);
	await it.backup("vm", [it.path("a.raw")]);
	mkdirSync(it.path("out"));
	return { ...it, content };
}

t.test("to a file: exact, sparse, private, nothing beside it", async (t) => {
	const { repository, path, content } = await withPoint(t);
	const progress: number[] = [];
	const report = await exportDisk(repository, await repository.resolve("vm"), "disk0", path("out/x.raw"), {
		progress: ({ done, total, what }) => {
			t.ok(done <= total && what === "disk0");
			progress.push(done);
		},
	});
	t.match(report, { vm: "vm", disk: "disk0", size: content.length });
	t.ok(readFileSync(path("out/x.raw")).equals(content));
	const { blocks, mode } = statSync(path("out/x.raw"));
	t.ok(blocks * 512 < 13 * M, `${blocks * 512} bytes on disk`);
	t.equal(mode & 0o777, 0o600);
	t.same(readdirSync(path("out")), ["x.raw"]);
	t.equal(Math.max(...progress), content.length);
	t.same(
		progress,
		[...progress].sort((a, b) => a - b),
		"progress only grows",
	);
});

t.test("an existing file stays unless it may be replaced", async (t) => {
	const { repository, path, content } = await withPoint(t);
	const point = await repository.resolve("vm");
	writeFileSync(path("out/x.raw"), "mine");
	await t.rejects(exportDisk(repository, point, "0", path("out/x.raw")), {
		code: "TARGET",
		message: /x\.raw: exists already/,
	});
	t.equal(readFileSync(path("out/x.raw"), "utf8"), "mine");
	await exportDisk(repository, point, "0", path("out/x.raw"), { overwrite: true });
	t.ok(readFileSync(path("out/x.raw")).equals(content));
	symlinkSync("x.raw", path("out/link"));
	await t.rejects(exportDisk(repository, point, "0", path("out/link"), { overwrite: true }), {
		message: /not a regular file/,
	});
	await t.rejects(exportDisk(repository, point, "0", path("out"), { overwrite: true }), {
		message: /not a regular file/,
	});
	await t.rejects(exportDisk(repository, point, "0", path("nowhere/x.raw")), {
		message: /nowhere\/x\.raw: no such file/,
	});
	await t.rejects(exportDisk(repository, point, "7", path("out/y.raw")), {
		code: "USAGE",
		message: 'no disk "7" in this restore point of vm; it has 0 (disk0)',
	});
	t.same(readdirSync(path("out")).sort(), ["link", "x.raw"]);
});

t.test("interrupted, or out of space: nothing is left, the old file is as it was", async (t) => {
	const { repository, path, content } = await withPoint(t);
	const point = await repository.resolve("vm");
	writeFileSync(path("out/x.raw"), "old");
	const controller = new AbortController();
	await t.rejects(
		exportDisk(repository, point, "0", path("out/x.raw"), {
			overwrite: true,
			signal: controller.signal,
			progress: () => controller.abort(),
		}),
		{ code: "INTERRUPTED" },
	);
	t.teardown(() => faults.clear());
	for (const [op, code] of [
		["pwrite", "ENOSPC"],
		["fdatasync", "EIO"],
		["rename", "EACCES"],
		["ftruncate", "EFBIG"],
		["open", "EROFS"],
	]) {
		faults.set([{ op, path: "x.raw", error: code, count: -1 }]);
		await t.rejects(
			exportDisk(repository, point, "0", path("out/x.raw"), { overwrite: true }),
			{ code: "TARGET", message: new RegExp(`^${path("out/x.raw")}: `) },
			op,
		);
		faults.clear();
		t.same(readdirSync(path("out")), ["x.raw"], op);
		t.equal(readFileSync(path("out/x.raw"), "utf8"), "old");
	}
	await exportDisk(repository, point, "0", path("out/x.raw"), { overwrite: true });
	t.ok(readFileSync(path("out/x.raw")).equals(content));
});

t.test("to an NBD export that is larger and was full of something else", async (t) => {
	const { repository, content } = await withPoint(t);
	const point = await repository.resolve("vm");
	const { uri } = await nbdkit(t, "memory", "100M");
	const image = await connectNbd(uri);
	await image.write(0, Buffer.alloc(100 * M, 0xaa));
	await exportDisk(repository, point, "0", uri);
	const back = Buffer.alloc(100 * M);
	await image.read(0, back);
	t.ok(back.subarray(0, content.length).equals(content));
	t.ok(
		back.subarray(content.length).every((byte) => byte === 0xaa),
		"what lies beyond is left alone",
	);
	await image.close();
});

t.test("NBD exports that cannot take it", async (t) => {
	const { repository } = await withPoint(t);
	const point = await repository.resolve("vm");
	const small = await nbdkit(t, "memory", "96M");
	await t.rejects(exportDisk(repository, point, "0", small.uri), {
		code: "TARGET",
		message: /has 100663296 bytes, the disk needs 100663629/,
	});
	const fixed = await nbdkit(t, "--readonly", "memory", "100M");
	await t.rejects(exportDisk(repository, point, "0", fixed.uri), { code: "TARGET", message: /read-only/ });
	await t.rejects(exportDisk(repository, point, "0", "nbd://127.0.0.1:1/x"), {
		code: "TARGET",
		message: /ECONNREFUSED/,
	});
	const full = await nbdkit(t, "--filter=error", "memory", "100M", "error-pwrite=ENOSPC", "error-pwrite-rate=100%");
	await t.rejects(exportDisk(repository, point, "0", full.uri), { code: "ENOSPC" });
});

t.test("an interrupted export ends soon, even on a target that hangs", async (t) => {
	const { repository } = await withPoint(t);
	const { uri } = await nbdkit(t, "--filter=delay", "memory", "100M", "wdelay=60");
	const controller = new AbortController();
	setTimeout(() => controller.abort(), 200);
	const began = performance.now();
	await t.rejects(exportDisk(repository, await repository.resolve("vm"), "0", uri, { signal: controller.signal }), {
		code: "INTERRUPTED",
	});
	t.ok(performance.now() - began < 5000);
});

t.test("copying keeps several reads in flight and stops them all at a failure", async (t) => {
	let running = 0;
	let most = 0;
	let reads = 0;
	const image: Image = {
		size: 64 * 1024,
		async read(offset) {
			most = Math.max(most, ++running);
			reads++;
			await new Promise((resolve) => setImmediate(resolve));
			running--;
			if (offset === 16 * 1024) throw new Error("broken");
		},
		extents: (offset, length): Extent[] => [{ offset, length, kind: "data" }],
		async close() {},
	};
	const target = { async write() {}, async zero() {} };
	await t.rejects(copyImage(image, target, { pieceBytes: 1024, inFlight: 4 }), { message: "broken" });
	t.equal(running, 0);
	t.equal(most, 4);
	t.ok(reads < 30, `${reads} reads`);
});

t.test("qemu-img agrees about an exported file", async (t) => {
	const { repository, path } = await withPoint(t);
	await exportDisk(repository, await repository.resolve("vm"), "0", join(path("out"), "y.raw"));
	t.ok(existsSync(path("out/y.raw")));
	execFileSync("qemu-img", ["compare", "-f", "raw", "-F", "raw", path("a.raw"), path("out/y.raw")]);
});

t.test("a sync that fails beside the writes fails the export, though a later one would not", async (t) => {
	const { repository, path, backup } = await lab(t);
	sparseFile(path("a.raw"), 140 * M, [{ at: 0, data: noise(1, 140 * M) }]);
	await backup("vm", [path("a.raw")]);
	mkdirSync(path("out"));
	t.teardown(() => faults.clear());
	faults.set([{ op: "fdatasync", path: ".x.raw", error: "EIO" }]);
	await t.rejects(exportDisk(repository, await repository.resolve("vm"), "disk0", path("out/x.raw")), {
		code: "TARGET",
		message: /x\.raw: .*EIO/,
	});
	t.same(readdirSync(path("out")), []);
});
