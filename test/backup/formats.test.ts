/** The same content from every format, exact to the byte. */
import { execFileSync } from "node:child_process";
import { closeSync, openSync, readFileSync, renameSync, truncateSync, writeSync } from "node:fs";
import t from "tap";
import { lab, leftOvers, noise, qemuImg, sparseFile } from "./lab.js";

const K = 1024;
const M = K * K;

t.test("raw files of odd sizes come back exactly, and holes are not read", async (t) => {
	const { path, backup, exported } = await lab(t);
	for (const size of [1, 511, 512, 513, 65535, 65536, 65537, 3 * M + 777]) {
		const content = sparseFile(path(`${size}.raw`), size, [{ at: 0, data: noise(size, size) }]);
		await backup(`vm${size}`, [path(`${size}.raw`)]);
		t.ok((await exported(`vm${size}`)).equals(content), `${size} bytes`);
	}
	const sparse = sparseFile(path("sparse.img"), 600 * M + 5, [
		{ at: 0, data: noise(1, 4096) },
		{ at: 300 * M, data: noise(2, 200_000) },
		{ at: 600 * M, data: noise(3, 5) },
	]);
	const report = await backup("sparse", [path("sparse.img")]);
	t.ok(report.disks[0].read < M, `${report.disks[0].read} bytes read of ${report.disks[0].size}`);
	t.ok((await exported("sparse")).equals(sparse));
});

t.test("an empty file is an empty disk", async (t) => {
	const { path, backup, exported } = await lab(t);
	sparseFile(path("empty.raw"), 0, []);
	await backup("empty", [path("empty.raw")]);
	t.equal((await exported("empty")).length, 0);
});

t.test("qcow2 and every VMDK of one disk store nothing new and export the same", async (t) => {
	const { path, backup, exported } = await lab(t);
	// Not a multiple of 64 KiB; whole sectors, as these formats have nothing smaller.
	const size = 40 * M + 13 * 512;
	const raw = sparseFile(path("disk.raw"), size, [
		{ at: 0, data: noise(1, 100_000) },
		{ at: 17 * M + 123, data: noise(2, 3 * M) },
		{ at: size - 700, data: noise(3, 700) },
	]);
	const first = await backup("raw", [path("disk.raw")]);
	t.ok(first.disks[0].stored > 0);
	const variants: [string, string, ...string[]][] = [
		["a.qcow2", "qcow2"],
		["compressed.qcow2", "qcow2", "-c"],
		["old.qcow2", "qcow2", "-o", "compat=0.10"],
		["extended.qcow2", "qcow2", "-o", "extended_l2=on,cluster_size=128k"],
		["zstd.qcow2", "qcow2", "-c", "-o", "compression_type=zstd"],
		["data.qcow2", "qcow2", "-o", `data_file=${path("data.bin")}`],
		...["monolithicSparse", "streamOptimized", "monolithicFlat", "twoGbMaxExtentFlat", "twoGbMaxExtentSparse"].map(
			(kind): [string, string, ...string[]] => [`${kind}.vmdk`, "vmdk", "-o", `subformat=${kind}`],
		),
	];
	for (const [name, format, ...options] of variants) {
		qemuImg("convert", "-f", "raw", "-O", format, ...options, path("disk.raw"), path(name));
		const report = await backup(name, [path(name)]);
		t.equal(report.disks[0].size, size, `${name}: size`);
		t.equal(report.disks[0].new, 0, `${name}: nothing new`);
		t.ok(report.disks[0].read < 12 * M, `${name}: ${report.disks[0].read} bytes read`);
		t.ok((await exported(name)).equals(raw), `${name}: content`);
	}
	t.same(leftOvers(), []);
});

