/** RPC over TCP as bytes: fragments, batches, limits, every refusal of RFC 5531. */
import t from "tap";
import { MOUNT, NFS, P } from "./nfs-client.js";
import { authSys, decodeReply, encodeCall, mark, RawClient, xdr } from "./raw-client.js";
import { served } from "./served.js";

const NOTHING = Buffer.alloc(0);
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

t.test("a record over many segments, byte by byte", async (t) => {
	const { connect } = await served(t);
	const { raw } = await connect();
	raw.socket.setNoDelay(true);
	for (const byte of mark(encodeCall(NFS, 3, P.NULL, NOTHING, { xid: 77 }))) {
		raw.send(Buffer.from([byte]));
		await new Promise(setImmediate);
	}
	t.match(decodeReply(await raw.next()), { xid: 77, replyStat: 0, stat: 0 });
});

t.test("many records in one segment are answered in order", async (t) => {
	const { fileSystem, server, connect } = await served(t);
	const file = fileSystem.file("/springback/one/a", Buffer.alloc(10_000, 7));
	const { raw } = await connect();
	const read = (index: number) => xdr().opaque(file.handle).u64(index).u32(5).done();
	const calls = Array.from({ length: 300 }, (_, xid) => mark(encodeCall(NFS, 3, P.READ, read(xid), { xid })));
	const before = server.stats.batches;
	raw.send(Buffer.concat(calls));
	for (let xid = 0; xid < 300; xid++) {
		const reply = decodeReply(await raw.next());
		t.equal(reply.xid, xid);
		t.equal(reply.body.bytes.length % 4, 0);
	}
	t.ok(server.stats.batches - before < 20, "few batches");
});

t.test("fragments", async (t) => {
	const { fileSystem, connect } = await served(t);
	const file = fileSystem.file("/springback/one/a");
	const client = await connect();
	const options = { fragments: [1, 3, 0, 20, 7, 50] };
	t.equal((await client.reply(P.GETATTR, xdr().opaque(file.handle).done(), options)).body.u32(), 0);
	const data = Buffer.alloc(500_000, 0x61);
	const write = xdr().opaque(file.handle).u64(3).u32(data.length, 2).opaque(data).done();
	for (const fragments of [[100_000, 5, 300_000], [400_000]]) {
		t.equal((await client.reply(P.WRITE, write, { fragments })).body.u32(), 0);
	}
	t.ok(file.content().subarray(3).equals(data));
	t.equal((await client.reply(P.NULL, NOTHING)).stat, 0);
});

t.test("a record beyond the limit ends the connection, and nothing else", async (t) => {
	const { server, logs } = await served(t);
	for (const length of [0x7fff_ffff, 0x8000_0000 + 0x7fff_ffff, 0x8000_0000 + 1024 * 1024 + 4097]) {
		const raw = await RawClient.connect(server.nfsPort);
		raw.send(xdr().u32(length).done());
		await raw.closed;
	}
	t.match(logs[0], /^connection from 127\.0\.0\.1 closed: record of 2147483647 bytes, the limit is 1052672$/);
	t.equal(logs.length, 3);
	const raw = await RawClient.connect(server.nfsPort);
	t.equal((await raw.call(NFS, 3, P.NULL, NOTHING)).stat, 0);
	raw.send(Buffer.concat(Array.from({ length: 5000 }, () => xdr().u32(0).done())));
	await raw.closed;
	t.match(logs[3], /fragments/);
});

t.test("the sum of fragments counts", async (t) => {
	const { server } = await served(t);
	const raw = await RawClient.connect(server.nfsPort);
	const part = Buffer.concat([xdr().u32(600_000).done(), Buffer.alloc(600_000)]);
	raw.send(Buffer.concat([part, part]));
	await raw.closed;
	t.pass("closed");
});

t.test("a request that trickles in is cut off, an idle connection is not", async (t) => {
	const { server, logs } = await served(t, { limits: { recordTimeout: 50, sweepInterval: 20 } });
	const idle = await RawClient.connect(server.nfsPort);
	const slow = await RawClient.connect(server.nfsPort);
	slow.socket.setNoDelay(true);
	slow.send(xdr().u32(0x8000_0064).done());
	const timer = setInterval(() => slow.send(Buffer.from([0])), 20);
	await slow.closed;
	clearInterval(timer);
	t.match(logs[0], /a request did not arrive in time/);
	t.equal((await idle.call(NFS, 3, P.NULL, NOTHING)).stat, 0);
	idle.close();
});

