/** The published tree over real sessions on disk. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { Datastore, type ServedSession } from "../../src/datastore/datastore.js";
import type { Image } from "../../src/image/image.js";
import { createSession, openSession } from "../../src/overlay/index.js";
import type { Caller, CreateHow, DirectoryNode, Failed, FileNode, Made, Node, ReadData } from "../../src/vfs/vfs.js";

const CALLER: Caller = { uid: 0, gid: 0, gids: [], address: "127.0.0.1" };
const SIZE = 200_000;
const content = Buffer.alloc(SIZE, "abcdefg");
const base: Image = {
	size: SIZE,
	read: (offset, target) => void content.copy(target, 0, offset, offset + target.length),
	extents: (offset, length) => [{ offset, length, kind: "data" }],
	close: async () => undefined,
};

function clock() {
	let now = 1_000_000_000_000_000_000n;
	return () => {
		now += 1000n;
		return now;
	};
}

class World {
	readonly now = clock();
	readonly log: string[] = [];
	datastore = this.make();
	private served: ServedSession[] = [];

	constructor(
		t: Test,
		readonly directory = t.testdir(),
	) {
		t.teardown(() => Promise.all(this.served.map(({ tree }) => tree.close().catch(() => undefined))));
	}

	private make(): Datastore {
		return new Datastore({
			identity: { fsid: 77n, handleKey: Buffer.alloc(32, 1) },
			now: this.now,
			directory: this.directory ?? ".",
			ownerUid: 0,
			clients: ["127.0.0.0/8"],
			log: (line) => this.log.push(line),
		});
	}

	async add(name: string, number: number, uuid = number): Promise<ServedSession> {
		const directory = join(this.directory, `${number}`);
		mkdirSync(directory, { recursive: true });
		const tree = await createSession({
			directory,
			uuid: Buffer.alloc(16, uuid),
			bases: [{ base, size: SIZE + 192 }],
			seed: [
				{ path: ["disk0-flat.vmdk"], kind: "file", mode: 0o600, base: 0 },
				{ path: ["vm.vmx"], kind: "file", mode: 0o644, content: Buffer.from('displayName = "vm"\n') },
			],
			uid: 0,
			gid: 0,
			now: this.now,
		});
		return this.serve(name, number, uuid, tree);
	}

	private serve(name: string, number: number, uuid: number, tree: ServedSession["tree"]): ServedSession {
		const session: ServedSession = {
			uuid: Buffer.alloc(16, uuid),
			number,
			name,
			tree,
			clients: [`10.0.0.${number}`],
			readOnly: false,
			sync: false,
			ownerUid: 5,
		};
		this.datastore.add(session);
		this.served.push(session);
		return session;
	}

	/** As a new process over the same files. */
	async restart(): Promise<void> {
		const old = this.served;
		this.served = [];
		for (const { tree } of old) await tree.close();
		this.datastore = this.make();
		for (const { name, number, uuid } of old) {
			const directory = join(this.directory, `${number}`);
			const tree = await openSession({ directory, bases: [{ base, size: SIZE + 192 }], now: this.now });
			this.serve(name, number, uuid[0], tree);
		}
	}

	root(path: string): DirectoryNode {
		return ok(this.datastore.exportRoot(path)) as DirectoryNode;
	}
}

function ok<T extends object>(result: T | Failed): T {
	const { status } = result as { status?: string };
	if (status !== undefined && status !== "OK") throw new Error(`status ${status}`);
	return result as T;
}

const child = async (directory: DirectoryNode, name: string) => ok(await directory.lookup(name)) as Node;
const read = async (file: Node, offset: number, count: number) =>
	ok(await (file as FileNode).read(offset, count)) as ReadData;
const unchecked: CreateHow = { mode: "unchecked", attributes: {} };

t.test("handles", async (t) => {
	const world = new World(t);
	const session = await world.add("a", 1);
	const disk = await child(world.root("/springback/a"), "disk0-flat.vmdk");
	const handle = Buffer.from(disk.handle);
	t.ok(handle.length <= 56);
	const { fileid, fsid } = disk.attributes();
	t.same(ok(world.datastore.resolve(handle)).attributes(), disk.attributes());
	await world.restart();
	const again = ok(world.datastore.resolve(handle));
	t.equal(again.attributes().fileid, fileid, "the same fileid after a restart");
	t.equal(again.attributes().fsid, fsid);
	t.ok(again.handle.equals(handle), "and the same handle");

	const forged = Buffer.from(handle);
	forged[25] ^= 1;
	t.match(world.datastore.resolve(forged), { status: "BADHANDLE" });
	const served = world.datastore.remove("a");
	await served?.tree.close();
	t.match(world.datastore.resolve(handle), { status: "STALE" }, "stale once the session is gone");
	await world.add("a", 2);
	t.match(world.datastore.resolve(handle), { status: "STALE" }, "and for another session of that name");
	t.equal(session.number, 1);
});

