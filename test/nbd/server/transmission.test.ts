/** The server's transmission phase, to the byte. */
import { randomBytes } from "node:crypto";
import t from "tap";
import { assemble, descriptors, RawClient, request } from "./raw-client.js";
import { type Served, served } from "./served.js";

const CMD = { READ: 0, WRITE: 1, DISC: 2, FLUSH: 3, TRIM: 4, CACHE: 5, ZEROES: 6, STATUS: 7 };
const FLAG = { FUA: 1, NO_HOLE: 2, DF: 4, ONE: 8, FAST: 16, PAYLOAD: 32 };
const [EPERM, EINVAL, EIO, ENOSPC, EOVERFLOW] = [1, 22, 5, 28, 75];
const MIB = 1024 * 1024;

const go = async (t: Parameters<typeof served>[0], { socket }: Served, name = "disk", options = {}) =>
	(await RawClient.connect(t, socket)).go(name, options);

for (const mode of ["sync", "async", "lend"] as const)
	t.test(`reads, answered ${mode}`, async (t) => {
		const it = await served(t, { size: 8 * MIB });
		it.disk.mode = mode;
		const data = randomBytes(300_000);
		it.disk.fill(100_000, data);
		const client = await go(t, it);
		const whole = await client.ask({ command: CMD.READ, cookie: 0xfedcba9876543210n, offset: 0, length: 500_000 });
		t.equal(whole.cookie, 0xfedcba9876543210n);
		t.equal(whole.error, 0);
		t.ok(assemble(whole, 0, 500_000).equals(it.disk.content.subarray(0, 500_000)));
		t.ok(
			whole.chunks!.some(({ type }) => type === 2),
			"zeros are holes",
		);
		t.same(
			whole.chunks!.map(({ flags }) => flags).filter((flags) => flags === 1),
			[1],
			"one chunk is the last",
		);

		const hole = await client.ask({ command: CMD.READ, offset: 4 * MIB, length: MIB });
		t.ok(hole.chunks!.length >= 1 && hole.chunks!.every(({ type }) => type === 2), "a hole is only holes");
		const df = await client.ask({ command: CMD.READ, flags: FLAG.DF, offset: 0, length: 500_000 });
		t.same(
			df.chunks!.map(({ type, data }) => [type, data.length]),
			[[1, 500_008]],
			"DF: all in one chunk",
		);
		t.ok(assemble(df, 0, 500_000).equals(it.disk.content.subarray(0, 500_000)));
		t.equal((await client.ask({ command: CMD.READ, flags: FLAG.DF, length: 2 * MIB })).error, EOVERFLOW);
		const long = await client.ask({ command: CMD.READ, offset: 99_999, length: 8 * MIB - 99_999 });
		t.ok(assemble(long, 99_999, 8 * MIB - 99_999).equals(it.disk.content.subarray(99_999)), "longer than a part");
		const odd = await client.ask({ command: CMD.READ, offset: 100_001, length: 7 });
		t.ok(assemble(odd, 100_001, 7).equals(data.subarray(1, 8)), "no alignment is wanted");

		const plain = await go(t, it, "disk", { structured: false });
		const simple = await plain.ask({ command: CMD.READ, offset: 99_990, length: 3 * MIB });
		t.equal(simple.chunks, undefined);
		t.ok(simple.data.equals(it.disk.content.subarray(99_990, 99_990 + 3 * MIB)));
		t.equal((await plain.ask({ command: CMD.READ, flags: FLAG.DF, length: 512 })).error, EINVAL);
		client.socket.destroy();
		plain.socket.destroy();
		while (it.server.totals.connections > 0) await new Promise((resolve) => setTimeout(resolve, 5));
		t.equal(it.disk.lent, 0, "what was lent is given back");
		t.equal(it.server.totals.held, 0);
	});

