/** Portmap: our own over TCP and UDP, registration with another, and falling back. */
import { createSocket } from "node:dgram";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import { startNfsServer } from "../../src/nfs/server.js";
import { MemoryFileSystem } from "./memory-fs.js";
import { missing, servedInNamespace } from "./namespace.js";
import { MOUNT, NFS, PORTMAP } from "./nfs-client.js";
import { decodeReply, encodeCall, Fields, mark, RawClient, type Reply, xdr } from "./raw-client.js";
import { served } from "./served.js";

const NOTHING = Buffer.alloc(0);
const TCP = 6;
const UDP = 17;

type Ask = (version: number, procedure: number, args: Buffer) => Promise<Reply>;

function datagrams(t: Test, port: number): Ask {
	const socket = createSocket("udp4");
	t.teardown(() => socket.close());
	return (version, procedure, args) =>
		new Promise((resolve) => {
			socket.once("message", (message) => resolve(decodeReply(message)));
			socket.send(encodeCall(PORTMAP, version, procedure, args), port, "127.0.0.1");
		});
}

const rpcb = (program: number, version: number, netid: string) =>
	xdr().u32(program, version).opaque(netid).opaque("").opaque("").done();

t.test("our own portmap", async (t) => {
	const { fileSystem, server } = await served(t, { portmap: "own", portmapPort: 0 });
	t.match(server.portmap, /^own, on 127\.0\.0\.1 port \d+, TCP and UDP$/);
	const raw = await RawClient.connect(server.portmapPort!);
	t.teardown(() => raw.close());
	const overTcp: Ask = (version, procedure, args) => raw.call(PORTMAP, version, procedure, args);
	const uaddr = (port: number) => `127.0.0.1.${port >> 8}.${port & 255}`;
	for (const [transport, ask] of [
		["TCP", overTcp],
		["UDP", datagrams(t, server.portmapPort!)],
	] as const) {
		await t.test(transport, async (t) => {
			const getport = async (program: number, version: number, protocol: number) =>
				(await ask(2, 3, xdr().u32(program, version, protocol, 0).done())).body.u32();
			t.equal((await ask(2, 0, NOTHING)).stat, 0);
			t.equal(await getport(NFS, 3, TCP), server.nfsPort);
			t.equal(await getport(NFS, 4, TCP), server.nfsPort, "which then answers PROG_MISMATCH");
			t.equal(await getport(MOUNT, 3, TCP), server.mountPort);
			t.equal(await getport(MOUNT, 1, TCP), server.mountPort);
			t.equal(await getport(NFS, 3, UDP), 0);
			t.equal(await getport(PORTMAP, 2, UDP), server.portmapPort);
			t.equal(await getport(100021, 4, TCP), 0);
			for (const procedure of [1, 2]) {
				t.equal((await ask(2, procedure, xdr().u32(300000, 1, TCP, 999).done())).body.u32(), 0, "SET, UNSET");
			}
			t.equal((await ask(2, 5, xdr().u32(NFS, 3, 0, 0).done())).stat, 3, "CALLIT");
			t.equal((await ask(2, 3, NOTHING)).stat, 4);
			t.equal((await ask(5, 0, NOTHING)).stat, 2);

			const dump = (await ask(2, 4, NOTHING)).body;
			const listed: string[] = [];
			while (dump.u32()) listed.push([dump.u32(), dump.u32(), dump.u32(), dump.u32()].join(" "));
			t.equal(listed.length, 10);
			t.ok(listed.includes(`${NFS} 3 ${TCP} ${server.nfsPort}`));

			for (const version of [3, 4]) {
				t.equal((await ask(version, 3, rpcb(NFS, 3, "tcp"))).body.text(), uaddr(server.nfsPort));
				t.equal((await ask(version, 3, rpcb(NFS, 3, "udp"))).body.text(), "");
				t.equal((await ask(version, 3, rpcb(100021, 4, "tcp"))).body.text(), "");
				t.equal((await ask(version, 1, rpcb(300000, 1, "tcp"))).body.u32(), 0);
				t.equal((await ask(version, 5, NOTHING)).stat, 3);
				t.equal((await ask(version, 6, NOTHING)).body.u32(), 1_700_000_000);
				const all = (await ask(version, 4, NOTHING)).body;
				let count = 0;
				for (; all.u32(); count++) for (const take of ["u32", "u32", "text", "text", "text"] as const) all[take]();
				t.equal(count, 10);
			}
			t.equal((await ask(4, 9, rpcb(NFS, 4, "tcp"))).body.text(), "", "GETVERSADDR wants the very version");
			t.equal((await ask(4, 9, rpcb(NFS, 3, "tcp"))).body.text(), uaddr(server.nfsPort));
			const list = (await ask(4, 11, rpcb(MOUNT, 3, ""))).body;
			t.same(
				[list.u32(), list.text(), list.text(), list.u32(), list.text(), list.text(), list.u32(), list.left],
				[1, uaddr(server.mountPort), "tcp", 3, "inet", "tcp", 0, 0],
			);
		});
	}
	const transport = (await overTcp(4, 3, rpcb(NFS, 3, ""))).body.text();
	t.equal(transport, uaddr(server.nfsPort), "without a netid the transport of the call counts");
	for (const entry of fileSystem.exported) entry.clients = ["10.0.0.0/8"];
	t.equal((await overTcp(2, 3, xdr().u32(NFS, 3, TCP, 0).done())).body.u32(), 0, "strangers learn nothing");
	t.equal((await overTcp(2, 4, NOTHING)).body.u32(), 0);
	t.equal((await overTcp(3, 3, rpcb(NFS, 3, "tcp"))).body.text(), "");
	t.equal((await raw.call(NFS, 3, 0, NOTHING)).stat, 1, "other programs are not served here");
});

