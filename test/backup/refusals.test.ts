/** Images that name files they must not reach, and wrong input: one clear line, before QEMU sees anything. */
import { execFileSync, spawn } from "node:child_process";
import {
	closeSync,
	existsSync,
	mkdirSync,
	openSync,
	readFileSync,
	symlinkSync,
	writeFileSync,
	writeSync,
} from "node:fs";
import { join } from "node:path";
import t from "tap";
import { openSource, parseSources, SourceError } from "../../src/backup/index.js";
import { lab, leftOvers, noise, qemuImg, sparseFile } from "./lab.js";

const M = 1024 * 1024;

async function refusal(spec: string): Promise<string> {
	try {
		const source = await openSource(parseSources([spec])[0]);
		await source.image.close();
	} catch (error) {
		if (error instanceof SourceError && !error.message.includes("\n")) return error.message;
		throw error;
	}
	return "accepted";
}

function patch(file: string, at: number, bytes: Buffer): void {
	const fd = openSync(file, "r+");
	writeSync(fd, bytes, 0, bytes.length, at);
	closeSync(fd);
}

t.test("what --disk may say", async (t) => {
	t.same(parseSources(["a", "b.RAW", "/x/c.img", "d.qcow2", "e.vmdk", ".hidden"]), [
		{ name: "disk0", kind: "file", format: "raw", path: "a" },
		{ name: "disk1", kind: "file", format: "raw", path: "b.RAW" },
		{ name: "disk2", kind: "file", format: "raw", path: "/x/c.img" },
		{ name: "disk3", kind: "file", format: "qcow2", path: "d.qcow2" },
		{ name: "disk4", kind: "file", format: "vmdk", path: "e.vmdk" },
		{ name: "disk5", kind: "file", format: "raw", path: ".hidden" },
	]);
	t.same(parseSources(["sys=qcow2:x.y", "./a=b.raw", "nbd+unix:///e?socket=/s", "d=nbd://h/x", "raw:a:b"]), [
		{ name: "sys", kind: "file", format: "qcow2", path: "x.y" },
		{ name: "disk1", kind: "file", format: "raw", path: "./a=b.raw" },
		{ name: "disk2", kind: "nbd", uri: "nbd+unix:///e?socket=/s" },
		{ name: "d", kind: "nbd", uri: "nbd://h/x" },
		{ name: "disk4", kind: "file", format: "raw", path: "a:b" },
	]);
	for (const [list, why] of [
		[[], /no disk given/],
		[["x.vhdx"], /extension "\.vhdx" does not say the format: write --disk raw:x\.vhdx/],
		[["json:{}"], /"json:" is neither a format/],
		[["http://host/x.raw"], /"http:" is neither a format/],
		[["a=x.raw", "a=y.raw"], /two disks are named "a"/],
		[["disk1=x.raw", "y.raw"], /two disks are named "disk1"/],

		[[""], /no path/],
	] as const)
		t.throws(() => parseSources(list), { code: "USAGE", message: why });
});

t.test("qcow2 headers that name other files", async (t) => {
	const { path } = await lab(t);
	mkdirSync(path("vm"));
	mkdirSync(path("vm/sub"));
	writeFileSync(path("secret"), noise(1, M));
	writeFileSync(path("vm/base.raw"), noise(1, M));
	symlinkSync(path("secret"), path("vm/link.raw"));
	symlinkSync("base.raw", path("vm/inside.raw"));
	const image = path("vm/disk.qcow2");
	const withBacking = (backing: string, format: string | null = "raw") => {
		const options = format === null ? [] : ["-F", "raw"];
		qemuImg("create", "-q", "-f", "qcow2", "-u", "-b", backing, ...options, image, "1M");
		if (format === null || format === "raw") return;
		// qemu-img checks the format; a guest does not.
		const bytes = readFileSync(image);
		const at = bytes.indexOf(Buffer.from([0xe2, 0x79, 0x2a, 0xca]));
		bytes.writeUInt32BE(format.length, at + 4);
		bytes.write(format.padEnd(8, "\0"), at + 8, "latin1");
		writeFileSync(image, bytes);
	};
	for (const [backing, why] of [
		["/etc/passwd", /backing file "\/etc\/passwd" lies outside of .*\/vm/],
		["../secret", /lies outside/],
		["sub/../../secret", /lies outside/],
		["link.raw", /lies outside/],
		["gone.raw", /cannot be opened: no such file/],
		["sub", /not a regular file/],
		["nbd://127.0.0.1:10809/x", /is not a plain file/],
		["http://127.0.0.1/x", /is not a plain file/],
		["file:base.raw", /is not a plain file/],
		['json:{"driver":"file","filename":"/etc/passwd"}', /is not a plain file/],
		["fat:/etc", /is not a plain file/],
		["/dev/fdset/1", /cannot be opened|lies outside/],
	] as const) {
		withBacking(backing);
		t.match(await refusal(image), why, backing);
	}
	for (const backing of ["base.raw", "inside.raw", path("vm/base.raw")]) {
		withBacking(backing);
		t.equal(await refusal(image), "accepted", backing);
	}
	withBacking("base.raw", "vdi");
	t.match(await refusal(image), /unsupported format "vdi"/);
	withBacking("disk.qcow2", "qcow2");
	t.match(await refusal(image), /form a circle/);
	execFileSync("qemu-img", ["create", "-q", "-f", "qcow2", "-u", "-b", "base.raw", "-F", "raw", image, "1M"]);
	const bytes = readFileSync(image);
	const at = bytes.indexOf(Buffer.from([0xe2, 0x79, 0x2a, 0xca]));
	patch(image, at, Buffer.from([0x12, 0x34, 0x56, 0x78]));
	t.match(await refusal(image), /does not say the format of its backing file.*qemu-img rebase/);
	t.same(leftOvers(), []);
});

