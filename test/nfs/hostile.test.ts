/**
 * Clients that mean harm: they send for ever and say nothing, hold connections, ask and never read, ask from where they
 * may not. Whoever behaves must be served meanwhile.
 */
import { createSocket } from "node:dgram";
import { setTimeout as pause } from "node:timers/promises";
import t, { type Test } from "tap";
import { MOUNT, NFS, NfsClient, P, PORTMAP } from "./nfs-client.js";
import { decodeReply, encodeCall, mark, RawClient, xdr } from "./raw-client.js";
import { served } from "./served.js";

const NOTHING = Buffer.alloc(0);
const MIB = 2 ** 20;
/** Within this time whoever behaves is answered. */
const PATIENCE = 20_000;

function open(t: Test, port: number, localAddress?: string): Promise<RawClient> {
	return RawClient.connect(port, "127.0.0.1", undefined, localAddress).then((raw) => {
		t.teardown(() => raw.close());
		return raw;
	});
}

const within = async <T>(promise: Promise<T>): Promise<T> => {
	const controller = new AbortController();
	const late = pause(PATIENCE, undefined, { signal: controller.signal }).then(() => {
		throw new Error("no answer");
	});
	try {
		return await Promise.race([promise, late]);
	} finally {
		controller.abort();
		late.catch(() => undefined);
	}
};

t.test("fragments that never end, each of them in time", async (t) => {
	const { server, logs, connect } = await served(t, { limits: { recordTimeout: 200, sweepInterval: 20 } });
	const endless = await open(t, server.nfsPort);
	endless.socket.setNoDelay(true);
	const fragment = Buffer.concat([xdr().u32(1).done(), Buffer.from([0])]);
	const timer = setInterval(() => endless.send(fragment), 10);
	const client = await connect();
	t.equal((await within(client.mount("/springback/one"))).status, 0);
	await within(endless.closed);
	clearInterval(timer);
	t.match(logs, [/a request did not arrive in time/]);
});

t.test("a fragment after a whole call does not buy time for the next one", async (t) => {
	const { server, logs } = await served(t, { limits: { recordTimeout: 200, sweepInterval: 20 } });
	const raw = await open(t, server.nfsPort);
	const call = mark(encodeCall(NFS, 3, P.NULL, NOTHING, { xid: 1 }));
	raw.send(
		Buffer.concat([
			call,
			xdr()
				.u32(0x8000_0000 + 100)
				.done(),
		]),
	);
	t.equal(decodeReply(await raw.next()).stat, 0);
	await within(raw.closed);
	t.match(logs, [/a request did not arrive in time/]);
});

t.test("a crowd of slow senders holds nobody up and goes", async (t) => {
	const { fileSystem, server, connect } = await served(t, { limits: { recordTimeout: 300, sweepInterval: 50 } });
	const file = fileSystem.file("/springback/one/a", Buffer.from("content"));
	const client = await connect();
	const crowd = await Promise.all(Array.from({ length: 200 }, () => open(t, server.nfsPort)));
	// Each promises a megabyte and sends a little of it from time to time.
	for (const { socket } of crowd)
		socket.write(
			xdr()
				.u32(0x8000_0000 + MIB)
				.done(),
		);
	let sent = 0;
	const timer = setInterval(() => {
		for (const { socket } of crowd) if (!socket.destroyed) sent += socket.write(Buffer.alloc(64)) ? 1 : 0;
	}, 20);
	t.equal((await within(client.read(file.handle, 0, 7))).data.toString(), "content");
	await within(Promise.all(crowd.map(({ closed }) => closed)));
	clearInterval(timer);
	t.ok(sent > 0);
	t.equal((await within(client.read(file.handle, 0, 7))).data.toString(), "content");
	t.equal(server.stats.connections, 1);
});

t.test("a thousand idle connections, of peers that may mount nothing, leave room", async (t) => {
	const { fileSystem, server, connect } = await served(t);
	for (const entry of fileSystem.exported) entry.clients = ["127.0.0.1"];
	const idle: RawClient[] = [];
	for (let n = 0; n < 1000; n++) idle.push(await open(t, server.nfsPort, `127.0.1.${1 + (n % 100)}`));
	for (let wait = 0; wait < 500 && server.stats.connectionsRefused < 1000 - 128; wait++) await pause(10);
	t.equal(server.stats.connectionsRefused, 1000 - 128);
	t.equal(server.stats.connections, 128);
	const clients = await Promise.all(Array.from({ length: 100 }, () => connect()));
	const statuses = await within(Promise.all(clients.map((client) => client.mount("/springback/one"))));
	t.same(new Set(statuses.map(({ status }) => status)), new Set([0]), "a hundred that may are all served");
});