t.test("garbage datagrams are survived", async (t) => {
	const { server } = await served(t, { portmap: "own", portmapPort: 0 });
	const socket = createSocket("udp4");
	t.teardown(() => socket.close());
	const ask = datagrams(t, server.portmapPort!);
	for (const bytes of [
		NOTHING,
		Buffer.from([1]),
		Buffer.alloc(9000),
		Buffer.alloc(40, 0xff),
		xdr().u32(1, 1, 1).done(),
	]) {
		socket.send(bytes, server.portmapPort!, "127.0.0.1");
	}
	t.equal((await ask(2, 0, NOTHING)).stat, 0);
});

/** A rpcbind that keeps what is set, on a local socket. */
async function fakeRpcbind(t: Test, initial: [string, string][] = []) {
	const known = new Map(initial);
	// A test directory of tap has too long a path for a socket.
	const directory = mkdtempSync(join(tmpdir(), "springback-"));
	t.teardown(() => rmSync(directory, { recursive: true }));
	const path = join(directory, "rpcbind.sock");
	const server: Server = createServer((socket) => {
		socket.on("data", (data) => {
			const call = new Fields(data.subarray(4));
			const [xid, , , , version] = [call.u32(), call.u32(), call.u32(), call.u32(), call.u32()];
			const procedure = call.u32();
			call.raw(16);
			const key = `${call.u32()} ${call.u32()} ${call.text()}`;
			const address = call.text();
			const result = xdr().u32(xid, 1, 0, 0, 0, version === 4 ? 0 : 2);
			if (procedure === 9) result.opaque(known.get(key) ?? "");
			else if (procedure === 1) {
				result.u32(known.has(key) ? 0 : 1);
				if (!known.has(key)) known.set(key, address);
			} else result.u32(known.delete(key) ? 1 : 0);
			socket.write(mark(result.done()));
		});
	});
	await new Promise<void>((resolve) => server.listen(path, resolve));
	t.teardown(() => server.close());
	return { known, path };
}

t.test("registration", async (t) => {
	// A killed process of ours left this behind: nobody answers there.
	const { known, path } = await fakeRpcbind(t, [[`${NFS} 3 tcp`, "127.0.0.1.0.1"]]);
	const { server } = await served(t, { portmap: "register", rpcbindSocket: path });
	t.equal(server.portmap, "registered with rpcbind");
	const uaddr = (port: number) => `127.0.0.1.${port >> 8}.${port & 255}`;
	t.same(Object.fromEntries(known), {
		[`${NFS} 3 tcp`]: uaddr(server.nfsPort),
		[`${MOUNT} 1 tcp`]: uaddr(server.mountPort),
		[`${MOUNT} 2 tcp`]: uaddr(server.mountPort),
		[`${MOUNT} 3 tcp`]: uaddr(server.mountPort),
	});
	await server.close();
	t.equal(known.size, 0, "unregistered at the end");
});

