/** Every NFSv3 procedure: its success, its typical failures, and true wcc data. */
import t from "tap";
import { MemoryFile } from "./memory-fs.js";
import { fattr, P, postOp, sattr, wcc } from "./nfs-client.js";
import { xdr } from "./raw-client.js";
import { served } from "./served.js";

const NOENT = 2;
const EXIST = 17;
const NOTDIR = 20;
const ISDIR = 21;
const INVAL = 22;
const FBIG = 27;
const NAMETOOLONG = 63;
const NOTEMPTY = 66;
const STALE = 70;
const BADHANDLE = 10001;
const NOT_SYNC = 10002;
const TOOSMALL = 10005;
const BADTYPE = 10007;

t.test("NULL and GETATTR", async (t) => {
	const { fileSystem, connect } = await served(t);
	const file = fileSystem.file("/springback/one/a", Buffer.from("hello"));
	file.mode = 0o640;
	file.uid = 11;
	file.gid = 12;
	file.mtime = 1_600_000_000_123_456_789n;
	const client = await connect();
	t.equal((await client.reply(P.NULL, Buffer.alloc(0))).body.left, 0);
	t.same(await client.getattr(file.handle), {
		type: 1,
		mode: 0o640,
		nlink: 1,
		uid: 11,
		gid: 12,
		size: 5n,
		used: 512n,
		major: 0,
		minor: 0,
		fsid: 0x5b5b_0001n,
		fileid: file.fileid,
		atime: file.atime,
		mtime: 1_600_000_000_123_456_789n,
		ctime: file.ctime,
	});
	const bad = await client.call(P.GETATTR, xdr().opaque(Buffer.alloc(24)).done());
	t.equal(bad.status, BADHANDLE);
	t.equal(bad.body.left, 0);
	fileSystem.nodes.delete(file.fileid);
	t.equal((await client.call(P.GETATTR, xdr().opaque(file.handle).done())).status, STALE);
});

t.test("SETATTR: size, mode, times, guard", async (t) => {
	const { fileSystem, connect } = await served(t);
	const file = fileSystem.file("/springback/one/a", Buffer.from("hello"));
	const client = await connect();
	const set = (body: Buffer, guard?: bigint) => {
		const args = xdr().opaque(file.handle).raw(body);
		if (guard === undefined) args.u32(0);
		else args.u32(1, Number(guard / 1_000_000_000n), Number(guard % 1_000_000_000n));
		return client.call(P.SETATTR, args.done());
	};
	const before = file.ctime;
	const done = await set(sattr({ mode: 0o600, size: 2, mtime: 5_000_000_007n }));
	t.equal(done.status, 0);
	const change = wcc(done.body);
	t.match(change.before, { size: 5n, ctime: before });
	t.match(change.after, { size: 2n, mode: 0o600, mtime: 5_000_000_007n });
	t.equal(file.content().toString(), "he");
	t.equal((await set(sattr({ mtime: "now" }))).status, 0);
	const wrong = await set(sattr({ mode: 0o777 }), 1n);
	t.equal(wrong.status, NOT_SYNC);
	t.match(wcc(wrong.body).after, { mode: 0o600 });
	t.equal((await set(sattr({ mode: 0o644 }), file.ctime)).status, 0);
	t.equal((await set(sattr({ size: 2n ** 53n }))).status, FBIG);
	const directory = fileSystem.directory("/springback/one");
	const onDirectory = await client.call(
		P.SETATTR,
		xdr()
			.opaque(directory.handle)
			.raw(sattr({ size: 1 }))
			.u32(0)
			.done(),
	);
	t.equal(onDirectory.status, ISDIR);
});

t.test("LOOKUP", async (t) => {
	const { fileSystem, connect } = await served(t);
	const file = fileSystem.file("/springback/one/a");
	const client = await connect();
	const root = await client.root();
	const found = await client.lookup(root, "a");
	t.same(found.handle, file.handle);
	t.equal(found.attributes?.fileid, file.fileid);
	t.equal(found.directory?.type, 2);
	const missing = await client.lookup(root, "b");
	t.equal(missing.status, NOENT);
	t.equal(missing.directory?.type, 2, "the directory's attributes even on failure");
	t.equal((await client.lookup(root, "x".repeat(256))).status, NAMETOOLONG);
	t.equal((await client.lookup(root, "")).status, INVAL);
	t.equal((await client.lookup(root, "a/b")).status, INVAL);
	t.equal((await client.lookup(file.handle, "a")).status, NOTDIR);
	const odd = "\xff\xfe\x01";
	fileSystem.file(`/springback/one/${odd}`);
	t.equal((await client.lookup(root, odd)).status, 0, "names are bytes");
});

