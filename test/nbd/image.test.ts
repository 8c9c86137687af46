/** The client against real servers. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { ImageError } from "../../src/image/image.js";
import { connectNbd, type NbdImage } from "../../src/nbd/index.js";
import { nbdkit, qemuNbd } from "./servers.js";

const K = 1024;
const M = K * K;
const T = 1024 * 1024 * M;

/** nbdkit's pattern plugin: each 8 bytes hold their own offset, big endian. */
function checkPattern(data: Buffer, offset: number): boolean {
	const whole = Buffer.alloc(Math.ceil((data.length + 16) / 8) * 8);
	const start = offset - (offset % 8);
	for (let i = 0; i < whole.length; i += 8) whole.writeBigUInt64BE(BigInt(start + i), i);
	return data.equals(whole.subarray(offset - start, offset - start + data.length));
}

async function readAt(image: NbdImage, offset: number, length: number): Promise<Buffer> {
	const data = Buffer.alloc(length, 0xee);
	await image.read(offset, data);
	return data;
}

t.test("reads of any offset and length, many at once, from nbdkit", async (t) => {
	const { uri } = await nbdkit(t, "pattern", "64M");
	const image = await connectNbd(uri);
	t.equal(image.size, 64 * M);
	const ranges = [
		[0, 1],
		[1, 7],
		[511, 513],
		[64 * K - 1, 2],
		[64 * M - 1, 1],
		[3, 20 * M + 5],
		[0, 0],
	];
	for (let i = 0; i < 300; i++) ranges.push([(i * 7919 * 31) % (63 * M), (i * 37) % 5000]);
	const results = await Promise.all(ranges.map(async ([at, n]) => checkPattern(await readAt(image, at, n), at)));
	t.equal(results.indexOf(false), -1);
	await t.rejects(image.read(64 * M - 1, Buffer.alloc(2)), RangeError);
	await image.close();
	await t.rejects(image.read(0, Buffer.alloc(2)), { code: "ECLOSED" });
});

t.test("TCP", async (t) => {
	const port = 20000 + (process.pid % 20000);
	const { spawn } = await import("node:child_process");
	const child = spawn("nbdkit", ["-f", "--exit-with-parent", "-i", "127.0.0.1", "-p", `${port}`, "pattern", "1M"]);
	t.teardown(() => child.kill());
	let image: NbdImage | undefined;
	for (let i = 0; i < 200 && !image; i++)
		image = await connectNbd(`nbd://127.0.0.1:${port}/`).catch(
			() => new Promise<undefined>((resolve) => setTimeout(() => resolve(undefined), 10)),
		);
	t.ok(checkPattern(await readAt(image!, 12345, 54321), 12345));
	await image!.close();
});

t.test("a server that insists on block sizes", async (t) => {
	const { uri } = await nbdkit(
		t,
		"--filter=blocksize-policy",
		"pattern",
		"8M",
		"blocksize-minimum=4096",
		"blocksize-preferred=64K",
		"blocksize-maximum=128K",
		"blocksize-error-policy=error",
	);
	const image = await connectNbd(uri);
	t.equal(image.preferredBlock, 64 * K);
	for (const [at, n] of [
		[0, 8 * M],
		[1, 1],
		[4095, 2],
		[8 * M - 1, 1],
		[100_000, 300_001],
	])
		t.ok(checkPattern(await readAt(image, at, n), at), `${at}+${n}`);
	await image.close();
});

t.test("extents", async (t) => {
	const { uri } = await nbdkit(t, "data", "data= @1048576 1*65536 @3145728 1*1 @4194304 0", "size=8M");
	const image = await connectNbd(uri);
	const all = await image.extents(0, image.size);
	t.equal(
		all.reduce((sum, run) => sum + run.length, 0),
		image.size,
	);
	const data = all.filter((run) => run.kind === "data");
	t.ok(data.some((run) => run.offset <= M && run.offset + run.length >= M + 64 * K));
	t.ok(data.reduce((sum, run) => sum + run.length, 0) < M, "most of it is no data");
	t.same(await image.extents(M + 1, 5), [{ offset: M + 1, length: 5, kind: "data" }], "clipped to the question");
	t.same(await image.extents(5 * M + 3, 7), [{ offset: 5 * M + 3, length: 7, kind: "unallocated" }]);
	t.same(await image.extents(0, 0), []);
	await image.close();
});