t.test("writes, flushes and FUA", async (t) => {
	const it = await served(t, { size: 8 * MIB });
	const client = await go(t, it);
	const data = randomBytes(5000);
	t.match(await client.ask({ command: CMD.WRITE, cookie: 5, offset: 1234, data }), {
		cookie: 5n,
		error: 0,
		chunks: undefined,
	});
	t.ok(it.disk.content.subarray(1234, 6234).equals(data));
	t.notOk(it.disk.stable.subarray(1234, 6234).equals(data), "not stable yet");
	t.equal((await client.ask({ command: CMD.FLUSH })).error, 0);
	t.ok(it.disk.stable.subarray(1234, 6234).equals(data), "stable after a flush");
	await client.ask({ command: CMD.WRITE, flags: FLAG.FUA, offset: 100_000, data });
	t.ok(it.disk.stable.subarray(100_000, 105_000).equals(data), "stable with FUA");
	t.equal(it.disk.calls.flush, 1, "which did not flush all");

	const large = randomBytes(5 * MIB + 77);
	t.equal((await client.ask({ command: CMD.WRITE, flags: FLAG.FUA, offset: 3, data: large })).error, 0);
	t.ok(it.disk.stable.subarray(3, 3 + large.length).equals(large), "longer than a part");
	t.ok(it.disk.calls.writeStable > 5);
	t.equal(it.server.totals.bytesWritten, 10_000 + large.length);
});

t.test("zeroes, trim and cache", async (t) => {
	const it = await served(t, { size: 8 * MIB });
	it.disk.fill(0, randomBytes(8 * MIB));
	const client = await go(t, it, "disk", { contexts: ["base:allocation"] });
	t.equal((await client.ask({ command: CMD.ZEROES, offset: 4096, length: 3 * MIB })).error, 0);
	t.ok(it.disk.content.subarray(4096, 4096 + 3 * MIB).every((byte) => byte === 0));
	t.equal(
		(await client.ask({ command: CMD.ZEROES, flags: FLAG.NO_HOLE | FLAG.FAST | FLAG.FUA, length: 4096 })).error,
		0,
	);
	t.equal(it.disk.calls.flush, 1, "FUA of what has no stable form is a flush");
	t.equal((await client.ask({ command: CMD.TRIM, offset: 6 * MIB, length: MIB })).error, 0);
	t.equal(it.disk.calls.zero, 3);
	t.equal((await client.ask({ command: CMD.CACHE, offset: 5, length: 3 * MIB })).error, 0);
	t.ok(it.disk.calls.read >= 3);
	const status = await client.ask({ command: CMD.STATUS, length: 8 * MIB });
	t.same(descriptors(status.chunks![0]), {
		context: 1,
		runs: [
			[3 * MIB + 4096, 2],
			[3 * MIB - 4096, 0],
			[MIB, 2],
			[MIB, 0],
		],
	});

	const plainDisk = { read: () => {}, size: MIB, extents: () => [], close: async () => {} };
	const written: [number, number][] = [];
	const write = async (offset: number, data: Buffer) => void written.push([offset, data.length]);
	const image = { ...plainDisk, write, flush: async () => {} };
	it.exports.set("plain", () => ({ image, readOnly: false, multiConnection: false }));
	const plain = await go(t, it, "plain");
	t.equal(
		(await plain.ask({ command: CMD.ZEROES, flags: FLAG.FAST, length: 512 })).error,
		95,
		"zeros that must be written are not fast",
	);
	t.equal((await plain.ask({ command: CMD.ZEROES, length: MIB })).error, 0);
	t.same(written, [[0, MIB]], "they are written");
	t.equal((await plain.ask({ command: CMD.TRIM, length: MIB })).error, 0);
	t.equal(written.length, 1, "trim writes none");
});