t.test("refusals", async (t) => {
	const { server, connect } = await served(t);
	const { raw } = await connect();
	const mismatch = await raw.call(NFS, 3, P.NULL, NOTHING, { rpcVersion: 3 });
	t.match(mismatch, { replyStat: 1, stat: 0 });
	t.same([mismatch.body.u32(), mismatch.body.u32(), mismatch.body.left], [2, 2, 0]);
	t.match(await raw.call(100021, 4, 0, NOTHING), { replyStat: 0, stat: 1 }, "PROG_UNAVAIL");
	for (const [program, version, low, high] of [
		[NFS, 2, 3, 3],
		[NFS, 4, 3, 3],
		[MOUNT, 4, 1, 3],
	]) {
		const reply = await raw.call(program, version, 0, NOTHING);
		t.match(reply, { replyStat: 0, stat: 2 }, "PROG_MISMATCH");
		t.same([reply.body.u32(), reply.body.u32(), reply.body.left], [low, high, 0]);
	}
	t.match(await raw.call(NFS, 3, 22, NOTHING), { replyStat: 0, stat: 3 }, "PROC_UNAVAIL");
	t.match(await raw.call(NFS, 3, 0xffff_ffff, NOTHING), { replyStat: 0, stat: 3 });
	t.match(await raw.call(NFS, 3, P.GETATTR, NOTHING), { replyStat: 0, stat: 4 }, "GARBAGE_ARGS");
	t.match(await raw.call(NFS, 3, P.GETATTR, xdr().u32(65).raw(Buffer.alloc(65)).done()), { stat: 4 });
	t.ok(server.stats.malformed >= 7);
});

t.test("credentials", async (t) => {
	const { fileSystem, connect } = await served(t);
	const client = await connect();
	const { raw } = client;
	const root = await client.root();
	const create = (name: string, credential: Buffer) =>
		client.create(root, name, "unchecked", undefined, { credential });
	t.match((await create("a", authSys(5, 6, [7, 8]))).attributes, { uid: 5, gid: 6 });
	t.match((await create("b", authSys(0, 0))).attributes, { uid: 0, gid: 0 }, "root is not squashed");
	t.match((await create("c", xdr().u32(0, 0).done())).attributes, { uid: 65534 }, "AUTH_NONE is nobody");
	t.match((await create("d", authSys(5, 6, [7, 8]))).attributes, { uid: 5 });
	const denied = async (credential: Buffer, authStat: number) => {
		const reply = await raw.call(NFS, 3, P.NULL, NOTHING, { credential });
		t.match(reply, { replyStat: 1, stat: 1 });
		t.equal(reply.body.u32(), authStat);
	};
	await denied(xdr().u32(6).opaque("gss").done(), 1);
	await denied(xdr().u32(1).opaque("").done(), 1);
	await denied(
		authSys(
			1,
			1,
			Array.from({ length: 17 }, () => 1),
		),
		1,
	);
	const long = xdr().u32(1).opaque(Buffer.alloc(401)).done();
	t.equal((await raw.call(NFS, 3, P.NULL, NOTHING, { credential: long })).stat, 4);
	t.equal(fileSystem.changes, 4);
});

t.test("what is no call ends the connection", async (t) => {
	const { server } = await served(t);
	for (const record of [xdr().u32(1, 1, 0).done(), xdr().u32(1).done(), NOTHING]) {
		const raw = await RawClient.connect(server.nfsPort);
		raw.send(mark(record));
		await raw.closed;
	}
	t.pass("closed");
});

t.test("replies that are ready are sent although the client has stopped sending", async (t) => {
	const { fileSystem, connect } = await served(t);
	const file = fileSystem.file("/springback/one/a", Buffer.from("x"));
	fileSystem.behaviour.asynchronous = true;
	const { raw } = await connect();
	raw.send(mark(encodeCall(NFS, 3, P.READ, xdr().opaque(file.handle).u64(0).u32(1).done(), { xid: 5 })));
	raw.socket.end();
	t.match(decodeReply(await raw.next()), { xid: 5, stat: 0 });
	await raw.closed;
});