t.test("ACCESS", async (t) => {
	const { connect } = await served(t);
	const client = await connect();
	const { status, body } = await client.call(
		P.ACCESS,
		xdr()
			.opaque(await client.root())
			.u32(0xffff)
			.done(),
	);
	t.equal(status, 0);
	t.ok(postOp(body));
	t.equal(body.u32(), 0x3f);
});

t.test("READ", async (t) => {
	const { fileSystem, server, connect } = await served(t);
	let released = 0;
	fileSystem.behaviour.onRelease = () => released++;
	const content = Buffer.from(Array.from({ length: 200_001 }, (_, index) => (index * 7) & 0xff));
	const file = fileSystem.file("/springback/one/a", content);
	const client = await connect();
	for (const [offset, count] of [
		[0, 4096],
		[1, 3],
		[65_530, 70_000],
		[0, 200_001],
		[199_999, 1],
	]) {
		const result = await client.read(file.handle, offset, count);
		t.same(result.data, content.subarray(offset, offset + count), `${count} bytes at ${offset}`);
		t.equal(result.count, count);
		t.equal(result.attributes?.size, 200_001n);
	}
	t.equal(released, 5, "every slice is given back");
	t.equal((await client.read(await client.root(), 0, 10)).status, INVAL);
	t.equal((await client.read(file.handle, 2n ** 63n, 10)).eof, true);
	const stats = server.stats.procedure("NFS READ");
	t.equal(stats.calls, 7);
	t.equal(stats.failures, 1);
	t.ok(stats.bytesOut > 200_001);
	t.ok(stats.milliseconds > 0);
});

t.test("READ is clipped to 1 MiB", async (t) => {
	const { fileSystem, connect } = await served(t);
	const file = fileSystem.file("/springback/one/a");
	file.truncate(4 * 1024 * 1024);
	const client = await connect();
	const result = await client.read(file.handle, 0, 3 * 1024 * 1024);
	t.equal(result.count, 1024 * 1024);
	t.equal(result.eof, false);
});

t.test("WRITE and COMMIT", async (t) => {
	const { fileSystem, connect } = await served(t);
	const file = fileSystem.file("/springback/one/a", Buffer.from("0123456789"));
	const client = await connect();
	const before = file.ctime;
	const result = await client.write(file.handle, 5, Buffer.from("abcdefg"), 0);
	t.match(result, { status: 0, count: 7, committed: 0 });
	t.equal(result.verifier.toString(), "verifier");
	t.match(result.change.before, { size: 10n, ctime: before });
	t.match(result.change.after, { size: 12n, ctime: file.ctime });
	t.equal((await client.write(file.handle, 0, Buffer.from("X"), 1)).committed, 1);
	t.equal((await client.write(file.handle, 1, Buffer.from("Y"), 2)).committed, 2);
	t.same(file.stabilities, ["unstable", "data-sync", "file-sync"]);
	t.equal(file.content().toString(), "XY234abcdefg");
	fileSystem.verifier = Buffer.from("another!");
	const commit = await client.call(P.COMMIT, xdr().opaque(file.handle).u64(0).u32(0).done());
	t.equal(commit.status, 0);
	t.equal(wcc(commit.body).after?.size, 12n);
	t.equal(commit.body.raw(8).toString(), "another!");
	t.equal((await client.write(file.handle, 2n ** 53n, Buffer.from("x"))).status, FBIG);
	const short = xdr().opaque(file.handle).u64(0).u32(5, 2).opaque("abc").done();
	t.equal((await client.call(P.WRITE, short)).status, INVAL);
	const wild = xdr().opaque(file.handle).u64(0).u32(3, 9).opaque("abc").done();
	t.equal((await client.reply(P.WRITE, wild)).stat, 4, "an unknown stable_how is garbage");
	const large = Buffer.alloc(1024 * 1024, 0x5a);
	t.equal((await client.write(file.handle, 3, large)).count, large.length);
	t.ok(file.content().subarray(3).equals(large));
});