t.test("block status", async (t) => {
	const it = await served(t, { size: 64 * MIB });
	for (let at = 0; at < 16 * MIB; at += 8192) it.disk.fill(at, Buffer.alloc(4096, 1));
	for (const mode of ["sync", "async"] as const) {
		it.disk.mode = mode;
		const client = await go(t, it, "disk", { contexts: ["base:allocation"] });
		const one = await client.ask({ command: CMD.STATUS, flags: FLAG.ONE, offset: 4096, length: 64 * MIB - 4096 });
		t.same(descriptors(one.chunks![0]).runs, [[4096, 3]]);
		const end = await client.ask({ command: CMD.STATUS, flags: FLAG.ONE, offset: 16 * MIB, length: 48 * MIB });
		t.same(descriptors(end.chunks![0]).runs, [[48 * MIB, 3]]);
		const many = descriptors((await client.ask({ command: CMD.STATUS, length: 64 * MIB })).chunks![0]).runs;
		t.equal(many.length, 4096, "no more than so many at once");
		t.same(many.slice(0, 2), [
			[4096, 0],
			[4096, 3],
		]);
		const part = descriptors((await client.ask({ command: CMD.STATUS, offset: 10, length: 100 })).chunks![0]).runs;
		t.same(part, [[100, 0]], "never beyond what was asked");
	}
	const without = await go(t, it);
	t.equal((await without.ask({ command: CMD.STATUS, length: 512 })).error, EINVAL, "only when agreed on");
});

t.test("what is refused", async (t) => {
	const it = await served(t);
	const client = await go(t, it, "disk", { contexts: ["base:allocation"] });
	const fixed = await go(t, it, "fixed");
	const data = Buffer.alloc(512, 1);
	const cases: [RawClient, Parameters<RawClient["ask"]>[0], number][] = [
		[client, { command: CMD.READ, offset: MIB, length: 1 }, EINVAL],
		[client, { command: CMD.READ, offset: MIB - 1, length: 2 }, EINVAL],
		[client, { command: CMD.READ, offset: 2n ** 64n - 1n, length: 2 }, EINVAL],
		[client, { command: CMD.READ, offset: 2n ** 63n, length: 512 }, EINVAL],
		[client, { command: CMD.READ, length: 0 }, EINVAL],
		[client, { command: CMD.READ, length: 512, flags: FLAG.NO_HOLE }, EINVAL],
		[client, { command: CMD.READ, length: 512, flags: FLAG.PAYLOAD }, EINVAL],
		[client, { command: CMD.WRITE, offset: MIB - 511, data }, ENOSPC],
		[client, { command: CMD.WRITE, offset: 0, data, flags: FLAG.DF }, EINVAL],
		[client, { command: CMD.WRITE, length: 0 }, EINVAL],
		[client, { command: CMD.ZEROES, offset: MIB, length: 0xffffffff }, ENOSPC],
		[client, { command: CMD.ZEROES, offset: 0, length: 512, flags: FLAG.ONE }, EINVAL],
		[client, { command: CMD.TRIM, offset: MIB, length: 512 }, EINVAL],
		[client, { command: CMD.FLUSH, offset: 1 }, EINVAL],
		[client, { command: CMD.FLUSH, length: 1 }, EINVAL],
		[client, { command: CMD.STATUS, length: 0 }, EINVAL],
		[client, { command: CMD.STATUS, offset: 512, length: MIB }, EINVAL],
		[client, { command: 99, length: 512 }, EINVAL],
		[fixed, { command: CMD.WRITE, data }, EPERM],
		[fixed, { command: CMD.ZEROES, length: 512 }, EPERM],
		[fixed, { command: CMD.TRIM, length: 512 }, EPERM],
	];
	for (const [who, fields, error] of cases)
		t.equal(
			(await who.ask({ cookie: 3, ...fields })).error,
			error,
			JSON.stringify(fields, (_, value) => (typeof value === "bigint" ? `${value}` : value)),
		);
	t.equal((await fixed.ask({ command: CMD.FLUSH })).error, 0, "there is nothing to flush");
	t.equal((await client.ask({ command: CMD.WRITE, data })).error, 0, "and all goes on");
	t.match(it.disk.calls, { write: 1, zero: 0 });
	const refused = await client.ask({ command: CMD.READ, offset: MIB, length: 1 });
	t.match(refused.chunks![0], { type: 0x8001, flags: 1 });
	t.equal(refused.chunks![0].data.toString("utf8", 6), "invalid request", "with words");
});