t.test("one stranger's connections are few, and its records small", async (t) => {
	const { fileSystem, server, logs } = await served(t);
	for (const entry of fileSystem.exported) entry.clients = ["127.0.0.1"];
	const crowd = await Promise.all(Array.from({ length: 20 }, () => open(t, server.nfsPort, "127.0.1.1")));
	for (let wait = 0; wait < 200 && server.stats.connectionsRefused < 4; wait++) await pause(10);
	t.equal(server.stats.connectionsRefused, 4);
	const one = crowd.find(({ socket }) => !socket.destroyed)!;
	const mount = await one.call(MOUNT, 3, 1, xdr().opaque("/springback/one").done());
	t.equal(mount.body.u32(), 13, "it is told that it may not");
	one.send(
		xdr()
			.u32(0x8000_0000 + 20_000)
			.done(),
	);
	await within(one.closed);
	t.match(logs, [/closed: record of 20000 bytes, the limit is 16384/]);
});

t.test("clients that ask for megabytes and never read cost their own quota only", async (t) => {
	const { fileSystem, server, connect } = await served(t, { limits: { batchBytes: 256 * 1024, unsentBytes: 2 * MIB } });
	const file = fileSystem.file("/springback/one/a", Buffer.alloc(MIB, 3));
	const args = xdr().opaque(file.handle).u64(0).u32(MIB).done();
	const calls = Buffer.concat(Array.from({ length: 50 }, (_, xid) => mark(encodeCall(NFS, 3, P.READ, args, { xid }))));
	const greedy = await Promise.all(Array.from({ length: 40 }, () => open(t, server.nfsPort)));
	for (const raw of greedy) {
		raw.socket.pause();
		raw.send(calls);
	}
	for (let last = -1; last !== server.stats.unsentBytes; await pause(100)) last = server.stats.unsentBytes;
	// A reply of a megabyte may complete a batch, and above the common limit each connection has one batch.
	const bound = greedy.length * (MIB + 256 * 1024);
	t.ok(server.stats.unsentBytes <= bound, `${server.stats.unsentBytes} bytes unsent`);
	const client = await connect();
	for (let n = 0; n < 20; n++) {
		const { status, data } = await within(client.read(file.handle, n * 512, 4096));
		t.match({ status, first: data[0] }, { status: 0, first: 3 });
	}
	// What the kernel takes for each, up to some megabytes, and the batch behind it.
	const carriedOut = server.stats.procedure("NFS READ").calls - 20;
	t.ok(carriedOut < 25 * greedy.length, `${carriedOut} of ${50 * greedy.length} carried out`);
	for (const raw of greedy) raw.close();
	for (let wait = 0; wait < 300 && server.stats.connections > 1; wait++) await pause(10);
	t.equal(server.stats.unsentBytes, 0);
});

t.test("portmap takes no orders, over TCP or UDP, from strangers or friends", async (t) => {
	const { fileSystem, server } = await served(t, { portmap: "own", portmapPort: 0 });
	const raw = await open(t, server.portmapPort!);
	const socket = createSocket("udp4");
	t.teardown(() => socket.close());
	const overUdp = (version: number, procedure: number, args: Buffer) =>
		new Promise<ReturnType<typeof decodeReply>>((resolve) => {
			socket.once("message", (message) => resolve(decodeReply(message)));
			socket.send(encodeCall(PORTMAP, version, procedure, args), server.portmapPort!, "127.0.0.1");
		});
	const overTcp = (version: number, procedure: number, args: Buffer) => raw.call(PORTMAP, version, procedure, args);
	const mapping = xdr().u32(NFS, 3, 6, 4711).done();
	const rpcb = xdr().u32(NFS, 3).opaque("tcp").opaque("127.0.0.1.18.103").opaque("root").done();
	const callit = xdr().u32(NFS, 3, 0).opaque("").done();
	for (const who of ["friends", "strangers"]) {
		for (const ask of [overTcp, overUdp]) {
			for (const procedure of [1, 2]) {
				t.match((await within(ask(2, procedure, mapping))).body.u32(), 0, `${who}: SET and UNSET of version 2`);
				for (const version of [3, 4])
					t.equal((await within(ask(version, procedure, rpcb))).body.u32(), 0, `${who}: of version ${version}`);
			}
			for (const [version, procedure] of [...[2, 3, 4].map((one) => [one, 5] as const), [4, 10]])
				t.equal((await within(ask(version, procedure, callit))).stat, 3, `${who}: CALLIT, BCAST, INDIRECT`);
		}
		const port = (await overTcp(2, 3, xdr().u32(NFS, 3, 6, 0).done())).body.u32();
		t.equal(port, who === "friends" ? server.nfsPort : 0, "and what was registered stays");
		for (const entry of fileSystem.exported) entry.clients = ["192.0.2.1"];
	}
	const client = await NfsClient.connect(server.nfsPort);
	t.equal((await client.mount("/springback/one")).status, 13);
	client.close();
});