t.test("CREATE", async (t) => {
	const { fileSystem, connect } = await served(t);
	const client = await connect({ credential: undefined });
	const root = await client.root();
	const first = await client.create(root, "a", "guarded", sattr({ mode: 0o600 }));
	t.equal(first.status, 0);
	t.equal(first.attributes?.mode, 0o600);
	t.ok(first.change.before && first.change.after && first.change.before.ctime < first.change.after.ctime);
	const again = await client.create(root, "a", "guarded");
	t.equal(again.status, EXIST);
	t.ok(again.change.after);
	t.equal((await client.create(root, "a", "unchecked", sattr({ size: 7 }))).attributes?.size, 7n);
	for (const name of [".", ".."]) t.equal((await client.create(root, name, "unchecked")).status, EXIST);
	t.equal((await client.create(root, "x".repeat(256), "unchecked")).status, NAMETOOLONG);
	t.equal((await client.create(first.handle!, "b", "unchecked")).status, NOTDIR);
	t.equal((await client.create(root, "b", "unchecked", sattr({ size: 2n ** 60n }))).status, FBIG);
	t.equal((await client.reply(P.CREATE, xdr().opaque(root).opaque("b").u32(3).done())).stat, 4);
	t.equal(fileSystem.changes, 2);
});

t.test("MKDIR, SYMLINK, READLINK, MKNOD", async (t) => {
	const { fileSystem, connect } = await served(t);
	const client = await connect();
	const root = await client.root();
	const made = await client.make(
		P.MKDIR,
		xdr()
			.opaque(root)
			.opaque("d")
			.raw(sattr({ mode: 0o700 }))
			.done(),
	);
	t.match(made, { status: 0, left: 0, attributes: { type: 2, mode: 0o700 } });
	const symlinkArgs = xdr().opaque(root).opaque("s").raw(sattr()).opaque("../target").done();
	const symlink = await client.make(P.SYMLINK, symlinkArgs);
	t.match(symlink, { status: 0, attributes: { type: 5 } });
	// The target must not lie in the receive buffer, which is used again.
	await client.write((await client.create(root, "f", "unchecked")).handle!, 0, Buffer.alloc(4096, 1));
	const { status, body } = await client.call(P.READLINK, xdr().opaque(symlink.handle!).done());
	t.equal(status, 0);
	t.ok(postOp(body));
	t.equal(body.text(), "../target");
	t.equal((await client.call(P.READLINK, xdr().opaque(root).done())).status, INVAL);
	const node = (name: string, rest: Buffer) => client.make(P.MKNOD, xdr().opaque(root).opaque(name).raw(rest).done());
	t.match(await node("b", xdr().u32(3).raw(sattr()).u32(8, 1).done()), {
		status: 0,
		attributes: { type: 3, major: 8, minor: 1 },
	});
	t.match(await node("c", xdr().u32(4).raw(sattr()).u32(1, 3).done()), { status: 0, attributes: { type: 4 } });
	t.match(await node("so", xdr().u32(6).raw(sattr()).done()), { status: 0, attributes: { type: 6 } });
	t.match(await node("p", xdr().u32(7).raw(sattr()).done()), { status: 0, attributes: { type: 7 } });
	t.equal((await node("r", xdr().u32(1).done())).status, BADTYPE);
	t.equal((await client.make(P.MKDIR, xdr().opaque(root).opaque("d").raw(sattr()).done())).status, EXIST);
	t.ok(fileSystem.directory("/springback/one").children.has("so"));
});