t.test("a VMDK split at 2 GiB, sparse and flat", async (t) => {
	const { path, backup, repository } = await lab(t);
	const size = 5000 * M + 512;
	const file = path("big.raw");
	sparseFileLarge(file, size);
	for (const kind of ["twoGbMaxExtentSparse", "twoGbMaxExtentFlat"]) {
		qemuImg("convert", "-f", "raw", "-O", "vmdk", "-o", `subformat=${kind}`, file, path(`${kind}.vmdk`));
		await backup(kind, [path(`${kind}.vmdk`)]);
	}
	await backup("raw", [file]);
	const buffers = [];
	for (const vm of ["raw", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat"]) {
		const image = await repository.openDisk(await repository.resolve(vm), "disk0");
		const parts = [0, 2048 * M - 4096, 4096 * M - 4096, size - 4096].map(async (at) => {
			const data = Buffer.alloc(4096);
			await image.read(at, data);
			return data;
		});
		buffers.push(Buffer.concat(await Promise.all(parts)));
		await image.close();
	}
	t.ok(buffers[0].subarray(0, 4096).equals(noise(0, 4096)));
	t.ok(buffers[1].equals(buffers[0]));
	t.ok(buffers[2].equals(buffers[0]));
});

function sparseFileLarge(file: string, size: number): void {
	const edge = 2048 * M;
	qemuImg("create", "-q", "-f", "raw", file, "1M");
	truncateSync(file, size);
	writeAt(file, 0, noise(0, 4096));
	writeAt(file, edge - 4096, noise(1, 8192));
	writeAt(file, 2 * edge - 4096, noise(2, 8192));
	writeAt(file, size - 4096, noise(3, 4096));
}

function writeAt(file: string, at: number, data: Buffer): void {
	const fd = openSync(file, "r+");
	writeSync(fd, data, 0, data.length, at);
	closeSync(fd);
}

t.test("a qcow2 chain in one folder is read through", async (t) => {
	const { path, backup, exported } = await lab(t);
	sparseFile(path("base.raw"), 4 * M, [{ at: 0, data: noise(1, 2 * M) }]);
	qemuImg("create", "-q", "-f", "qcow2", "-b", "base.raw", "-F", "raw", path("middle.qcow2"), "6M");
	qemuImg("create", "-q", "-f", "qcow2", "-b", path("middle.qcow2"), "-F", "qcow2", path("top.qcow2"), "8M");
	execFileSync("qemu-io", ["-c", "write -P 9 1M 64k", path("middle.qcow2")]);
	execFileSync("qemu-io", ["-c", "write -P 8 7M 64k", path("top.qcow2")]);
	await backup("vm", [path("top.qcow2")]);
	const expected = Buffer.alloc(8 * M);
	noise(1, 2 * M).copy(expected);
	expected.fill(9, M, M + 64 * K);
	expected.fill(8, 7 * M, 7 * M + 64 * K);
	t.ok((await exported("vm")).equals(expected));
});

t.test("a VMDK delta in one folder is read through", async (t) => {
	const { path, backup, exported } = await lab(t);
	sparseFile(path("base.raw"), 4 * M, [{ at: 0, data: noise(1, 2 * M) }]);
	qemuImg(
		"convert",
		"-f",
		"raw",
		"-O",
		"vmdk",
		"-o",
		"subformat=monolithicSparse",
		path("base.raw"),
		path("base.vmdk"),
	);
	qemuImg("convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=monolithicFlat", path("base.raw"), path("flat.vmdk"));
	for (const base of ["base", "flat"]) {
		const delta = path(`${base}-delta.vmdk`);
		qemuImg("create", "-q", "-f", "vmdk", "-b", path(`${base}.vmdk`), "-F", "vmdk", delta);
		execFileSync("qemu-io", ["-f", "vmdk", "-c", "write -P 9 3M 64k", delta]);
		await backup(base, [delta]);
		const expected = Buffer.alloc(4 * M);
		noise(1, 2 * M).copy(expected);
		expected.fill(9, 3 * M, 3 * M + 64 * K);
		t.ok((await exported(base)).equals(expected), base);
	}
});

t.test("a guest that writes a qcow2 header into its raw disk stays raw", async (t) => {
	const { path, backup, exported } = await lab(t);
	qemuImg("create", "-q", "-f", "qcow2", "-o", "backing_file=/etc/passwd,backing_fmt=raw", path("evil.qcow2"), "1M");
	renameSync(path("evil.qcow2"), path("evil.raw"));
	await backup("evil", [path("evil.raw")]);
	t.ok((await exported("evil")).equals(readFileSync(path("evil.raw"))));
});

t.test("several disks of several kinds make one point", async (t) => {
	const { path, backup, repository, exported } = await lab(t);
	const a = sparseFile(path("a.raw"), M, [{ at: 5, data: noise(1, 1000) }]);
	const b = sparseFile(path("b.raw"), 2 * M, [{ at: 5, data: noise(2, 1000) }]);
	qemuImg("convert", "-O", "qcow2", path("b.raw"), path("b.qcow2"));
	const report = await backup("vm", [path("a.raw"), `data=${path("b.qcow2")}`]);
	t.same(
		report.disks.map((disk) => disk.name),
		["disk0", "data"],
	);
	const point = await repository.resolve("vm");
	t.equal(point.id, report.point);
	t.match(point.facts, {
		sources: [
			{ disk: "disk0", kind: "raw" },
			{ disk: "data", kind: "qcow2" },
		],
	});
	t.ok((await exported("vm", "0")).equals(a));
	t.ok((await exported("vm", "data")).equals(b));
	t.same(leftOvers(), []);
});
