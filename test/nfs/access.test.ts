/** Allow-lists, and on loopback the owner of the peer's socket. */
import { spawn } from "node:child_process";
import { connect, createServer, type Socket } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import t from "tap";
import { socketOwner } from "../../native/index.js";
import { inNetwork, isLoopback, parseAddress, plainAddress } from "../../src/nfs/access/address.js";
import { admits } from "../../src/nfs/access/admission.js";
import { connectionOwner, ownerInTable } from "../../src/nfs/access/proc-net.js";
import { startNfsServer } from "../../src/nfs/server.js";
import { MemoryFileSystem } from "./memory-fs.js";
import { MOUNT, P } from "./nfs-client.js";
import { encodeCall, mark, xdr } from "./raw-client.js";
import { served } from "./served.js";

const inside = (address: string, network: string): boolean => inNetwork(parseAddress(address)!, network);

t.test("addresses and networks", async (t) => {
	for (const [address, network, expected] of [
		["10.1.2.3", "10.1.2.3", true],
		["10.1.2.3", "10.1.2.4", false],
		["10.1.2.3", "10.0.0.0/8", true],
		["11.1.2.3", "10.0.0.0/8", false],
		["10.1.2.3", "10.1.2.0/23", true],
		["10.1.4.3", "10.1.2.0/23", false],
		["10.1.2.3", "0.0.0.0/0", true],
		["::ffff:10.1.2.3", "10.1.0.0/16", true],
		["10.1.2.3", "::ffff:10.1.0.0/112", true],
		["10.2.2.3", "::ffff:10.1.0.0/112", false],
		["::1", "0.0.0.0/0", false],
		["::1", "::/0", true],
		["fe80::1%eth0", "fe80::/10", true],
		["2001:db8::5", "2001:db8::/64", true],
		["2001:db8:0:1::5", "2001:db8::/64", false],
		["10.1.2.3", "10.0.0.0/33", false],
		["10.1.2.3", "10.0.0.0/", false],
		["10.1.2.3", "10.0.0.0/8/8", false],
		["10.1.2.3", "*", false],
		["10.1.2.3", "", false],
	] as const) {
		t.equal(inside(address, network), expected, `${address} in ${network}`);
	}
	t.equal(plainAddress("::ffff:192.0.2.1"), "192.0.2.1");
	t.equal(plainAddress("2001:db8::1"), "2001:db8::1");
	t.ok(isLoopback(parseAddress("127.9.9.9")!));
	t.ok(isLoopback(parseAddress("::1")!));
	t.notOk(isLoopback(parseAddress("128.0.0.1")!));
	t.equal(parseAddress("localhost"), undefined);
});

t.test("on this machine the socket's owner decides as well", async (t) => {
	const entry = { path: "/springback", clients: ["127.0.0.1", "10.0.0.0/8"], readOnly: false, ownerUid: 1000 };
	const peer = (address: string, local: boolean, uid?: number) => ({
		address,
		bytes: parseAddress(address)!,
		port: 1,
		local,
		uid,
	});
	t.equal(admits(peer("127.0.0.1", true, 0), entry), true);
	t.equal(admits(peer("127.0.0.1", true, 1000), entry), true);
	t.equal(admits(peer("127.0.0.1", true, 1001), entry), false);
	t.equal(admits(peer("127.0.0.1", true, undefined), entry), false);
	t.equal(admits(peer("10.5.5.5", false), entry), true);
	t.equal(admits(peer("10.5.5.5", true, 1001), entry), false, "our own address from inside");
	t.equal(admits(peer("11.5.5.5", false), entry), false);
});

/** Sends calls as another user and returns what comes back. */
async function callsAs(uid: number, port: number, records: Buffer[]): Promise<Buffer> {
	const script = `
		const socket = require("node:net").connect(${port}, "127.0.0.1");
		const parts = [];
		socket.on("data", (data) => parts.push(data));
		socket.on("close", () => process.stdout.write(Buffer.concat(parts).toString("hex")));
		socket.end(Buffer.from("${Buffer.concat(records.map((record) => mark(record))).toString("hex")}", "hex"));`;
	// Through env -i: the test runner's hooks in Node children would write where this user may not.
	const child = spawn("env", ["-i", process.execPath, "-e", script], {
		uid,
		cwd: "/",
		stdio: ["ignore", "pipe", "inherit"],
	});
	let hex = "";
	for await (const part of child.stdout) hex += part;
	return Buffer.from(hex, "hex");
}