t.test("a client that does not read is waited for, within bounds, and loses nothing", async (t) => {
	const { fileSystem, server } = await served(t, { limits: { batchBytes: 1024 * 1024 } });
	let released = 0;
	fileSystem.behaviour.onRelease = () => released++;
	const file = fileSystem.file("/springback/one/a", Buffer.alloc(1024 * 1024, 3));
	const raw = await RawClient.connect(server.nfsPort);
	raw.socket.pause();
	const args = xdr()
		.opaque(file.handle)
		.u64(0)
		.u32(1024 * 1024)
		.done();
	const calls = Array.from({ length: 100 }, (_, xid) => mark(encodeCall(NFS, 3, P.READ, args, { xid })));
	raw.send(Buffer.concat(calls));
	await pause(200);
	const read = server.stats.procedure("NFS READ");
	t.ok(read.calls < 60, `${read.calls} carried out`);
	t.ok(server.stats.unsentBytes <= 2 * 1024 * 1024 + 4096, `${server.stats.unsentBytes} bytes unsent`);
	raw.socket.resume();
	for (let xid = 0; xid < 100; xid++) t.equal(decodeReply(await raw.next()).xid, xid);
	t.equal(released, 100);
	t.equal(server.stats.unsentBytes, 0);
	raw.close();
});

t.test("a connection that asks for much does not make another one wait", async (t) => {
	const { fileSystem, server } = await served(t, { limits: { batchBytes: 4096 } });
	const file = fileSystem.file("/springback/one/a", Buffer.alloc(4096, 3));
	for (const asynchronous of [false, true]) {
		fileSystem.behaviour.asynchronous = asynchronous;
		const [greedy, other] = [await RawClient.connect(server.nfsPort), await RawClient.connect(server.nfsPort)];
		const args = xdr().opaque(file.handle).u64(0).u32(4096).done();
		greedy.send(
			Buffer.concat(Array.from({ length: 200 }, (_, xid) => mark(encodeCall(NFS, 3, P.READ, args, { xid })))),
		);
		other.send(mark(encodeCall(NFS, 3, P.NULL, NOTHING, { xid: 7 })));
		let answered = 0;
		const all = (async () => {
			for (let xid = 0; xid < 200; xid++, answered++) t.equal(decodeReply(await greedy.next()).xid, xid);
		})();
		t.equal(decodeReply(await other.next()).xid, 7);
		t.ok(answered < 200, `${answered} of 200 replies before it`);
		await all;
		t.equal(server.stats.unsentBytes, 0);
		greedy.close();
		other.close();
	}
});

t.test("a connection whose requests take long does not make another one wait for all of them", async (t) => {
	const { fileSystem, server } = await served(t);
	const file = fileSystem.file("/springback/one/a", Buffer.alloc(4096, 3));
	const [greedy, other] = [await RawClient.connect(server.nfsPort), await RawClient.connect(server.nfsPort)];
	const args = xdr().opaque(file.handle).u64(0).u32(1).done();
	let carriedOut = 0;
	// Each keeps the thread for 2 ms: all of them arrive in one piece, and so does the other one's request meanwhile.
	const read = file.read.bind(file);
	file.read = (offset, count) => {
		if (carriedOut++ === 0) other.send(mark(encodeCall(NFS, 3, P.NULL, NOTHING, { xid: 7 })));
		for (const until = performance.now() + 2; performance.now() < until; );
		return read(offset, count);
	};
	greedy.send(Buffer.concat(Array.from({ length: 100 }, (_, xid) => mark(encodeCall(NFS, 3, P.READ, args, { xid })))));
	const all = (async () => {
		for (let xid = 0; xid < 100; xid++) t.equal(decodeReply(await greedy.next()).xid, xid, "in order");
	})();
	t.equal(decodeReply(await other.next()).xid, 7);
	t.ok(carriedOut < 50, `${carriedOut} of 100 carried out before it`);
	await all;
	t.equal(carriedOut, 100);
	greedy.close();
	other.close();
});

