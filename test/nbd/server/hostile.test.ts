/** Clients that mean harm: they say nothing for ever, promise much, ask and never read. Whoever behaves is served meanwhile. */
import { setTimeout as pause } from "node:timers/promises";
import t from "tap";
import { assemble, infoRequest, option, RawClient, request, u32 } from "./raw-client.js";
import { served } from "./served.js";

const MIB = 1024 * 1024;
const [READ, WRITE, LIST] = [0, 1, 3];

t.test("who does not choose an export in time is closed", async (t) => {
	const { socket, logs } = await served(t, { limits: { handshakeTimeout: 300 } });
	const silent = await RawClient.connect(t, socket);
	const slow = await RawClient.connect(t, socket);
	await slow.greet();
	const timer = setInterval(() => slow.send(option(LIST)), 20);
	t.teardown(() => clearInterval(timer));
	const good = await (await RawClient.connect(t, socket)).go("disk");
	await Promise.all([silent.closed, slow.closed]);
	t.match(logs, [/did not choose an export in time/, /did not choose an export in time/]);
	t.equal((await good.ask({ command: READ, length: 512 })).error, 0, "who has chosen stays");
	await pause(400);
	t.notOk(good.ended, "also when it has nothing to say");
});

t.test("a client that asks for lists and does not read them", async (t) => {
	const { socket, server } = await served(t);
	const greedy = await RawClient.connect(t, socket);
	await greedy.greet();
	greedy.socket.pause();
	const before = process.memoryUsage().rss;
	const lists = Buffer.concat(Array.from({ length: 1000 }, () => option(LIST)));
	for (let n = 0; n < 300; n++) greedy.socket.write(lists);
	const good = await (await RawClient.connect(t, socket)).go("disk");
	for (let n = 0; n < 20; n++) {
		t.equal((await good.ask({ command: READ, length: 4096 })).error, 0);
		await pause(10);
	}
	t.ok(server.totals.connections === 2);
	// The client's own queue is in this process, too.
	t.ok(process.memoryUsage().rss - before < 64 * MIB, "memory stays");
});

t.test("a request that does not arrive in time", async (t) => {
	const { socket, logs } = await served(t, { limits: { requestTimeout: 200, sweepInterval: 20 } });
	const half = await (await RawClient.connect(t, socket)).go("disk");
	half.send(request({ command: READ, length: 512 }).subarray(0, 20));
	const promised = await (await RawClient.connect(t, socket)).go("disk");
	promised.send(request({ command: WRITE, length: MIB }), Buffer.alloc(1000));
	const good = await (await RawClient.connect(t, socket)).go("disk");
	await Promise.all([half.closed, promised.closed]);
	t.match(logs, [/a request did not arrive in time/, /a request did not arrive in time/]);
	t.equal((await good.ask({ command: READ, length: 512 })).error, 0, "who only says nothing stays");
});

t.test("what is no request, and a write of 4 GiB", async (t) => {
	const { socket, logs, open } = await served(t);
	for (const [bytes, why] of [
		[request({ command: READ, length: 512, magic: 0x25609514 }), /no request/],
		[request({ command: WRITE, length: 0xffffffff }), /a write of 4294967295 bytes/],
		[request({ command: WRITE, length: 32 * MIB + 1 }), /a write of 33554433 bytes/],
	] as const) {
		const client = await (await RawClient.connect(t, socket)).go("disk");
		client.send(bytes);
		await client.closed;
		t.match(logs.pop(), why);
	}
	t.equal(open(), 0);
});