t.test("roots", async (t) => {
	const world = new World(t);
	await world.add("a", 1);
	await world.add("b", 2);
	const all = world.root("/springback");
	const alone = world.root("/springback/a");
	const within = (await child(all, "a")) as DirectoryNode;
	t.equal(within.attributes().fileid, alone.attributes().fileid, "one directory, whichever way it was mounted");
	t.notOk(within.handle.equals(alone.handle));
	t.equal((await child(alone, "..")).attributes().fileid, alone.attributes().fileid, ".. stays at the mounted root");
	t.equal((await child(within, "..")).attributes().fileid, all.attributes().fileid);
	t.equal((await child(all, "..")).attributes().fileid, all.attributes().fileid);
	const made = ok(await alone.make(CALLER, "d", { kind: "directory", attributes: {} })) as Made;
	const inner = made.node as DirectoryNode;
	t.equal((await child(inner, "..")).attributes().fileid, alone.attributes().fileid);
	t.match(world.datastore.exportRoot("/springback/zz"), { status: "NOENT" });
	t.match(world.datastore.exportRoot("/etc"), { status: "NOENT" });
	t.match(await all.create(CALLER, "x", unchecked), { status: "ROFS" });

	const listed = ok(await all.entries(0n, 100, true)) as {
		entries: { name: string; cookie: bigint; fileid: bigint }[];
		end: boolean;
	};
	t.same(
		listed.entries.map(({ name }) => name),
		[".", "..", "a", "b"],
	);
	t.equal(listed.end, true);
	for (const { name, fileid } of listed.entries)
		t.equal((await child(all, name)).attributes().fileid, fileid, `fileid of ${name}`);
	const cookieOfB = listed.entries[3].cookie;
	world.datastore.remove("a");
	const rest = ok(await all.entries(2n, 100, false)) as typeof listed;
	t.equal(rest.entries[0].cookie, cookieOfB, "a cookie does not change when another session goes");
	t.same(
		world.datastore.exports().map(({ path }) => path),
		["/springback", "/springback/b"],
	);
	const node = world.root("/springback/b");
	t.equal(world.datastore.exportsOf(node), world.datastore.exportsOf(node), "the same object while nothing changes");
	t.same(world.datastore.exportsOf(node)[0].clients, ["10.0.0.2"]);
	t.same(world.datastore.exportsOf(all)[0].path, "/springback");
});

t.test("reads", async (t) => {
	const world = new World(t);
	await world.add("a", 1);
	const disk = await child(world.root("/springback/a"), "disk0-flat.vmdk");
	const size = SIZE + 192;
	t.equal(disk.attributes().size, size);
	const whole = await read(disk, 0, size);
	t.ok(Buffer.concat(whole.data).equals(Buffer.concat([content, Buffer.alloc(192)])), "padded with zeros");
	t.equal(whole.eof, true, "eof when the read reaches the end");
	t.equal((await read(disk, 0, size - 1)).eof, false);
	t.match(await read(disk, size - 10, 100), { count: 10, eof: true }, "also on a short read");
	t.match(await read(disk, size, 100), { count: 0, eof: true });
	t.match(await read(disk, size + 5, 0), { count: 0, eof: true });
	t.match(await read(disk, 5, 0), { count: 0, eof: false });
});

t.test("a session whose every write is stable", async (t) => {
	const world = new World(t);
	const session = await world.add("a", 1);
	const disk = (await child(world.root("/springback/a"), "disk0-flat.vmdk")) as FileNode;
	t.match(await disk.write(0, Buffer.from("x"), "unstable"), { committed: "unstable" });
	session.sync = true;
	t.match(await disk.write(0, Buffer.from("x"), "unstable"), { committed: "file-sync" });
});

