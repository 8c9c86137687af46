/** What the ESXi client does and needs, as bytes: each of these has broken a real NFS server. */
import t from "tap";
import { MOUNT, P, sattr } from "./nfs-client.js";
import { RawClient, xdr } from "./raw-client.js";
import { served } from "./served.js";

t.test("handles are at most 56 bytes", async (t) => {
	const { fileSystem, connect } = await served(t);
	fileSystem.file("/springback/one/a");
	const client = await connect();
	const root = await client.root();
	t.ok(root.length <= 56);
	for (const entry of (await client.readdirplus(root, 0n, 8192, 32768)).entries) t.ok(entry.handle!.length <= 56);
});

t.test("eof is true whenever a READ reaches the end, short or exact", async (t) => {
	const { fileSystem, connect } = await served(t);
	const file = fileSystem.file("/springback/one/a", Buffer.alloc(10_000));
	const client = await connect();
	for (const [offset, count, got, eof] of [
		[0, 9_999, 9_999, false],
		[0, 10_000, 10_000, true],
		[0, 10_001, 10_000, true],
		[9_000, 1_000, 1_000, true],
		[9_000, 65_536, 1_000, true],
		[10_000, 512, 0, true],
		[20_000, 512, 0, true],
	] as const) {
		t.match(await client.read(file.handle, offset, count), { count: got, eof }, `${count} at ${offset}`);
	}
	// A file system that leaves eof to the size is corrected.
	const slices = file.slices.bind(file);
	file.slices = (offset, count) => ({ ...slices(offset, count), eof: false });
	t.match(await client.read(file.handle, 0, 10_000), { count: 10_000, eof: true });
	t.match(await client.read(file.handle, 0, 9_999), { eof: false });
});

t.test("LOOKUP of .. in the root answers the root", async (t) => {
	const { fileSystem, connect } = await served(t);
	const client = await connect();
	const root = await client.root("/springback");
	const directory = fileSystem.directory("/springback");
	directory.parent = directory;
	t.same((await client.lookup(root, "..")).handle, root);
	t.same((await client.lookup(root, ".")).handle, root);
});

t.test("the fileid of . in READDIR is that of GETATTR", async (t) => {
	const { connect } = await served(t);
	const client = await connect();
	const root = await client.root();
	const { fileid } = await client.getattr(root);
	t.equal((await client.readdir(root, 0n, 4096)).entries.find(({ name }) => name === ".")?.fileid, fileid);
	const plus = await client.readdirplus(root, 0n, 4096, 8192);
	t.match(
		plus.entries.find(({ name }) => name === "."),
		{ fileid, attributes: { fileid } },
	);
});

t.test("READDIRPLUS again after the end, with any old verifier", async (t) => {
	const { fileSystem, connect } = await served(t);
	for (const name of ["a", "b", "c"]) fileSystem.file(`/springback/one/${name}`);
	const client = await connect();
	const root = await client.root();
	const first = await client.readdirplus(root, 0n, 4096, 8192);
	t.equal(first.eof, true);
	const last = first.entries.at(-1)!.cookie;
	fileSystem.file("/springback/one/d");
	const after = await client.readdirplus(root, last, 4096, 8192, first.verifier);
	t.match(after, { status: 0, eof: true });
	t.same(
		after.entries.map(({ name }) => name),
		["d"],
	);
	t.same(after.verifier, first.verifier, "the verifier is constant");
	const odd = await client.readdirplus(root, last, 4096, 8192, Buffer.alloc(8, 0xee));
	t.equal(odd.status, 0, "never BAD_COOKIE");
	const past = await client.readdirplus(root, 1_000_000n, 4096, 8192, first.verifier);
	t.match(past, { status: 0, entries: [], eof: true });
});

t.test("MNT with trailing and repeated slashes, UMNT with and without the leading one", async (t) => {
	const { server, connect } = await served(t);
	const client = await connect();
	const plain = await client.root("/springback/one");
	for (const path of ["/springback/one/", "//springback///one//", "springback/one"]) {
		t.same(await client.mount(path), { status: 0, handle: plain }, path);
	}
	const dump = async () => {
		const { body } = await client.raw.call(MOUNT, 3, 2, Buffer.alloc(0));
		const mounts: string[] = [];
		while (body.u32()) mounts.push(`${body.text()}:${body.text()}`);
		return mounts;
	};
	for (const path of ["springback/one", "/springback/one/"]) {
		await client.mount("/springback/one");
		t.same(await dump(), ["127.0.0.1:/springback/one"]);
		t.equal((await client.raw.call(MOUNT, 3, 3, xdr().opaque(path).done())).body.left, 0);
		t.same(await dump(), []);
	}
	t.ok(server.stats.procedure("MOUNT MNT").calls > 0);
});

t.test("exclusive CREATE: the same verifier again succeeds, another gets EXIST", async (t) => {
	const { fileSystem, connect } = await served(t);
	const client = await connect();
	const root = await client.root();
	const verifier = Buffer.from([1, 2, 3, 4, 5, 6, 7, 8]);
	const first = await client.createExclusive(root, "a", verifier);
	t.equal(first.status, 0);
	// Another connection and XID, so that it is not the replay cache which answers.
	const other = await connect();
	t.same((await other.createExclusive(root, "a", verifier, { xid: 1 })).handle, first.handle);
	for (const byte of [0, 7]) {
		const different = Buffer.from(verifier);
		different[byte] ^= 1;
		t.equal((await other.createExclusive(root, "a", different)).status, 17, `all 8 bytes count: ${byte}`);
	}
	t.equal(fileSystem.changes, 1);
});

t.test("lock files: create, 84-byte rewrites, remove", async (t) => {
	const { fileSystem, connect } = await served(t);
	const disk = fileSystem.file("/springback/one/disk-flat.vmdk");
	const client = await connect();
	const root = await client.root();
	const { fileid } = await client.getattr(disk.handle);
	const reversed = Buffer.alloc(8);
	reversed.writeBigUInt64LE(fileid);
	const name = `.lck-${reversed.toString("hex")}`;
	const lock = await client.create(root, name, "guarded", sattr({ mode: 0o644 }));
	t.equal(lock.status, 0);
	for (let beat = 0; beat < 5; beat++) {
		const result = await client.write(lock.handle!, 0, Buffer.alloc(84, beat), 2);
		t.match(result, { count: 84, committed: 2, change: { after: { size: 84n } } });
	}
	t.equal((await client.call(P.REMOVE, xdr().opaque(root).opaque(name).done())).status, 0);
});

t.test("any source port is accepted", async (t) => {
	const { server } = await served(t);
	const raw = await RawClient.connect(server.mountPort);
	t.ok(raw.socket.localPort! > 1023);
	t.equal((await raw.call(MOUNT, 3, 1, xdr().opaque("/springback").done())).body.u32(), 0);
	raw.close();
});

t.test("several connections of one client share what they see", async (t) => {
	const { connect } = await served(t);
	const clients = await Promise.all(Array.from({ length: 8 }, () => connect()));
	const root = await clients[0].root();
	const { handle } = await clients[1].create(root, "a", "unchecked");
	await Promise.all(clients.map((client, index) => client.write(handle!, index * 4, Buffer.alloc(4, 65 + index))));
	t.equal((await clients[7].read(handle!, 0, 100)).data.toString(), "AAAABBBBCCCCDDDDEEEEFFFFGGGGHHHH");
});