t.test("an Image that fails", async (t) => {
	const it = await served(t, { size: 8 * MIB });
	const client = await go(t, it, "disk", { contexts: ["base:allocation"] });
	const plain = await go(t, it, "disk", { structured: false });
	const data = Buffer.alloc(512, 1);
	for (const [code, error] of [
		["EIO", EIO],
		["ECORRUPT", EIO],
		["ENOSPC", ENOSPC],
	] as const) {
		it.disk.fail(code);
		for (const mode of ["sync", "async"] as const) {
			it.disk.mode = mode;
			t.equal((await client.ask({ command: CMD.READ, length: 512 })).error, error);
			t.equal((await client.ask({ command: CMD.READ, length: 5 * MIB })).error, error);
			t.equal((await plain.ask({ command: CMD.READ, length: 512 })).error, error);
		}
		t.equal((await client.ask({ command: CMD.WRITE, data })).error, error);
		t.equal((await client.ask({ command: CMD.WRITE, data: Buffer.alloc(3 * MIB, 1) })).error, error);
		t.equal((await client.ask({ command: CMD.FLUSH })).error, error);
		t.equal((await client.ask({ command: CMD.ZEROES, length: 512 })).error, error);
	}
	it.disk.failure = undefined;
	it.disk.mode = "sync";
	t.equal((await client.ask({ command: CMD.WRITE, data })).error, 0, "the connection goes on");
	it.disk.fail("ECLOSED");
	client.send(request({ command: CMD.READ, length: 512 }));
	await client.closed;
	t.match(it.logs, [/no longer served/], "what is gone for good ends its connections");
});

t.test("requests overtake one another, and are answered before the end", async (t) => {
	const it = await served(t);
	it.disk.mode = "sync";
	const client = await go(t, it);
	let open = () => {};
	it.disk.gate = new Promise<void>((resolve) => {
		open = resolve;
	});
	client.send(request({ command: CMD.WRITE, cookie: 1, data: Buffer.alloc(512, 4) }));
	while (it.disk.calls.write === 0) await new Promise((resolve) => setImmediate(resolve));
	it.disk.gate = undefined;
	t.equal((await client.ask({ command: CMD.READ, cookie: 2, length: 512 })).cookie, 2n);
	client.send(request({ command: CMD.READ, cookie: 3, length: 512 }), request({ command: CMD.DISC }));
	t.equal((await client.reply()).cookie, 3n);
	t.notOk(client.ended, "the write is still under way");
	open();
	t.equal((await client.reply()).cookie, 1n);
	await client.closed;
	t.equal(it.open(), 0);
});

t.test("a thousand requests in one piece", async (t) => {
	const it = await served(t);
	const client = await go(t, it);
	const count = 1000;
	client.send(
		...Array.from({ length: count }, (_, n) =>
			request({ command: CMD.WRITE, cookie: n, offset: n * 1024, data: Buffer.alloc(1024, n % 251) }),
		),
	);
	const seen = new Set<bigint>();
	for (let n = 0; n < count; n++) seen.add((await client.reply()).cookie);
	t.equal(seen.size, count);
	client.send(
		...Array.from({ length: count }, (_, n) =>
			request({ command: CMD.READ, cookie: n, offset: n * 1024, length: 1024 }),
		),
	);
	for (let n = 0; n < count; n++) {
		const reply = await client.reply();
		const at = Number(reply.cookie);
		if (!assemble(reply, at * 1024, 1024).equals(Buffer.alloc(1024, at % 251))) t.fail(`request ${at}`);
	}
});

t.test("the server ends: what is in flight is answered", async (t) => {
	const it = await served(t);
	let open = () => {};
	it.disk.gate = new Promise<void>((resolve) => {
		open = resolve;
	});
	const client = await go(t, it);
	client.send(request({ command: CMD.WRITE, cookie: 1, data: Buffer.alloc(512, 4) }));
	while (it.disk.calls.write === 0) await new Promise((resolve) => setImmediate(resolve));
	const closed = it.server.close();
	setTimeout(open, 50);
	t.match(await client.reply(), { cookie: 1n, error: 0 });
	await client.closed;
	await closed;
});