t.test("without block status everything is data", async (t) => {
	const { uri } = await nbdkit(t, "--filter=noextents", "memory", "1M");
	const image = await connectNbd(uri);
	t.same(await image.extents(5, 100), [{ offset: 5, length: 100, kind: "data" }]);
	await image.close();
});

t.test("64 TiB: reads and writes at the far end", async (t) => {
	const { uri } = await nbdkit(t, "memory", "64T");
	const image = await connectNbd(uri);
	t.equal(image.size, 64 * T);
	await image.write(64 * T - 3, Buffer.from("end"));
	t.equal((await readAt(image, 64 * T - 3, 3)).toString(), "end");
	const runs = await image.extents(64 * T - 1024 * M, 1024 * M);
	t.equal(runs.length, 2);
	t.match(runs[1], { kind: "data" });
	t.equal(runs[1].offset + runs[1].length, 64 * T);
	await image.close();
});

t.test("64 TiB: extents in small steps", async (t) => {
	// This plugin answers at once, so the time is ours.
	const { uri } = await nbdkit(t, "null", "64T");
	const image = await connectNbd(uri);
	const began = performance.now();
	let at = 0;
	for (; at < image.size; at += 1024 * M)
		for (const run of await image.extents(at, 1024 * M)) if (run.kind === "data") t.fail("data in an empty disk");
	t.equal(at, image.size);
	t.ok(performance.now() - began < 10_000, `${Math.round(performance.now() - began)} ms`);
	t.same(await image.extents(0, image.size), [{ offset: 0, length: image.size, kind: "unallocated" }]);
	await image.close();
});

t.test("write, write zeroes, trim and flush; reads see them", async (t) => {
	const { uri } = await nbdkit(t, "memory", "4M");
	const image = await connectNbd(uri);
	const data = Buffer.alloc(1_000_001);
	for (let i = 0; i < data.length; i++) data[i] = i * 31;
	await image.write(777, data);
	t.ok((await readAt(image, 777, data.length)).equals(data));
	await image.writeZeroes(1000, 500_000);
	data.fill(0, 1000 - 777, 501_000 - 777);
	t.ok((await readAt(image, 777, data.length)).equals(data));
	await image.extents(0, image.size);
	await image.write(2 * M, Buffer.from([1]));
	t.ok((await image.extents(2 * M, 1))[0].kind === "data", "extents are asked again after a write");
	await image.trim(0, image.size);
	await image.flush();
	await image.close();
});

t.test("small writes to a server with large blocks do not lose each other", async (t) => {
	const { uri } = await nbdkit(
		t,
		"--filter=blocksize-policy",
		"memory",
		"1M",
		"blocksize-minimum=4096",
		"blocksize-preferred=4096",
		"blocksize-maximum=1M",
		"blocksize-error-policy=error",
	);
	const image = await connectNbd(uri);
	await Promise.all(Array.from({ length: 200 }, (_, i) => image.write(i * 33, Buffer.alloc(33, i + 1))));
	for (let i = 0; i < 200; i++) t.ok((await readAt(image, i * 33, 33)).every((byte) => byte === ((i + 1) & 255)));
	await image.write(8192, Buffer.alloc(8192, 9));
	await image.writeZeroes(8193, 8190);
	const back = await readAt(image, 8192, 8192);
	t.ok(back[0] === 9 && back[8191] === 9 && back.subarray(1, 8191).every((byte) => byte === 0));
	await image.close();
});

t.test("a read-only export refuses writes", async (t) => {
	const { uri } = await nbdkit(t, "--readonly", "memory", "1M");
	const image = await connectNbd(uri);
	t.equal(image.readOnly, true);
	await t.rejects(image.write(0, Buffer.alloc(1)), { name: "ImageError", message: /read-only/ });
	await image.close();
});