t.test("create", async (t) => {
	const world = new World(t);
	await world.add("a", 1);
	const root = world.root("/springback/a");
	const first = ok(await root.create(CALLER, "f", unchecked)) as Made;
	t.equal(first.attributes.size, 0);
	const file = first.node as FileNode;
	const written = await file.write(3, Buffer.from("xyz"), "file-sync");
	t.match(written, {
		status: "OK",
		count: 3,
		committed: "file-sync",
		change: { before: { size: 0 }, after: { size: 6 } },
	});
	t.match(await root.create(CALLER, "f", { mode: "guarded", attributes: {} }), { status: "EXIST" });
	const cut = ok(await root.create(CALLER, "f", { mode: "unchecked", attributes: { size: 0 } })) as Made;
	t.equal(cut.attributes.fileid, first.attributes.fileid, "unchecked takes the file that is there");
	t.equal(cut.attributes.size, 0, "and truncates it when asked to");

	const verifier = Buffer.from("12345678");
	const made = ok(await root.create(CALLER, "x", { mode: "exclusive", verifier })) as Made;
	await world.restart();
	const again = world.root("/springback/a");
	const retry = ok(await again.create(CALLER, "x", { mode: "exclusive", verifier })) as Made;
	t.equal(retry.attributes.fileid, made.attributes.fileid, "a retry succeeds, also after a restart");
	const other = { mode: "exclusive" as const, verifier: Buffer.from("87654321") };
	t.match(await again.create(CALLER, "x", other), { status: "EXIST" }, "a different verifier does not");
	for (const name of ["", "a/b", "a\0b"]) t.match(await again.create(CALLER, name, unchecked), { status: "INVAL" });
	for (const name of [".", ".."]) t.match(await again.create(CALLER, name, unchecked), { status: "EXIST" });
	t.match(await again.create(CALLER, "n".repeat(256), unchecked), { status: "NAMETOOLONG" });
	ok(await again.create(CALLER, "n".repeat(255), unchecked));
	ok(await again.create(CALLER, "\xff\xfe", unchecked));
	t.ok(await child(again, "\xff\xfe"), "bytes that are no UTF-8 are kept");
});

t.test("names", async (t) => {
	const world = new World(t);
	await world.add("a", 1);
	await world.add("b", 2);
	const a = world.root("/springback/a");
	const b = world.root("/springback/b");
	ok(await a.create(CALLER, "f", unchecked));
	ok(await a.make(CALLER, "d", { kind: "directory", attributes: { mode: 0o700 } }));
	const d = (await child(a, "d")) as DirectoryNode;
	t.match(await a.rename(CALLER, "f", b, "f"), { status: "XDEV" });
	const moved = await a.rename(CALLER, "f", d, "g");
	t.equal(moved.status, "OK");
	t.match(await a.lookup("f"), { status: "NOENT" });
	const g = await child(d, "g");
	t.match(await a.removeDirectory(CALLER, "d"), { status: "NOTEMPTY" });
	t.match(await a.remove(CALLER, "d"), { status: "ISDIR" });
	t.match(await b.link(CALLER, g, "g"), { status: "XDEV" });
	const linked = await a.link(CALLER, g, "h");
	t.match(linked, { status: "OK", after: { nlink: 2 } });
	ok((await d.remove(CALLER, "g")) as object);
	t.equal((await child(a, "h")).attributes().nlink, 1);
	ok((await a.remove(CALLER, "h")) as object);
	t.match(world.datastore.resolve(g.handle), { status: "STALE" }, "a removed file's handle is stale");
	const guard = (await child(a, "d")).attributes().ctime;
	t.match(await d.setAttributes(CALLER, { mode: 0o711 }, guard + 1n), { status: "NOT_SYNC" });
	t.match(await d.setAttributes(CALLER, { mode: 0o711 }, guard), {
		status: "OK",
		change: { before: { ctime: guard }, after: { mode: 0o711 } },
	});
	const symlink = ok(
		await a.make(CALLER, "s", { kind: "symlink", target: Buffer.from("/else\xff", "latin1"), attributes: {} }),
	) as Made;
	t.equal((symlink.node as unknown as { target(): Buffer }).target().toString("latin1"), "/else\xff");
});

t.test("a replay after a restart", async (t) => {
	const world = new World(t);
	await world.add("a", 1);
	const root = world.root("/springback/a");
	const caller = (request: string) => ({ ...CALLER, request });
	const made = ok(await root.create(caller("k".repeat(16)), "f", { mode: "guarded", attributes: {} })) as Made;
	ok(await root.create(CALLER, "gone", unchecked));
	ok((await root.remove(caller("r".repeat(16)), "gone")) as object);
	await world.restart();
	const again = world.root("/springback/a");
	t.equal(world.datastore.replayed(again, "k".repeat(16))?.node?.attributes().fileid, made.attributes.fileid);
	t.same(world.datastore.replayed(again, "r".repeat(16)), {}, "a remove that was done");
	t.equal(world.datastore.replayed(again, "z".repeat(16)), undefined, "one that never came");
	t.equal(world.datastore.replayed(world.root("/springback"), "k".repeat(16)), undefined);
});

t.test("a failing base", async (t) => {
	const world = new World(t);
	await world.add("a", 1);
	const disk = (await child(world.root("/springback/a"), "disk0-flat.vmdk")) as FileNode;
	const good = base.read;
	base.read = async () => {
		throw Object.assign(new Error("pack 0123 is truncated"), { code: "ECORRUPT" });
	};
	t.teardown(() => {
		base.read = good;
	});
	t.match(await disk.read(0, 4096), { status: "IO" });
	t.match(world.log.join("\n"), /session a.*pack 0123 is truncated/, "and the log names the pack");
});