t.test("qcow2 data files stay in the folder; odd headers are refused", async (t) => {
	const { path } = await lab(t);
	const image = path("disk.qcow2");
	qemuImg("create", "-q", "-f", "qcow2", "-o", `data_file=${path("data.raw")}`, image, "1M");
	t.equal(await refusal(image), "accepted");
	const bytes = readFileSync(image);
	const at = bytes.indexOf("DATA", 104);
	const name = path("data.raw");
	const original = Buffer.from(bytes);
	bytes.write("/etc/passwd".padEnd(name.length, "/"), at + 8);
	writeFileSync(image, bytes);
	t.match(await refusal(image), /data file "\/etc\/passwd\/*" (lies outside|cannot be opened)/);
	const with32 = (offset: number, value: number) => {
		const changed = Buffer.from(original);
		changed.writeUInt32BE(value, offset);
		writeFileSync(image, changed);
		return refusal(image);
	};
	t.match(await with32(4, 1), /qcow version 1 is not supported/);
	t.match(await with32(20, 40), /impossible cluster size/);
	t.match(await with32(24, 0xffffffff), /impossible size/);
	t.match(await with32(32, 1), /is encrypted/);
	t.match(await with32(72, 1), /features of a newer version/);
	t.match(await with32(76, 2 | 4), /marked corrupt/);
	t.match(await with32(0, 0), /not a qcow2 image/);
	t.match(await with32(at + 4, 0x7fffffff), /runs over its end/);
	writeFileSync(image, "QFI");
	t.match(await refusal(image), /not a qcow2 image/);
});

t.test("VMDK descriptors that name other files", async (t) => {
	const { path } = await lab(t);
	writeFileSync(path("secret"), noise(1, M));
	mkdirSync(path("vm"));
	writeFileSync(path("vm/in-flat.vmdk"), noise(1, M));
	symlinkSync(path("secret"), path("vm/link-flat.vmdk"));
	const image = path("vm/disk.vmdk");
	const extent = (line: string, more = "parentCID=ffffffff") => {
		writeFileSync(image, `# Disk DescriptorFile\nversion=1\nCID=1\n${more}\ncreateType="x"\n${line}\n`);
		return refusal(image);
	};
	t.equal(await extent('RW 2048 FLAT "in-flat.vmdk" 0'), "accepted");
	t.equal(await extent('RW 1024 FLAT "in-flat.vmdk" 1024\nRW 99 ZERO'), "accepted");
	for (const [line, why] of [
		['RW 2048 FLAT "/etc/passwd" 0', /extent "\/etc\/passwd" lies outside/],
		['RW 2048 FLAT "../secret" 0', /lies outside/],
		['RW 2048 FLAT "link-flat.vmdk" 0', /lies outside/],
		['RW 2048 VMFS "nbd:localhost:1"', /is not a plain file/],
		['RW 2048 SPARSE "json:{}"', /is not a plain file/],
		['RW 2048 SPARSE "in-flat.vmdk"', /not a sparse VMDK extent/],
		['RW 2048 VMFSSPARSE "in-flat.vmdk"', /not a VMFS sparse extent/],
		['RW 2048 SESPARSE "in-flat.vmdk"', /not a space-efficient sparse extent/],
		['RW 2048 VMFSRDM "in-flat.vmdk"', /extents of type RW VMFSRDM are not supported/],
		['NOACCESS 2048 FLAT "in-flat.vmdk" 0', /may not be accessed/],
		['RW 4096 FLAT "in-flat.vmdk" 0', /is cut off: the descriptor says 2097152 bytes, the file has 1048576/],
		['RW 2048 FLAT "gone.vmdk" 0', /cannot be opened: no such file/],
		["RW 2048 FLAT", /names no file/],
		["RW 0 ZERO", /impossible size/],
		["RW 999999999999999 ZERO", /impossible size/],
		["", /names no extents/],
	] as const)
		t.match(await extent(line), why, line);
	t.match(
		await extent('RW 2048 FLAT "in-flat.vmdk" 0', 'parentCID=12\nparentFileNameHint="../secret"'),
		/parent "\.\.\/secret" lies outside/,
	);
	t.match(await extent('RW 2048 FLAT "in-flat.vmdk" 0', "parentCID=12"), /has a parent but does not name it/);
	t.match(await refusal(`vmdk:${path("secret")}`), /not a VMDK disk/);
	t.match(await refusal(path("vm/in-flat.vmdk")), /not a VMDK disk; name its descriptor, or read it as raw/);
});