t.test("slices are given back when the client is gone", async (t) => {
	const { fileSystem, server } = await served(t);
	let released = 0;
	fileSystem.behaviour.onRelease = () => released++;
	const file = fileSystem.file("/springback/one/a", Buffer.alloc(1024 * 1024, 3));
	const raw = await RawClient.connect(server.nfsPort);
	raw.socket.pause();
	const args = xdr()
		.opaque(file.handle)
		.u64(0)
		.u32(1024 * 1024)
		.done();
	raw.send(Buffer.concat(Array.from({ length: 50 }, (_, xid) => mark(encodeCall(NFS, 3, P.READ, args, { xid })))));
	await pause(100);
	raw.close();
	for (let wait = 0; wait < 100 && server.stats.connections > 0; wait++) await pause(10);
	await pause(20);
	t.equal(server.stats.connections, 0);
	t.equal(released, server.stats.procedure("NFS READ").calls);
	t.equal(server.stats.unsentBytes, 0);
});

t.test("the data of a WRITE in flight stays as it is while more arrives", async (t) => {
	const { fileSystem, connect } = await served(t);
	const file = fileSystem.file("/springback/one/a");
	let open = (): void => {};
	const opened = new Promise<void>((resolve) => {
		open = resolve;
	});
	fileSystem.behaviour.gate = () => opened;
	const { raw } = await connect();
	const COUNT = 60;
	const size = (index: number) => (index % 7 === 0 ? 300_000 : 4096);
	for (let index = 0; index < COUNT; index++) {
		const data = Buffer.alloc(size(index), index + 1);
		const args = xdr()
			.opaque(file.handle)
			.u64(index * 300_000)
			.u32(data.length, 2)
			.opaque(data)
			.done();
		raw.send(mark(encodeCall(NFS, 3, P.WRITE, args, { xid: index })));
	}
	await pause(100);
	open();
	for (let index = 0; index < COUNT; index++) await raw.next();
	const content = file.content();
	for (let index = 0; index < COUNT; index++) {
		const part = content.subarray(index * 300_000, index * 300_000 + size(index));
		t.ok(
			part.every((byte) => byte === index + 1),
			`write ${index}`,
		);
	}
});

t.test("requests in flight are bounded in number and bytes", async (t) => {
	const { fileSystem, server, connect } = await served(t, { limits: { inFlight: 10, inFlightBytes: 1_000_000 } });
	const file = fileSystem.file("/springback/one/a");
	let started = 0;
	let open = (): void => {};
	const opened = new Promise<void>((resolve) => {
		open = resolve;
	});
	fileSystem.behaviour.gate = () => {
		started++;
		return opened;
	};
	const { raw } = await connect();
	const send = (count: number, bytes: number) => {
		const args = xdr().opaque(file.handle).u64(0).u32(bytes, 2).opaque(Buffer.alloc(bytes)).done();
		raw.send(Buffer.concat(Array.from({ length: count }, () => mark(encodeCall(NFS, 3, P.WRITE, args)))));
	};
	send(50, 100);
	await pause(50);
	t.equal(started, 10);
	open();
	for (let index = 0; index < 50; index++) await raw.next();
	t.equal(started, 50);
	t.equal(server.stats.procedure("NFS WRITE").calls, 50);
});

t.test("too many connections from one address are refused, and counted", async (t) => {
	const { server } = await served(t);
	const clients = await Promise.all(Array.from({ length: 260 }, () => RawClient.connect(server.nfsPort)));
	for (let wait = 0; wait < 200 && server.stats.connectionsRefused < 4; wait++) await pause(10);
	t.equal(server.stats.connectionsRefused, 4);
	t.equal(server.stats.connections, 256);
	for (const client of clients) client.close();
});

t.test("closing answers what is in flight", async (t) => {
	const { fileSystem, server, connect } = await served(t);
	const file = fileSystem.file("/springback/one/a");
	let open = (): void => {};
	const opened = new Promise<void>((resolve) => {
		open = resolve;
	});
	fileSystem.behaviour.gate = () => opened;
	const { raw } = await connect();
	const args = xdr().opaque(file.handle).u64(0).u32(3, 2).opaque("abc").done();
	raw.send(mark(encodeCall(NFS, 3, P.WRITE, args, { xid: 9 })));
	await pause(50);
	const closed = server.close();
	open();
	t.match(decodeReply(await raw.next()), { xid: 9, stat: 0 });
	await raw.closed;
	await closed;
	t.equal(file.content().toString(), "abc");
});