t.test("REMOVE, RMDIR", async (t) => {
	const { fileSystem, connect } = await served(t);
	fileSystem.file("/springback/one/d/a");
	const client = await connect();
	const root = await client.root();
	const act = async (procedure: number, directory: Buffer, name: string) => {
		const { status, body } = await client.call(procedure, xdr().opaque(directory).opaque(name).done());
		return { status, change: wcc(body) };
	};
	t.equal((await act(P.REMOVE, root, "d")).status, ISDIR);
	t.equal((await act(P.RMDIR, root, "d")).status, NOTEMPTY);
	const d = (await client.lookup(root, "d")).handle;
	t.equal((await act(P.RMDIR, d, "a")).status, NOTDIR);
	const removed = await act(P.REMOVE, d, "a");
	t.equal(removed.status, 0);
	t.ok(removed.change.before!.mtime < removed.change.after!.mtime);
	t.equal((await act(P.REMOVE, d, "a")).status, NOENT);
	t.equal((await act(P.RMDIR, root, "d")).status, 0);
	t.equal((await client.call(P.GETATTR, xdr().opaque(d).done())).status, STALE);
	t.equal((await act(P.REMOVE, root, "..")).status, INVAL);
});

t.test("RENAME and LINK", async (t) => {
	const { fileSystem, connect } = await served(t);
	const file = fileSystem.file("/springback/one/a", Buffer.from("A"));
	fileSystem.file("/springback/one/d/old", Buffer.from("old"));
	const client = await connect();
	const root = await client.root();
	const d = (await client.lookup(root, "d")).handle;
	const rename = async (name: string, toName: string) => {
		const args = xdr().opaque(root).opaque(name).opaque(d).opaque(toName).done();
		const { status, body } = await client.call(P.RENAME, args);
		return { status, from: wcc(body), to: wcc(body), left: body.left };
	};
	const done = await rename("a", "old");
	t.match(done, { status: 0, left: 0 });
	t.ok(done.from.before && done.to.before);
	t.same((await client.lookup(d, "old")).handle, file.handle);
	const missing = await rename("a", "b");
	t.equal(missing.status, NOENT);
	t.ok(missing.from.after && missing.to.after);
	t.equal((await rename(".", "b")).status, INVAL);
	const link = async (name: string) => {
		const args = xdr().opaque(file.handle).opaque(root).opaque(name).done();
		const { status, body } = await client.call(P.LINK, args);
		return { status, after: postOp(body), change: wcc(body), left: body.left };
	};
	t.match(await link("again"), { status: 0, after: { nlink: 2 }, left: 0 });
	t.match(await link("again"), { status: EXIST, after: { nlink: 2 }, left: 0 });
});

t.test("READDIR and READDIRPLUS go through a large directory in pieces", async (t) => {
	const { fileSystem, connect } = await served(t);
	const names = Array.from({ length: 700 }, (_, index) => `file-${index}-${"n".repeat(index % 60)}`);
	for (const name of names) fileSystem.file(`/springback/one/${name}`);
	const client = await connect();
	const root = await client.root();
	for (const plus of [false, true]) {
		const seen: string[] = [];
		let cookie = 0n;
		for (;;) {
			const part = plus ? await client.readdirplus(root, cookie, 4096, 8192) : await client.readdir(root, cookie, 4096);
			t.equal(part.status, 0);
			t.ok(part.bytes <= (plus ? 8192 : 4096), "no longer than asked for");
			for (const entry of part.entries) {
				seen.push(entry.name);
				if (plus) t.equal(entry.attributes?.fileid, entry.fileid);
				if (plus) t.same(fileSystem.nodes.get(entry.fileid)?.handle, entry.handle);
			}
			if (part.eof) break;
			cookie = part.entries.at(-1)!.cookie;
		}
		t.same(seen, [".", "..", ...names]);
	}
	const small = await client.readdir(root, 0n, 120);
	t.equal(small.status, TOOSMALL);
	t.ok(small.attributes);
	t.equal((await client.readdir((await client.lookup(root, names[0])).handle, 0n, 4096)).status, NOTDIR);
});

