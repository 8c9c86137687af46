/** Handles that are forged, foreign or old, and names that would lead elsewhere: as bytes on the wire, on the real tree. */
import t, { type Test } from "tap";
import { NfsClient, P, sattr } from "../nfs/nfs-client.js";
import { xdr } from "../nfs/raw-client.js";
import { CONTENT, DISK, ServedDatastore } from "./served.js";

const OK = 0;
const NOENT = 2;
const ACCES = 13;
const EXIST = 17;
const NOTDIR = 20;
const INVAL = 22;
const NAMETOOLONG = 63;
const STALE = 70;
const BADHANDLE = 10001;

async function connect(t: Test, { server }: ServedDatastore): Promise<NfsClient> {
	const client = await NfsClient.connect(server.nfsPort);
	t.teardown(() => client.close());
	return client;
}

/** Status of every procedure that takes a handle first, asked of `handle`. */
async function statuses(client: NfsClient, handle: Buffer): Promise<Record<string, number>> {
	const first = () => xdr().opaque(handle);
	const calls: [keyof typeof P, Buffer][] = [
		["GETATTR", first().done()],
		[
			"SETATTR",
			first()
				.raw(sattr({ mode: 0o777 }))
				.u32(0)
				.done(),
		],
		["LOOKUP", first().opaque("vm.vmx").done()],
		["ACCESS", first().u32(0x3f).done()],
		["READLINK", first().done()],
		["READ", first().u64(0).u32(512).done()],
		["WRITE", first().u64(0).u32(4, 2).opaque("abcd").done()],
		["CREATE", first().opaque("x").u32(0).raw(sattr()).done()],
		["MKDIR", first().opaque("x").raw(sattr()).done()],
		["SYMLINK", first().opaque("x").raw(sattr()).opaque("/etc/passwd").done()],
		["MKNOD", first().opaque("x").u32(7).raw(sattr()).done()],
		["REMOVE", first().opaque("vm.vmx").done()],
		["RMDIR", first().opaque("vm.vmx").done()],
		["RENAME", first().opaque("vm.vmx").opaque(handle).opaque("y").done()],
		["LINK", first().opaque(handle).opaque("y").done()],
		["READDIR", first().u64(0).u64(0).u32(4096).done()],
		["READDIRPLUS", first().u64(0).u64(0).u32(4096, 4096).done()],
		["FSSTAT", first().done()],
		["FSINFO", first().done()],
		["PATHCONF", first().done()],
		["COMMIT", first().u64(0).u32(0).done()],
	];
	const found: Record<string, number> = {};
	for (const [name, args] of calls) found[name] = (await client.call(P[name], args)).status;
	return found;
}

t.test("forged, foreign and old handles are refused by every procedure", async (t) => {
	const served = await ServedDatastore.start(t);
	const tree = await served.add("one", 1);
	const closed = await served.add("closed", 2, ["192.0.2.1"]);
	const client = await connect(t, served);
	const root = Buffer.from(await client.root("/springback/one"));
	const names = () => tree.list(tree.root, 0n, 100).entries.map(({ name }) => name);
	const before = names();
	const all = (result: Record<string, number>, expected: number, what: string) =>
		t.same([...new Set(Object.values(result))], [expected], what);

	for (const bit of [0, 8, 9, 17, 100, 150, 207, 208, 335]) {
		const forged = Buffer.from(root);
		forged[bit >> 3] ^= 1 << (bit & 7);
		all(await statuses(client, forged), BADHANDLE, `bit ${bit} changed`);
	}
	for (const handle of [
		Buffer.alloc(0),
		root.subarray(0, 41),
		Buffer.concat([root, Buffer.alloc(22)]),
		Buffer.alloc(42),
	])
		all(await statuses(client, handle), BADHANDLE, `${handle.length} bytes`);
	const to = (handle: Buffer) => xdr().opaque(root).opaque("vm.vmx").opaque(handle).opaque("y").done();
	const bad = Buffer.alloc(42);
	t.equal((await client.call(P.RENAME, to(bad))).status, BADHANDLE, "the second handle of a call counts as well");
	t.equal((await client.call(P.LINK, xdr().opaque(root).opaque(bad).opaque("y").done())).status, BADHANDLE);

	const elsewhere = await ServedDatastore.start(t, 2);
	await elsewhere.add("one", 1);
	const foreign = await (await connect(t, elsewhere)).root("/springback/one");
	t.not(foreign.equals(root), true);
	all(await statuses(client, Buffer.from(foreign)), BADHANDLE, "of another installation");

	const other = served.datastore.exportRoot("/springback/closed") as { handle: Buffer };
	all(await statuses(client, other.handle), ACCES, "of a session that does not list this address");
	t.equal((await client.call(P.RENAME, to(other.handle))).status, ACCES, "nothing is moved into it either");
	t.same(
		closed.list(closed.root, 0n, 100).entries.map(({ name }) => name),
		before,
	);

	t.same(names(), before, "none of this did anything");
	const made = await client.create(root, "gone", "guarded");
	t.equal((await client.call(P.REMOVE, xdr().opaque(root).opaque("gone").done())).status, OK);
	all(await statuses(client, made.handle!), STALE, "of a removed file");
	await served.remove("one");
	all(await statuses(client, root), STALE, "of a session that is no longer served");
	await served.add("one", 3);
	all(await statuses(client, root), STALE, "nor of the next session of that name");
	t.same(served.logs, [], "none of this was unexpected");
});

