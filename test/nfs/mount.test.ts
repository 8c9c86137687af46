/** The MOUNT program beyond what ESXi needs: subdirectories, versions, lists, and who sees what. */
import t from "tap";
import { MOUNT, P, sattr } from "./nfs-client.js";
import { type Fields, xdr } from "./raw-client.js";
import { served } from "./served.js";

const ROFS = 30;
const ACCES = 13;

function exportsOf(body: Fields): Record<string, string[]> {
	const found: Record<string, string[]> = {};
	while (body.u32()) {
		const path = body.text();
		found[path] = [];
		while (body.u32()) found[path].push(body.text());
	}
	return found;
}

t.test("MNT", async (t) => {
	const { fileSystem, connect } = await served(t);
	fileSystem.file("/springback/one/vm/a.vmx");
	const client = await connect();
	const { raw } = client;
	const reply = await raw.call(MOUNT, 3, 1, xdr().opaque("/springback/one").done());
	t.equal(reply.body.u32(), 0);
	t.same(reply.body.opaque(), fileSystem.directory("/springback/one").handle);
	t.same([reply.body.u32(), reply.body.u32(), reply.body.left], [1, 1, 0], "AUTH_SYS");
	t.same(await client.mount("/springback/one/vm"), {
		status: 0,
		handle: fileSystem.directory("/springback/one/vm").handle,
	});
	t.equal((await client.mount("/springback/one/vm/a.vmx")).status, 20);
	t.equal((await client.mount("/springback/one/..")).status, 2);
	t.equal((await client.mount("/springback/two")).status, 2);
	t.equal((await client.mount("/")).status, 2);
	t.equal((await client.mount(`/springback/${"x".repeat(300)}`)).status, 63);
	t.equal((await raw.call(MOUNT, 3, 1, xdr().opaque("x".repeat(1025)).done())).stat, 4);
});

t.test("old versions: lists work, MNT is refused because NFSv2 is not served", async (t) => {
	const { connect } = await served(t);
	const { raw } = await connect();
	for (const version of [1, 2]) {
		t.equal((await raw.call(MOUNT, version, 0, Buffer.alloc(0))).stat, 0);
		t.equal((await raw.call(MOUNT, version, 1, xdr().opaque("/springback").done())).body.u32(), ACCES);
		const { body } = await raw.call(MOUNT, version, 5, Buffer.alloc(0));
		t.same(Object.keys(exportsOf(body)), ["/springback", "/springback/one"]);
	}
});

t.test("EXPORT, DUMP, UMNTALL", async (t) => {
	const { fileSystem, connect } = await served(t);
	const client = await connect();
	const { raw } = client;
	t.same(exportsOf((await raw.call(MOUNT, 3, 5, Buffer.alloc(0))).body), {
		"/springback": ["127.0.0.1", "::1"],
		"/springback/one": ["127.0.0.1", "::1"],
	});
	await client.root("/springback");
	await client.root("/springback/one");
	const dumped = async () => {
		const { body } = await raw.call(MOUNT, 3, 2, Buffer.alloc(0));
		let count = 0;
		for (; body.u32(); count++) {
			body.text();
			body.text();
		}
		return count;
	};
	t.equal(await dumped(), 2);
	fileSystem.exported[0].clients = ["10.0.0.0/8"];
	t.equal(await dumped(), 1, "not what the caller may not mount");
	await raw.call(MOUNT, 3, 4, Buffer.alloc(0));
	t.equal(await dumped(), 0);
});

t.test("an address that is not listed gets nothing", async (t) => {
	const { fileSystem, connect } = await served(t);
	const handle = fileSystem.file("/springback/one/a").handle;
	for (const entry of fileSystem.exported) entry.clients = ["10.1.0.0/16", "fe80::/10"];
	const client = await connect();
	t.equal((await client.mount("/springback/one")).status, ACCES);
	t.equal((await client.mount("/nothing")).status, ACCES, "not even what does not exist");
	t.same(exportsOf((await client.raw.call(MOUNT, 3, 5, Buffer.alloc(0))).body), {});
	t.equal((await client.call(P.GETATTR, xdr().opaque(handle).done())).status, ACCES);
	t.equal((await client.write(handle, 0, Buffer.from("x"))).status, ACCES);
	t.equal((await client.reply(P.NULL, Buffer.alloc(0))).stat, 0);
});

t.test("exports of a node are asked for where the file system tells them", async (t) => {
	const { fileSystem, connect } = await served(t);
	const inOne = fileSystem.file("/springback/one/a").handle;
	const outside = fileSystem.file("/springback/b").handle;
	fileSystem.exported[0].clients = ["10.0.0.0/8"];
	Object.assign(fileSystem, {
		exportsOf: (node: { handle: Buffer }) =>
			fileSystem.exported.filter((entry) => entry.path === "/springback" || node.handle.equals(inOne)),
	});
	const client = await connect();
	t.equal((await client.call(P.GETATTR, xdr().opaque(inOne).done())).status, 0);
	t.equal((await client.call(P.GETATTR, xdr().opaque(outside).done())).status, ACCES);
});

t.test("a read-only export", async (t) => {
	const { fileSystem, connect } = await served(t);
	const file = fileSystem.file("/springback/one/a", Buffer.from("x"));
	for (const entry of fileSystem.exported) entry.readOnly = true;
	const client = await connect();
	const root = await client.root();
	t.equal((await client.read(file.handle, 0, 1)).data.toString(), "x");
	t.equal((await client.write(file.handle, 0, Buffer.from("y"))).status, ROFS);
	t.equal((await client.create(root, "b", "unchecked")).status, ROFS);
	t.equal((await client.call(P.REMOVE, xdr().opaque(root).opaque("a").done())).status, ROFS);
	t.equal(
		(
			await client.call(
				P.SETATTR,
				xdr()
					.opaque(file.handle)
					.raw(sattr({ size: 0 }))
					.u32(0)
					.done(),
			)
		).status,
		ROFS,
	);
	const { body } = await client.call(P.ACCESS, xdr().opaque(file.handle).u32(0x3f).done());
	t.equal(body.bytes.readUInt32BE(body.bytes.length - 4), 0x3f & ~0x1c);
	t.equal(fileSystem.changes, 0);
	t.equal(file.content().toString(), "x");
});
