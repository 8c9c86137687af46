import { closeSync, ftruncateSync, openSync, truncateSync, writeSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { faults } from "../../native/index.js";
import { ConcatImage, type Image, ImageError, openRaw, padded, SliceImage, ZeroImage } from "../../src/image/index.js";

const M = 1024 * 1024;

function file(t: { testdir(): string }, size: number, pieces: [number, Buffer][]): string {
	const path = join(t.testdir(), "a.raw");
	const fd = openSync(path, "w");
	ftruncateSync(fd, size);
	for (const [at, data] of pieces) writeSync(fd, data, 0, data.length, at);
	closeSync(fd);
	return path;
}

async function bytes(image: Image, offset = 0, length = image.size): Promise<Buffer> {
	const data = Buffer.alloc(length, 0xee);
	await image.read(offset, data);
	return data;
}

t.test("raw: reads, holes, the exact size", async (t) => {
	const path = file(t, 3 * M + 5, [
		[M, Buffer.alloc(4096, 7)],
		[3 * M, Buffer.from("12345")],
	]);
	const image = openRaw(path);
	t.equal(image.size, 3 * M + 5);
	const all = await bytes(image);
	t.ok(all.subarray(M, M + 4096).every((byte) => byte === 7));
	t.equal((await bytes(image, 3 * M + 1, 4)).toString(), "2345");
	t.same(await image.extents(0, image.size), [
		{ offset: 0, length: M, kind: "unallocated" },
		{ offset: M, length: 4096, kind: "data" },
		{ offset: M + 4096, length: 2 * M - 4096, kind: "unallocated" },
		{ offset: 3 * M, length: 5, kind: "data" },
	]);
	t.same(await image.extents(M + 1, 2), [{ offset: M + 1, length: 2, kind: "data" }]);
	t.same(await image.extents(image.size, 0), []);
	for (const [offset, length] of [
		[-1, 1],
		[0.5, 1],
		[image.size, 1],
		[Number.MAX_SAFE_INTEGER, 1],
		[Number.NaN, 1],
	])
		await t.rejects(bytes(image, offset, length), RangeError, `${offset}`);
	t.throws(() => image.extents(0, image.size + 1), RangeError);
	await image.close();
	await image.close();
	await t.rejects(bytes(image, 0, 1), { code: "ECLOSED" });
});

t.test("raw: closing waits for reads in flight", async (t) => {
	const image = openRaw(file(t, M, [[0, Buffer.alloc(M, 3)]]));
	t.teardown(() => faults.clear());
	faults.set([{ op: "pread", path: "a.raw", delayMs: 100, count: 1 }]);
	const reading = bytes(image, 0, 4096);
	await image.close();
	t.ok((await reading).every((byte) => byte === 3));
});

t.test("raw: a file that shrinks, a disk that fails", async (t) => {
	const path = file(t, M, [[0, Buffer.alloc(M, 1)]]);
	const image = openRaw(path);
	t.teardown(() => faults.clear());
	faults.set([{ op: "pread", path: "a.raw", error: "EIO" }]);
	const error = await bytes(image, 4096, 512).catch((e) => e);
	t.ok(error instanceof ImageError);
	t.match(error, {
		code: "EIO",
		offset: 4096,
		length: 512,
		message: `${path}: cannot read 512 bytes at offset 4096: EIO`,
	});
	t.equal((await bytes(image, 4096, 512))[0], 1, "the next read works");
	truncateSync(path, 5000);
	await t.rejects(bytes(image, 4096, 4096), {
		code: "EIO",
		message: /a\.raw: shrank below 1048576 bytes: only 904 of 4096 bytes at offset 4096/,
	});
	t.doesNotThrow(() => image.extents(0, M));
	await image.close();
});

t.test("raw: writing", async (t) => {
	const path = file(t, M, []);
	const image = openRaw(path, { writable: true });
	await Promise.all([0, 1, 2, 3].map((i) => image.write(i * 1000, Buffer.alloc(1000, i + 1))));
	await image.flush();
	t.same([...new Set(await bytes(image, 0, 4000))], [1, 2, 3, 4]);
	await t.rejects(image.write(M - 1, Buffer.alloc(2)), RangeError);
	t.teardown(() => faults.clear());
	faults.set([{ op: "pwrite", path: "a.raw", error: "ENOSPC" }]);
	await t.rejects(image.write(0, Buffer.alloc(10)), { code: "ENOSPC" });
	faults.set([{ op: "fdatasync", path: "a.raw", error: "EIO" }]);
	await t.rejects(image.flush(), { code: "EIO", message: /cannot sync/ });
	await image.close();
});

t.test("raw: what is no file", async (t) => {
	t.throws(() => openRaw(t.testdir()), { message: /not a regular file/ });
	t.throws(() => openRaw("/nonexistent/x"), { code: "ENOENT" });
	t.throws(() => openRaw("/dev/null"), { message: /not a regular file/ });
});

t.test("zero, slice, concat, padded: like one buffer", async (t) => {
	const path = file(t, 10_000, [[0, Buffer.from(Array.from({ length: 10_000 }, (_, i) => i * 7))]]);
	const raw = await bytes(openRaw(path));
	const image = padded(
		new ConcatImage([
			new SliceImage(openRaw(path), 100, 3000),
			new ZeroImage(0),
			new ZeroImage(500),
			new SliceImage(openRaw(path), 0, 1),
			openRaw(path),
		]),
		20_000,
	);
	const expected = Buffer.concat([
		raw.subarray(100, 3100),
		Buffer.alloc(500),
		raw.subarray(0, 1),
		raw,
		Buffer.alloc(6499),
	]);
	t.equal(image.size, 20_000);
	t.ok((await bytes(image)).equals(expected));
	for (let i = 0; i < 500; i++) {
		const offset = (i * 7919) % 20_000;
		const length = Math.min((i * 31) % 5000, 20_000 - offset);
		if (!(await bytes(image, offset, length)).equals(expected.subarray(offset, offset + length)))
			t.fail(`${offset}+${length}`);
		const runs = await image.extents(offset, length);
		let at = offset;
		for (const run of runs) {
			if (run.offset !== at || run.length <= 0) t.fail(`gap at ${at}`);
			at += run.length;
			if (run.kind !== "data" && expected.subarray(run.offset, at).some((byte) => byte !== 0)) t.fail("data in a hole");
		}
		if (at !== offset + length) t.fail(`extents end at ${at}`);
	}
	await t.rejects(bytes(image, 19_999, 2), RangeError);
	t.throws(() => padded(new ZeroImage(5), 4), RangeError);
	t.throws(() => new SliceImage(new ZeroImage(5), 3, 3), RangeError);
	await image.close();
	await t.rejects(bytes(image, 0, 1), { code: "ECLOSED" });
});

t.test("concat: a failed part fails the read after all parts have settled", async (t) => {
	let settled = 0;
	const part = (fails: boolean, ms: number): Image => ({
		size: 10,
		read: async () => {
			await new Promise((resolve) => setTimeout(resolve, ms));
			settled++;
			if (fails) throw new ImageError("EIO", "broken", 0, 10);
		},
		extents: async (offset, length) => [{ offset, length, kind: "data" }],
		async close() {},
	});
	const image = new ConcatImage([part(true, 1), part(false, 30)]);
	await t.rejects(bytes(image), { message: "broken" });
	t.equal(settled, 2);
	t.same(await image.extents(5, 10), [{ offset: 5, length: 10, kind: "data" }]);
});