t.test("another user of this machine is refused, the owner is not", { skip: process.getuid?.() !== 0 }, async (t) => {
	const { fileSystem, server } = await served(t);
	const { handle } = fileSystem.file("/springback/one/a");
	fileSystem.exported[1].ownerUid = 1234;
	const records = [
		encodeCall(MOUNT, 3, 1, xdr().opaque("/springback/one").done()),
		encodeCall(100003, 3, P.GETATTR, xdr().opaque(handle).done()),
	];
	const statuses = async (uid: number) => {
		const bytes = await callsAs(uid, server.nfsPort, records);
		const first = bytes.readUInt32BE(0) - 0x8000_0000;
		return [bytes.readUInt32BE(28), bytes.readUInt32BE(4 + first + 28)];
	};
	t.same(await statuses(65534), [13, 13]);
	t.same(await statuses(1234), [0, 0]);
});

t.test("the owner of a connection, by netlink and by table", async (t) => {
	for (const [listen, host] of [
		["127.0.0.1", "127.0.0.1"],
		["::1", "::1"],
		["::", "127.0.0.1"],
	]) {
		const server = createServer();
		await new Promise<void>((resolve) => server.listen(0, listen, resolve));
		t.teardown(() => server.close());
		const { port } = server.address() as { port: number };
		const accepted = new Promise<Socket>((resolve) => server.once("connection", resolve));
		const client = connect(port, host);
		const socket = await accepted;
		const address = parseAddress(host)!;
		const peer = { address, port: socket.remotePort! };
		const own = { address, port };
		const uid = process.getuid?.();
		t.equal(connectionOwner(peer, own), uid, `${host} at ${listen}`);
		t.equal(ownerInTable(peer, own), uid, `${host} at ${listen}, by table`);
		t.equal(connectionOwner(own, { address, port: 1 }), undefined, "who listens there does not own a connection");
		t.equal(ownerInTable(own, { address, port: 1 }), undefined);
		client.destroy();
		socket.destroy();
		for (let wait = 0; wait < 200 && connectionOwner(peer, own) !== undefined; wait++) await pause(10);
		t.equal(connectionOwner(peer, own), undefined, "nor does anybody once it is closed");
	}
	t.throws(() => socketOwner(Buffer.alloc(5), 1, Buffer.alloc(5), 1), RangeError);
	t.throws(() => socketOwner(Buffer.alloc(4), 1, Buffer.alloc(16), 1), RangeError);
	t.throws(() => socketOwner(Buffer.alloc(4), 65536, Buffer.alloc(4), 1), RangeError);
});

t.test("a port in use is named with the process that has it", async (t) => {
	const holder = createServer();
	await new Promise<void>((resolve) => holder.listen(0, "127.0.0.1", resolve));
	t.teardown(() => holder.close());
	const { port } = holder.address() as { port: number };
	const options = {
		fileSystem: new MemoryFileSystem(),
		listen: "127.0.0.1",
		nfsPort: 0,
		mountPort: port,
		portmap: "off" as const,
		now: () => 0n,
		log: () => {},
	};
	await t.rejects(startNfsServer(options), {
		code: "EADDRINUSE",
		message: new RegExp(`^port ${port} on 127\\.0\\.0\\.1 \\(MOUNT\\) is in use by \\S.* \\(pid ${process.pid}\\): `),
	});
	await t.rejects(startNfsServer({ ...options, listen: "192.0.2.1" }), {
		code: "EADDRNOTAVAIL",
		message: "192.0.2.1 is no address of this machine: choose another to listen on",
	});
});

t.test("IPv6, and IPv4 through an IPv6 socket", async (t) => {
	const { fileSystem, server } = await served(t, { listen: "::", mountPort: 0 });
	const { NfsClient } = await import("./nfs-client.js");
	for (const host of ["::1", "127.0.0.1"]) {
		const client = await NfsClient.connect(server.nfsPort, {}, host);
		t.equal((await client.mount("/springback")).status, 0, host);
		client.close();
	}
	fileSystem.exported[0].clients = ["10.0.0.1"];
	fileSystem.exported[1].clients = ["10.0.0.1"];
	const client = await NfsClient.connect(server.nfsPort, {}, "127.0.0.1");
	t.equal((await client.mount("/springback")).status, 13);
	client.close();
});

t.test("one port for both programs", async (t) => {
	const probe = createServer();
	await new Promise<void>((resolve) => probe.listen(0, "127.0.0.1", resolve));
	const { port } = probe.address() as { port: number };
	await new Promise((resolve) => probe.close(resolve));
	const { server, connect } = await served(t, { nfsPort: port, mountPort: port });
	t.same([server.nfsPort, server.mountPort], [port, port]);
	const client = await connect();
	t.ok(await client.getattr(await client.root()));
});