t.test("sparse VMDK headers that QEMU would follow", async (t) => {
	const { path } = await lab(t);
	sparseFile(path("a.raw"), M, [{ at: 0, data: noise(1, 1000) }]);
	const image = path("a.vmdk");
	qemuImg("convert", "-O", "vmdk", "-o", "subformat=monolithicSparse", path("a.raw"), image);
	t.equal(await refusal(image), "accepted");
	patch(image, 12, Buffer.alloc(8));
	t.match(await refusal(image), /VMDK header without a size/);
	qemuImg("convert", "-O", "vmdk", "-o", "subformat=monolithicSparse", path("a.raw"), image);
	patch(image, 28, Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff]));
	t.match(await refusal(image), /misplaced descriptor/);
	qemuImg("convert", "-O", "vmdk", "-o", "subformat=twoGbMaxExtentSparse", path("a.raw"), path("split.vmdk"));
	t.match(await refusal(path("split-s001.vmdk")), /is one extent of a disk; name the disk's descriptor/);
});

t.test("no file, a folder, a pipe, no NBD server", async (t) => {
	const { path } = await lab(t);
	for (const name of ["x.raw", "x.qcow2", "x.vmdk"])
		t.match(await refusal(path(name)), new RegExp(`^${path(name)}: no such file`));
	mkdirSync(path("dir.raw"));
	mkdirSync(path("dir.qcow2"));
	t.match(await refusal(path("dir.raw")), /dir\.raw: not a regular file/);
	t.match(await refusal(path("dir.qcow2")), /dir\.qcow2: not a regular file/);
	execFileSync("mkfifo", [path("pipe.raw"), path("pipe.qcow2")]);
	t.match(await refusal(path("pipe.raw")), /pipe\.raw: not a regular file/);
	t.match(await refusal(path("pipe.qcow2")), /pipe\.qcow2: not a regular file/);
	t.match(await refusal("nbd://127.0.0.1:1/x"), /^nbd:\/\/127\.0\.0\.1:1\/x: .*ECONNREFUSED/);
	t.match(await refusal("nbd://host:1/%00"), /invalid export name/);
});

t.test("a disk that a running QEMU writes: qcow2 is refused, raw is noted", async (t) => {
	const { path } = await lab(t);
	qemuImg("create", "-q", "-f", "qcow2", path("a.qcow2"), "1M");
	sparseFile(path("a.raw"), M, []);
	const notes = async () => {
		const source = await openSource(parseSources([path("a.raw")])[0]);
		await source.image.close();
		return source.notes;
	};
	t.same(await notes(), []);
	const socket = join(path(""), "s");
	const vm = spawn("qemu-nbd", ["--persistent", "--socket", socket, path("a.qcow2")], { stdio: "ignore" });
	const gone = new Promise((resolve) => vm.once("exit", resolve));
	while (!existsSync(socket)) await new Promise((resolve) => setTimeout(resolve, 10));
	t.match(await refusal(path("a.qcow2")), /another program has it open for writing; shut the VM down/);
	vm.kill();
	await gone;
	const raw = spawn("qemu-nbd", ["--persistent", "--format=raw", "--socket", socket, path("a.raw")], {
		stdio: "ignore",
	});
	const rawGone = new Promise((resolve) => raw.once("exit", resolve));
	while (!existsSync(socket)) await new Promise((resolve) => setTimeout(resolve, 10));
	t.match(await notes(), [/a\.raw: a running VM writes to it/]);
	raw.kill();
	await rawGone;
	t.equal(await refusal(path("a.qcow2")), "accepted");
	t.same(leftOvers(), []);
});