t.test("FSSTAT, FSINFO, PATHCONF", async (t) => {
	const { connect } = await served(t);
	const client = await connect();
	const root = await client.root();
	const args = xdr().opaque(root).done();
	const fsstat = await client.call(P.FSSTAT, args);
	t.equal(fsstat.status, 0);
	postOp(fsstat.body);
	t.same(
		Array.from({ length: 6 }, () => fsstat.body.u64()),
		[10n ** 12n, 5n * 10n ** 11n, 4n * 10n ** 11n, 10n ** 6n, 900_000n, 900_000n],
	);
	t.equal(fsstat.body.u32(), 0);
	const fsinfo = await client.call(P.FSINFO, args);
	postOp(fsinfo.body);
	const MiB = 1024 * 1024;
	t.same(
		Array.from({ length: 7 }, () => fsinfo.body.u32()),
		[MiB, MiB, 4096, MiB, MiB, 4096, 65536],
	);
	t.equal(fsinfo.body.u64(), 2n ** 53n - 1n);
	t.same([fsinfo.body.u32(), fsinfo.body.u32(), fsinfo.body.u32()], [0, 1, 0x1b]);
	t.equal(fsinfo.body.left, 0);
	const pathconf = await client.call(P.PATHCONF, args);
	postOp(pathconf.body);
	t.same(
		Array.from({ length: 6 }, () => pathconf.body.u32()),
		[32000, 255, 1, 1, 0, 1],
	);
});

t.test("every procedure works when the file system answers later", async (t) => {
	const { fileSystem, connect } = await served(t);
	fileSystem.behaviour.asynchronous = true;
	const client = await connect();
	const root = await client.root();
	const { handle } = await client.create(root, "a", "unchecked");
	t.equal((await client.write(handle!, 0, Buffer.from("later"))).status, 0);
	t.equal((await client.read(handle!, 0, 100)).data.toString(), "later");
	t.equal((await client.lookup(root, "a")).status, 0);
	t.equal((await client.readdirplus(root, 0n, 4096, 8192)).entries.length, 3);
	t.equal((await client.call(P.COMMIT, xdr().opaque(handle!).u64(0).u32(0).done())).status, 0);
	const rename = xdr().opaque(root).opaque("a").opaque(root).opaque("b").done();
	t.equal((await client.call(P.RENAME, rename)).status, 0);
	t.equal((await client.call(P.REMOVE, xdr().opaque(root).opaque("b").done())).status, 0);
	t.equal((await client.lookup(root, "b")).status, NOENT);
});

t.test("an error thrown by the file system becomes SERVERFAULT and one line in the log", async (t) => {
	const { fileSystem, logs, connect } = await served(t);
	const file = fileSystem.file("/springback/one/a", Buffer.from("x"));
	const client = await connect();
	const error = new Error("no\nsuch luck");
	fileSystem.behaviour.throws = { operation: "read", error };
	t.equal((await client.read(file.handle, 0, 1)).status, 10006);
	fileSystem.behaviour.asynchronous = true;
	t.equal((await client.read(file.handle, 0, 1)).status, 10006);
	fileSystem.behaviour.throws = { operation: "create", error };
	t.equal((await client.create(await client.root(), "b", "unchecked")).status, 10006);
	t.same(logs, [
		"READ from 127.0.0.1 failed unexpectedly: Error: no such luck",
		"READ from 127.0.0.1 failed unexpectedly: Error: no such luck",
		"CREATE from 127.0.0.1 failed unexpectedly: Error: no such luck",
	]);
	fileSystem.behaviour.throws = undefined;
	t.equal((await client.read(file.handle, 0, 1)).status, 0, "and goes on");
});

t.test("failures of the file system reach the client", async (t) => {
	const { fileSystem, connect } = await served(t);
	const file = fileSystem.file("/springback/one/a", Buffer.from("x"));
	const client = await connect();
	for (const [status, number] of [
		["IO", 5],
		["NOSPC", 28],
		["JUKEBOX", 10008],
		["DQUOT", 69],
	] as const) {
		fileSystem.behaviour.fails = { operation: "write", status };
		const result = await client.write(file.handle, 0, Buffer.from("y"));
		t.equal(result.status, number);
		t.equal(result.change.after?.size, 1n);
	}
});

t.test("fattr carries large sizes and ids", async (t) => {
	const { fileSystem, connect } = await served(t);
	const file = new MemoryFile(fileSystem);
	fileSystem.directory("/springback/one").add("big", file);
	file.truncate(64 * 2 ** 40 + 5);
	const client = await connect();
	const { body } = await client.call(P.GETATTR, xdr().opaque(file.handle).done());
	t.equal(fattr(body).size, 64n * 2n ** 40n + 5n);
});
