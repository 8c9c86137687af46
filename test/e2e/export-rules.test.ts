/** `publish --read-only` and `--require-privileged-port`, as bytes on the wire. */
import t, { type Test } from "tap";
import { enterNamespace } from "../../scripts/lab/namespace.js";
import { MOUNT, NfsClient, P, sattr } from "../nfs/nfs-client.js";
import { type Fields, RawClient, xdr } from "../nfs/raw-client.js";
import { writeDisk } from "./content.js";
import { Workspace } from "./workspace.js";

await enterNamespace(import.meta.url);

const MIB = 2 ** 20;
const OK = 0;
const NOENT = 2;
const ACCES = 13;
const ROFS = 30;
const DISK = "disk0-flat.vmdk";

async function prepared(t: Test): Promise<Workspace> {
	const work = new Workspace();
	t.teardown(() => work.close());
	await work.init();
	writeDisk(work.path("a.raw"), 1, MIB);
	await work.backup("vm", work.path("a.raw"));
	return work;
}

async function connected(t: Test, localPort?: number): Promise<NfsClient> {
	const client = new NfsClient(await RawClient.connect(2049, "127.0.0.1", localPort));
	t.teardown(() => client.close());
	return client;
}

t.test("a read-only session takes no change, whichever way it is reached", async (t) => {
	const work = await prepared(t);
	const published = await work.publish(["vm", "--session", "s", "--read-only"]);
	const client = await connected(t);
	const alone = await client.root("/springback/s");
	const within = (await client.lookup(await client.root("/springback"), "s")).handle;
	for (const [way, root] of [
		["/springback/s", Buffer.from(alone)],
		["/springback", Buffer.from(within)],
	] as const) {
		const file = Buffer.from((await client.lookup(root, DISK)).handle);
		const named = (procedure: number, name: string) =>
			client.call(procedure, xdr().opaque(root).opaque(name).done()).then(({ status }) => status);
		t.match(await client.read(file, 0, 512), { status: OK, count: 512 }, `${way}: READ`);
		t.equal((await client.write(file, 0, Buffer.alloc(512))).status, ROFS, `${way}: WRITE`);
		const truncate = xdr()
			.opaque(file)
			.raw(sattr({ size: 0 }))
			.u32(0)
			.done();
		t.equal((await client.call(P.SETATTR, truncate)).status, ROFS, `${way}: SETATTR`);
		t.equal((await client.create(root, "new", "guarded")).status, ROFS, `${way}: CREATE`);
		t.equal((await client.create(root, DISK, "unchecked", sattr({ size: 0 }))).status, ROFS, `${way}: CREATE over`);
		t.equal((await client.createExclusive(root, "new", Buffer.alloc(8))).status, ROFS, `${way}: exclusive CREATE`);
		const folder = xdr().opaque(root).opaque("d").raw(sattr()).done();
		t.equal((await client.make(P.MKDIR, folder)).status, ROFS, `${way}: MKDIR`);
		const symlink = xdr().opaque(root).opaque("l").raw(sattr()).opaque("/etc").done();
		t.equal((await client.make(P.SYMLINK, symlink)).status, ROFS, `${way}: SYMLINK`);
		const fifo = xdr().opaque(root).opaque("p").u32(7).raw(sattr()).done();
		t.equal((await client.make(P.MKNOD, fifo)).status, ROFS, `${way}: MKNOD`);
		t.equal(await named(P.REMOVE, DISK), ROFS, `${way}: REMOVE`);
		t.equal(await named(P.RMDIR, DISK), ROFS, `${way}: RMDIR`);
		const rename = xdr().opaque(root).opaque(DISK).opaque(root).opaque("other").done();
		t.equal((await client.call(P.RENAME, rename)).status, ROFS, `${way}: RENAME`);
		const link = xdr().opaque(file).opaque(root).opaque("other").done();
		t.equal((await client.call(P.LINK, link)).status, ROFS, `${way}: LINK`);
		const { body } = await client.call(P.ACCESS, xdr().opaque(file).u32(0x3f).done());
		t.equal(body.bytes.readUInt32BE(body.bytes.length - 4) & 0x1c, 0, `${way}: ACCESS offers no change`);
	}
	t.match(await work.json(["sessions"]), [{ session: "s", readOnly: true, lastWrite: null }], "nothing was written");

	const writable = await work.cli(["publish", "vm", "--session", "s", "--detach"]);
	t.equal(writable.code, 2);
	t.match(writable.stderr, /session "s" is served already, read-only: springback finish s --keep first/);
	client.close();
	await work.stop(published);
	const again = await work.publish(["vm", "--session", "s"]);
	const writer = await connected(t);
	const disk = (await writer.lookup(await writer.root("/springback/s"), DISK)).handle;
	t.equal((await writer.write(disk, 0, Buffer.alloc(512))).status, OK, "the next time it may be written to");
	await work.stop(again);
});

t.test("privileged ports", async (t) => {
	const work = await prepared(t);
	await work.publish(["vm", "--session", "open"]);
	await work.publish(["vm", "--session", "strict", "--require-privileged-port"]);
	const trusted = await connected(t, 700);
	const other = await connected(t);
	t.ok(other.raw.socket.localPort! > 1023);
	const exported = async ({ raw }: NfsClient) => paths((await raw.call(MOUNT, 3, 5, Buffer.alloc(0))).body, true);
	const dumped = async ({ raw }: NfsClient) => paths((await raw.call(MOUNT, 3, 2, Buffer.alloc(0))).body, false);

	const handle = Buffer.from(await trusted.root("/springback/strict"));
	const through = (await trusted.lookup(await trusted.root("/springback"), "strict")).handle;
	t.equal((await trusted.read((await trusted.lookup(handle, DISK)).handle, 0, 512)).status, OK);
	t.equal((await other.mount("/springback/strict")).status, ACCES, "MNT");
	t.same(await exported(trusted), ["/springback", "/springback/open", "/springback/strict"]);
	t.same(await exported(other), ["/springback", "/springback/open"], "EXPORT");
	t.same(await dumped(trusted), ["/springback/strict", "/springback"]);
	t.same(await dumped(other), ["/springback"], "DUMP");
	for (const stolen of [handle, Buffer.from(through)]) {
		t.equal((await other.call(P.GETATTR, xdr().opaque(stolen).done())).status, ACCES, "a handle is no ticket");
		t.equal((await other.lookup(stolen, DISK)).status, ACCES);
	}
	const seen = await other.lookup(await other.root("/springback"), "strict");
	t.equal((await other.call(P.READDIR, xdr().opaque(seen.handle).u64(0).u64(0).u32(4096).done())).status, ACCES);
	t.equal((await other.mount("/springback/open")).status, OK, "the rule is of one session");

	const session = await work.mountdPid("strict");
	await work.killMountd("strict");
	t.not(await work.mountdPid("strict"), session);
	const later = await connected(t);
	t.equal((await later.call(P.GETATTR, xdr().opaque(handle).done())).status, ACCES, "and holds after a restart");
	t.equal((await later.mount("/springback/none")).status, NOENT);
	const trustedAgain = await connected(t, 701);
	t.equal((await trustedAgain.call(P.GETATTR, xdr().opaque(handle).done())).status, OK);
});

/** Of EXPORT, or DUMP's without the addresses. */
function paths(body: Fields, groups: boolean): string[] {
	const found: string[] = [];
	while (body.u32()) {
		if (!groups) body.text();
		found.push(body.text());
		if (groups) while (body.u32()) body.text();
	}
	return found;
}