t.test("the server's errors reach the caller, and the connection lives on", async (t) => {
	const directory = t.testdir();
	const fault = join(directory, "fault");
	const { uri } = await nbdkit(
		t,
		"--filter=error",
		"pattern",
		"1M",
		"error-pread=EIO",
		"error-pread-rate=100%",
		`error-pread-file=${fault}`,
	);
	const image = await connectNbd(uri);
	t.ok(checkPattern(await readAt(image, 0, 4096), 0));
	writeFileSync(fault, "");
	const error = await image.read(4096, Buffer.alloc(512)).then(
		() => undefined,
		(e) => e,
	);
	t.ok(error instanceof ImageError);
	t.match(error, {
		code: "EIO",
		offset: 4096,
		length: 512,
		message: /nbd\+unix.*read of 512 bytes at offset 4096 failed: EIO/,
	});
	const { unlinkSync } = await import("node:fs");
	unlinkSync(fault);
	t.ok(checkPattern(await readAt(image, 4096, 4096), 4096));
	await image.close();
});

t.test("no space", async (t) => {
	const { uri } = await nbdkit(t, "--filter=error", "memory", "1M", "error-pwrite=ENOSPC", "error-pwrite-rate=100%");
	const image = await connectNbd(uri);
	await t.rejects(image.write(0, Buffer.alloc(512)), { code: "ENOSPC" });
	await image.close();
});

t.test("a server that dies fails what is in flight and what comes after", async (t) => {
	const { uri, child } = await nbdkit(t, "--filter=delay", "memory", "1M", "rdelay=60");
	const image = await connectNbd(uri);
	const reads = [0, 1, 2].map((i) => image.read(i * 512, Buffer.alloc(512)));
	const results = Promise.allSettled(reads);
	setTimeout(() => child.kill("SIGKILL"), 50);
	for (const result of await results)
		t.match(result, { status: "rejected", reason: { code: "EIO", message: /connection lost/ } });
	await t.rejects(image.read(0, Buffer.alloc(1)), { message: /connection lost/ });
	await image.close();
});

t.test("a silent server counts as lost", async (t) => {
	const { uri } = await nbdkit(t, "--filter=delay", "memory", "1M", "rdelay=60");
	const image = await connectNbd(uri, { silenceMs: 100 });
	await t.rejects(image.read(0, Buffer.alloc(512)), { code: "EIO", message: /no answer for/ });
	await image.close();
});

t.test("nobody there, or no such export", async (t) => {
	await t.rejects(connectNbd("nbd://127.0.0.1:1/x"), { message: /^nbd:\/\/127\.0\.0\.1:1\/x: .*ECONNREFUSED/ });
	await t.rejects(connectNbd("nbd+unix:///x?socket=/nonexistent/s"), { message: /ENOENT/ });
	const file = join(t.testdir({ "a.raw": "x".repeat(1024) }), "a.raw");
	const { uri } = await qemuNbd(t, "--format=raw", "--export-name=disk", file);
	await t.rejects(connectNbd(uri.replace("///", "///other")), { message: /export "other": no such export/ });
	const image = await connectNbd(uri.replace("///", "///disk"));
	t.equal((await readAt(image, 0, 3)).toString(), "xxx");
	await image.close();
});

t.test("qemu-nbd: qcow2 with data, zeros and holes", async (t) => {
	const { execFileSync } = await import("node:child_process");
	const file = join(t.testdir(), "a.qcow2");
	execFileSync("qemu-img", ["create", "-q", "-f", "qcow2", file, "1G"]);
	execFileSync("qemu-io", ["-c", "write -P 7 65536 131072", "-c", "write -z 1M 64k", file]);
	const { uri } = await qemuNbd(t, "--format=qcow2", "--read-only", file);
	const image = await connectNbd(uri);
	const runs = await image.extents(0, image.size);
	t.same(
		runs.filter((run) => run.kind === "data"),
		[{ offset: 65536, length: 131072, kind: "data" }],
	);
	t.ok((await readAt(image, 65536, 131072)).every((byte) => byte === 7));
	await image.close();
});