t.test("a client that asks and does not read", async (t) => {
	const limits = { sendTimeout: 1500, sweepInterval: 50, totalBytes: 8 * MIB };
	for (const mode of ["sync", "async", "lend"] as const) {
		const it = await served(t, { size: 40 * MIB, limits });
		it.disk.mode = mode;
		it.disk.content.fill(1);
		const greedy = await Promise.all(
			Array.from({ length: 20 }, async () => (await RawClient.connect(t, it.socket)).go("disk")),
		);
		for (const client of greedy) {
			client.socket.pause();
			for (let n = 0; n < 200; n++) client.send(request({ command: READ, length: n % 10 === 0 ? 32 * MIB : MIB }));
		}
		const good = await (await RawClient.connect(t, it.socket)).go("disk");
		let most = 0;
		for (let n = 0; n < 50; n++) {
			const reply = await good.ask({ command: READ, offset: n * 4096, length: 4096 });
			t.ok(assemble(reply, n * 4096, 4096).equals(Buffer.alloc(4096, 1)));
			most = Math.max(most, it.server.totals.held);
			await pause(5);
		}
		t.ok(most < 120 * MIB, `${mode}: held at most ${Math.round(most / MIB)} MiB for ${greedy.length} greedy clients`);
		while (it.server.totals.connections > 1) await pause(20);
		t.equal(
			it.logs.filter((line) => /does not take its replies/.test(line)).length,
			greedy.length,
			"they are closed in time",
		);
		t.equal((await good.ask({ command: READ, length: 512 })).error, 0);
		t.equal(it.disk.lent, 0);
		t.equal(it.server.totals.held, 0);
	}
});

t.test("no more in flight than allowed", async (t) => {
	const it = await served(t, { limits: { inFlight: 10 } });
	const client = await (await RawClient.connect(t, it.socket)).go("disk");
	let open = () => {};
	it.disk.gate = new Promise<void>((resolve) => {
		open = resolve;
	});
	client.send(...Array.from({ length: 100 }, (_, n) => request({ command: READ, cookie: n, length: 512 })));
	await pause(100);
	t.equal(it.disk.calls.read, 10);
	it.disk.gate = undefined;
	open();
	for (let n = 0; n < 100; n++) t.equal((await client.reply()).error, 0);
	t.equal(it.disk.calls.read, 100);
});

t.test("strangers get little, and the others their places", async (t) => {
	let known = false;
	const it = await served(t, {
		limits: { strangers: 3, perStranger: 2, connections: 4, perAddress: 3 },
		identify: () => ({ address: known ? "friend" : "stranger", known }),
	});
	const connect = () => RawClient.connect(t, it.socket);
	const strangers = [await connect(), await connect()];
	for (const stranger of strangers) await stranger.greet();
	t.match(await strangers[0].option(LIST), [{ type: 1 }], "a stranger sees nothing");
	t.match(await strangers[1].option(7, infoRequest("disk")), [{ type: 0x80000006 }], "nor opens it");
	await (await connect()).closed;
	t.equal(it.server.totals.refused, 1);
	known = true;
	const friends = [await connect(), await connect(), await connect()];
	for (const friend of friends) await friend.go("disk");
	await (await connect()).closed;
	t.equal(it.server.totals.refused, 2, "each address has its bound");
	friends[0].socket.destroy();
	while (it.server.totals.connections > 4) await pause(5);
	await (await connect()).go("disk");
});

t.test("connections that are cut off at any byte leave nothing behind", async (t) => {
	const it = await served(t);
	const all = Buffer.concat([
		u32(3),
		option(8),
		option(7, Buffer.concat([u32(4), Buffer.from("disk"), Buffer.alloc(2)])),
		request({ command: WRITE, data: Buffer.alloc(300, 1) }),
		request({ command: READ, length: 4096 }),
	]);
	for (let length = 0; length <= all.length; length += length < 120 ? 1 : 17) {
		const client = await RawClient.connect(t, it.socket);
		client.send(all.subarray(0, length));
		if (length % 2 === 0) client.socket.end();
		else setImmediate(() => client.socket.destroy());
		await new Promise((resolve) => client.socket.once("close", resolve));
	}
	while (it.server.totals.connections > 0) await pause(5);
	t.equal(it.open(), 0);
	t.equal(it.server.totals.held, 0);
});
