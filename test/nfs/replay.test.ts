/** Requests that must not be carried out twice: replays get the first answer, also after a restart. */
import t from "tap";
import { ReplayCache, requestKey } from "../../src/nfs/rpc/replay-cache.js";
import { startNfsServer } from "../../src/nfs/server.js";
import { NFS, NfsClient, P, sattr } from "./nfs-client.js";
import { decodeReply, encodeCall, mark, xdr } from "./raw-client.js";
import { clock, served } from "./served.js";

/** Calls that change names, each valid once. */
function once(root: Buffer): [string, number, Buffer][] {
	const at = (name: string) => xdr().opaque(root).opaque(name);
	return [
		["CREATE", P.CREATE, at("a").u32(1).raw(sattr()).done()],
		["MKDIR", P.MKDIR, at("d").raw(sattr()).done()],
		["SYMLINK", P.SYMLINK, at("s").raw(sattr()).opaque("a").done()],
		["MKNOD", P.MKNOD, at("p").u32(7).raw(sattr()).done()],
		["RENAME", P.RENAME, xdr().opaque(root).opaque("a").opaque(root).opaque("b").done()],
		["REMOVE", P.REMOVE, at("b").done()],
		["RMDIR", P.RMDIR, at("d").done()],
		[
			"SETATTR",
			P.SETATTR,
			xdr()
				.opaque(root)
				.raw(sattr({ mode: 0o711 }))
				.u32(0)
				.done(),
		],
	];
}

t.test("a replay gets the same bytes, from the same or a new connection", async (t) => {
	const { fileSystem, server, connect } = await served(t);
	const first = await connect();
	const root = await first.root();
	const second = await connect();
	let xid = 100;
	for (const [name, procedure, args] of once(root)) {
		const options = { xid: xid++ };
		const original = await first.reply(procedure, args, options);
		t.equal(original.body.bytes.readUInt32BE(24), 0, `${name} succeeds`);
		const changes = fileSystem.changes;
		t.same((await first.reply(procedure, args, options)).record, original.record, `${name} again`);
		t.same((await second.reply(procedure, args, options)).record, original.record, `${name} from a new connection`);
		t.equal(fileSystem.changes, changes, `${name} is carried out once`);
	}
	t.equal(server.stats.replays, 16);
});

t.test("another XID, other arguments or another procedure are new requests", async (t) => {
	const { connect } = await served(t);
	const client = await connect();
	const root = await client.root();
	const create = (name: string, xid: number) => client.create(root, name, "guarded", sattr(), { xid });
	t.equal((await create("a", 1)).status, 0);
	t.equal((await create("b", 1)).status, 0);
	t.equal((await create("a", 2)).status, 17);
	t.equal((await create("a", 2)).status, 17, "a lasting failure is remembered too");
	const remove = xdr().opaque(root).opaque("a").done();
	t.equal((await client.call(P.REMOVE, remove, { xid: 1 })).status, 0);
});

t.test("a replay while the first is in progress waits for its answer", async (t) => {
	const { fileSystem, connect } = await served(t);
	const first = await connect();
	const root = await first.root();
	let open = (): void => {};
	fileSystem.behaviour.gate = () =>
		new Promise((resolve) => {
			open = resolve;
		});
	const args = xdr().opaque(root).opaque("a").u32(1).raw(sattr()).done();
	const call = mark(encodeCall(NFS, 3, P.CREATE, args, { xid: 55 }));
	first.raw.send(call);
	const second = await connect();
	second.raw.send(call);
	await second.reply(P.NULL, Buffer.alloc(0));
	// The client that asked first is gone before its answer.
	first.close();
	await new Promise((resolve) => setTimeout(resolve, 20));
	open();
	const reply = decodeReply(await second.raw.next());
	t.equal(reply.xid, 55);
	t.equal(reply.body.u32(), 0);
	t.equal(fileSystem.changes, 1);
});

t.test("a passing failure is tried again by a replay", async (t) => {
	const { fileSystem, connect } = await served(t);
	const client = await connect();
	const root = await client.root();
	fileSystem.behaviour.fails = { operation: "create", status: "NOSPC" };
	t.equal((await client.create(root, "a", "guarded", sattr(), { xid: 1 })).status, 28);
	fileSystem.behaviour.fails = undefined;
	t.equal((await client.create(root, "a", "guarded", sattr(), { xid: 1 })).status, 0);
});

t.test("after a restart the file system knows what was carried out", async (t) => {
	const time = clock();
	const { fileSystem, server, connect } = await served(t, { now: time.now });
	const before = await connect();
	const root = await before.root();
	const calls = once(root);
	const results: number[] = [];
	for (const [index, [, procedure, args]] of calls.entries()) {
		results.push((await before.call(procedure, args, { xid: 100 + index })).status);
	}
	t.same(
		results,
		calls.map(() => 0),
	);
	const made = fileSystem.directory("/springback/one").children.get("s")!.node;
	const { changes } = fileSystem;
	await server.close();
	const again = await startNfsServer({
		fileSystem,
		listen: "127.0.0.1",
		nfsPort: server.nfsPort,
		mountPort: 0,
		portmap: "off",
		now: time.now,
		log: () => {},
	});
	t.teardown(() => again.close());
	const after = await NfsClient.connect(again.nfsPort);
	t.teardown(() => after.close());
	for (const [index, [name, procedure, args]] of calls.entries()) {
		t.equal((await after.call(procedure, args, { xid: 100 + index })).status, 0, `${name} answers success again`);
	}
	t.equal(fileSystem.changes, changes, "and does nothing again");
	const symlink = await after.make(P.SYMLINK, calls[2][2], { xid: 102 });
	t.same(symlink.handle, made.handle, "with the object it made");
	t.ok(symlink.attributes && symlink.change.after);
	const create = await after.make(P.CREATE, calls[0][2], { xid: 100 });
	t.equal(create.status, 0, "without a handle when it is gone since");
	t.equal(create.handle, undefined);
});

t.test("the cache is bounded in entries, bytes and age", async (t) => {
	const time = clock();
	const cache = new ReplayCache(time.now);
	const waiter = () => t.fail("nobody waits here");
	for (let index = 0; index < 5000; index++) {
		t.equal(cache.claim(`key-${index}`, waiter), undefined);
		cache.settle(`key-${index}`, Buffer.from(`${index}`), true);
	}
	t.equal(cache.claim("key-0", waiter), undefined, "the oldest is forgotten");
	t.equal(cache.claim("key-4999", waiter)?.toString(), "4999");
	time.advance(301);
	t.equal(cache.claim("key-4999", waiter), undefined, "after five minutes");
	cache.abandon("key-4999");
	t.equal(cache.claim("key-4999", waiter), undefined);
});

t.test("the key depends on everything but the port", async (t) => {
	const key = requestKey("10.0.0.1", 1, 100003, 3, 8, Buffer.from("args"));
	t.equal(key.length, 16);
	t.equal(requestKey("10.0.0.1", 1, 100003, 3, 8, Buffer.from("args")), key);
	for (const other of [
		requestKey("10.0.0.2", 1, 100003, 3, 8, Buffer.from("args")),
		requestKey("10.0.0.1", 2, 100003, 3, 8, Buffer.from("args")),
		requestKey("10.0.0.1", 1, 100003, 3, 9, Buffer.from("args")),
		requestKey("10.0.0.1", 1, 100003, 3, 8, Buffer.from("argz")),
	]) {
		t.not(other, key);
	}
});