t.test("names and paths stay inside the session", async (t) => {
	const served = await ServedDatastore.start(t);
	await served.add("one", 1);
	await served.add("two", 2);
	const client = await connect(t, served);
	const root = Buffer.from(await client.root("/springback/one"));
	t.same((await client.lookup(root, "..")).handle, root, ".. of the mounted root is the root");
	const folder = (await client.make(P.MKDIR, xdr().opaque(root).opaque("d").raw(sattr()).done())).handle!;
	t.same((await client.lookup(folder, "..")).handle, root);

	const long = "x".repeat(256);
	const refusals: [name: string, looked: number, made: number, removed: number][] = [
		["../two", INVAL, INVAL, INVAL],
		["/", INVAL, INVAL, INVAL],
		["/etc/passwd", INVAL, INVAL, INVAL],
		["d/..", INVAL, INVAL, INVAL],
		["vm.vmx\0", INVAL, INVAL, INVAL],
		["\0", INVAL, INVAL, INVAL],
		["", INVAL, INVAL, INVAL],
		[long, NAMETOOLONG, NAMETOOLONG, NAMETOOLONG],
		["y".repeat(60_000), NAMETOOLONG, NAMETOOLONG, NAMETOOLONG],
		[".", OK, EXIST, INVAL],
		["..", OK, EXIST, INVAL],
	];
	const file = (await client.lookup(root, DISK)).handle;
	const target = Buffer.from(file);
	for (const [name, looked, made, removed] of refusals) {
		const shown = JSON.stringify(name.slice(0, 20));
		const named = xdr().opaque(root).opaque(name).done();
		const status = async (procedure: number, args: Buffer) => (await client.call(procedure, args)).status;
		t.equal(await status(P.LOOKUP, named), looked, `LOOKUP ${shown}`);
		t.equal((await client.create(root, name, "unchecked")).status, made, `CREATE ${shown}`);
		t.equal(await status(P.MKDIR, Buffer.concat([named, sattr()])), made, `MKDIR ${shown}`);
		t.equal(await status(P.SYMLINK, xdr().raw(named).raw(sattr()).opaque("t").done()), made, `SYMLINK ${shown}`);
		t.equal(await status(P.MKNOD, xdr().raw(named).u32(7).raw(sattr()).done()), made, `MKNOD ${shown}`);
		t.equal(await status(P.LINK, xdr().opaque(target).raw(named).done()), made, `LINK ${shown}`);
		t.equal(await status(P.REMOVE, named), removed, `REMOVE ${shown}`);
		if (name !== "..") t.equal(await status(P.RMDIR, named), removed, `RMDIR ${shown}`);
		t.equal(await status(P.RENAME, xdr().raw(named).opaque(root).opaque("z").done()), removed, `RENAME ${shown}`);
		t.not(await status(P.RENAME, xdr().opaque(root).opaque("d").raw(named).done()), OK, `RENAME to ${shown}`);
	}
	for (const [path, status] of [
		["/springback/one/../two", NOENT],
		["/springback/..", NOENT],
		["/springback/one/d/../..", NOENT],
		["/etc", NOENT],
		["/springbackone", NOENT],
		[`/springback/one/${long}`, NAMETOOLONG],
	] as const)
		t.equal((await client.mount(path)).status, status, `MNT ${path.slice(0, 30)}`);
});

t.test("bytes that are no UTF-8 are kept, and a symbolic link is followed by nobody here", async (t) => {
	const served = await ServedDatastore.start(t);
	await served.add("one", 1);
	const client = await connect(t, served);
	const root = Buffer.from(await client.root("/springback/one"));
	const odd = ["\xff\xfe", "\xc3\x28", "\xed\xa0\x80", "caf\xe9", "caf\xc3\xa9", "\n\x1b[2J", `${"x".repeat(254)}\x80`];
	for (const name of odd) t.equal((await client.create(root, name, "guarded")).status, OK);
	const listed = (await client.readdir(root, 0n, 65_536)).entries.map(({ name }) => name);
	t.same(
		listed.filter((name) => odd.includes(name)),
		odd,
		"READDIR gives the very bytes",
	);
	for (const name of odd) t.equal((await client.lookup(root, name)).status, OK);
	t.equal((await client.lookup(root, "\ufffd\ufffd")).status, NOENT);

	for (const [name, to] of [
		["passwd", "/etc/passwd"],
		["up", "../two"],
		["dir", "/etc"],
	]) {
		const made = await client.make(P.SYMLINK, xdr().opaque(root).opaque(name).raw(sattr()).opaque(to).done());
		const link = made.handle!;
		const { body } = await client.call(P.READLINK, xdr().opaque(link).done());
		body.u32() && body.raw(84);
		t.equal(body.text(), to);
		t.equal((await client.read(link, 0, 512)).status, INVAL);
		t.equal((await client.lookup(link, "passwd")).status, NOTDIR);
		t.equal((await client.mount(`/springback/one/${name}`)).status, NOTDIR);
	}
	const disk = (await client.lookup(root, DISK)).handle;
	t.ok((await client.read(disk, 0, 4096)).data.equals(CONTENT.subarray(0, 4096)));
});