t.test("registration of a server on all addresses", async (t) => {
	const { known, path } = await fakeRpcbind(t);
	const { server } = await served(t, { listen: "::", portmap: "register", rpcbindSocket: path });
	const port = `${server.nfsPort >> 8}.${server.nfsPort & 255}`;
	t.equal(known.get(`${NFS} 3 tcp`), `0.0.0.0.${port}`);
	t.equal(known.get(`${NFS} 3 tcp6`), `::.${port}`);
	t.equal(known.size, 8);
});

t.test("a registration that a live server holds is left alone", async (t) => {
	const other = createServer();
	await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
	t.teardown(() => other.close());
	const { port } = other.address() as { port: number };
	const { known, path } = await fakeRpcbind(t, [[`${MOUNT} 2 tcp`, `127.0.0.1.${port >> 8}.${port & 255}`]]);
	await t.rejects(
		startNfsServer({
			fileSystem: new MemoryFileSystem(),
			listen: "127.0.0.1",
			nfsPort: 0,
			mountPort: 0,
			portmap: "register",
			rpcbindSocket: path,
			now: () => 0n,
			log: () => {},
		}),
		{
			message: `rpcbind names another server for program 100005 version 2 (tcp), at port ${port}: stop it or turn portmap off`,
		},
	);
	t.same([...known.keys()], [`${MOUNT} 2 tcp`], "and nothing of ours is left");
});

t.test("auto: registers when the port is taken, and does without when it cannot", async (t) => {
	const holder = createServer();
	await new Promise<void>((resolve) => holder.listen(0, "127.0.0.1", resolve));
	t.teardown(() => holder.close());
	const { port: portmapPort } = holder.address() as { port: number };
	const { path } = await fakeRpcbind(t);
	const first = await served(t, { portmap: "auto", portmapPort, rpcbindSocket: path });
	t.equal(first.server.portmap, "registered with rpcbind");
	const second = await served(t, { portmap: "auto", portmapPort, rpcbindSocket: "/nonexistent/socket" });
	t.match(
		second.server.portmap,
		/^off: port \d+ on 127\.0\.0\.1 \(portmap\) is in use by .*rpcbind cannot be reached at \/nonexistent/,
	);
	const free = await served(t, { portmap: "auto", portmapPort: 0 });
	t.match(free.server.portmap, /^own/);
	await t.rejects(served(t, { portmap: "own", portmapPort }), { code: "EADDRINUSE" });
	await t.rejects(served(t, { portmap: "register", rpcbindSocket: "/nonexistent/socket" }), /cannot be reached/);
});

t.test("a port that only UDP has taken is taken", async (t) => {
	const socket = createSocket("udp4");
	await new Promise<void>((resolve) => socket.bind(0, "127.0.0.1", resolve));
	t.teardown(() => socket.close());
	const { port } = socket.address();
	await t.rejects(served(t, { portmap: "own", portmapPort: port }), {
		code: "EADDRINUSE",
		message: new RegExp(
			`^port ${port} on 127\\.0\\.0\\.1 \\(portmap over UDP\\) is in use by .*\\(pid ${process.pid}\\)`,
		),
	});
});

t.test("the real rpcbind, and rpcinfo against our own", { skip: missing("rpcbind", "rpcinfo") }, (t) => {
	const registered = servedInNamespace("rpcinfo -p 127.0.0.1", "rpcbind && sleep 0.2");
	t.equal(registered.parts[0], "registered with rpcbind\n", registered.errors);
	t.match(registered.parts[1], /100003 +3 +tcp +2049/);
	t.match(registered.parts[1], /100005 +3 +tcp +20048/);
	t.match(registered.parts[2], /100000/);
	t.notMatch(registered.parts[2], /100003|100005/, "unregistered");
	const own = servedInNamespace("rpcinfo -p 127.0.0.1");
	t.match(own.parts[0], /^own/);
	t.match(own.parts[1], /100003 +3 +tcp +2049/);
	t.match(own.parts[1], /100000 +4 +udp +111/);
	t.end();
});
