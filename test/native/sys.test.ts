/** System calls: each does on disk what its name says, and failures carry code, errno, syscall and path. */
import { constants, existsSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { sys } from "../../native/index.js";
import { noise, scratchFile } from "./support.js";

t.test("write and read back", async (t) => {
	const { fd, path } = scratchFile(t);
	sys.pwrite(fd, Buffer.from("abcdef"), 10);
	sys.pwrite(fd, Buffer.alloc(0), 1000);
	const target = Buffer.alloc(20, 0xff);
	t.equal(sys.pread(fd, target, 8), 8, "fewer bytes only at the end of the file");
	t.same(target.subarray(0, 8), Buffer.from("\0\0abcdef"));
	t.equal(target[8], 0xff, "nothing written beyond what was read");
	t.equal(sys.pread(fd, target, 16), 0);
	t.equal(sys.pread(fd, Buffer.alloc(0), 0), 0);
	t.equal(readFileSync(path).length, 16);
	const inside = noise(300, 7);
	sys.pwrite(fd, inside.subarray(100, 103), 0);
	t.same(readFileSync(path).subarray(0, 3), inside.subarray(100, 103), "a view's offset counts");
});

t.test("pwritev of more parts than the kernel takes at once, empty ones among them", async (t) => {
	const { fd, path } = scratchFile(t);
	const parts: Buffer[] = [];
	for (let i = 0; i < 3000; i++) parts.push(noise(i % 7, i + 1));
	sys.pwritev(fd, parts, 5);
	t.same(readFileSync(path).subarray(5), Buffer.concat(parts));
	sys.pwritev(fd, [], 0);
	sys.pwritev(fd, [Buffer.alloc(0)], 0);
	t.same(readFileSync(path).subarray(5), Buffer.concat(parts));
});

t.test("O_CLOEXEC is always set, mode and flags are honoured", async (t) => {
	const { path } = scratchFile(t);
	const fd = sys.open(path, constants.O_RDONLY);
	const flags = /flags:\s*0*([0-7]+)/.exec(readFileSync(`/proc/self/fdinfo/${fd}`, "utf8"));
	t.equal(Number.parseInt(flags?.[1] ?? "0", 8) & 0o2000000, 0o2000000);
	t.throws(() => sys.pwrite(fd, Buffer.from("x"), 0), { code: "EBADF", errno: 9, syscall: "pwrite", path });
	sys.close(fd);
	t.equal(statSync(path).mode & 0o777, 0o600);
	t.throws(() => sys.open(path, constants.O_CREAT | constants.O_EXCL | constants.O_RDWR), { code: "EEXIST" });
});

t.test("sync, truncate, allocate, punch, seek", async (t) => {
	const { fd, path, dir } = scratchFile(t);
	sys.ftruncate(fd, 1 << 20);
	t.equal(sys.fstat(fd).size, 1 << 20);
	t.equal(sys.seekData(fd, 0), -1, "no data in an all-hole file");
	t.equal(sys.seekHole(fd, 0), 0);
	sys.pwrite(fd, Buffer.alloc(65536, 1), 65536);
	sys.fdatasync(fd);
	sys.fsync(fd);
	sys.fsyncDirectory(dir);
	t.equal(sys.seekData(fd, 0), 65536);
	t.equal(sys.seekHole(fd, 65536), 131072);
	t.equal(sys.seekData(fd, 1 << 20), -1, "at the end");
	sys.fallocate(fd, 3, 65536, 65536);
	const back = Buffer.alloc(65536, 0xff);
	sys.pread(fd, back, 65536);
	t.ok(back.every((byte) => byte === 0));
	t.equal(sys.fstat(fd).size, 1 << 20, "a punch keeps the size");
	sys.fallocate(fd, 0, 1 << 20, 4096);
	t.equal(statSync(path).size, (1 << 20) + 4096);
	t.throws(() => sys.fsyncDirectory(path), { code: "ENOTDIR", path });
	t.throws(() => sys.fsyncDirectory(join(dir, "none")), { code: "ENOENT" });
});

t.test("fstat and statfs agree with node", async (t) => {
	const { fd, path, dir } = scratchFile(t);
	sys.pwrite(fd, noise(10_000, 3), 0);
	const expected = statSync(path, { bigint: true });
	const found = sys.fstat(fd);
	t.equal(BigInt(found.size), expected.size);
	t.equal(BigInt(found.allocated), expected.blocks * 512n);
	t.equal(BigInt(found.ino), expected.ino);
	t.equal(BigInt(found.dev), expected.dev);
	t.equal(BigInt(found.mode), expected.mode);
	t.equal(found.mtimeNs, expected.mtimeNs);
	const fs = sys.statfs(dir);
	t.ok(fs.total >= fs.free && fs.free >= fs.available && fs.available > 0);
	t.ok(Number.isInteger(fs.type) && fs.type > 0);
	t.throws(() => sys.statfs(join(dir, "none")), {
		code: "ENOENT",
		errno: 2,
		syscall: "statfs",
		path: join(dir, "none"),
	});
});

t.test("names", async (t) => {
	const dir = t.testdir({ one: "1", two: "2" });
	const at = (name: string) => join(dir, name);
	t.throws(() => sys.renameNoReplace(at("one"), at("two")), { code: "EEXIST", syscall: "rename", path: at("one") });
	t.equal(readFileSync(at("two"), "utf8"), "2");
	sys.renameNoReplace(at("one"), at("three"));
	sys.rename(at("three"), at("two"));
	t.equal(readFileSync(at("two"), "utf8"), "1");
	sys.link(at("two"), at("four"));
	t.throws(() => sys.link(at("two"), at("four")), { code: "EEXIST" });
	t.equal(statSync(at("two")).nlink, 2);
	sys.unlink(at("two"));
	t.notOk(existsSync(at("two")));
	t.throws(() => sys.unlink(at("two")), {
		code: "ENOENT",
		message: /ENOENT: no such file or directory, unlink '.*two'/,
	});
	sys.mkdir(at("sub"), 0o700);
	t.equal(statSync(at("sub")).mode & 0o777, 0o700);
	writeFileSync(at("sub/ümläut"), "");
	t.throws(() => sys.rmdir(at("sub")), { code: "ENOTEMPTY" });
	sys.unlink(at("sub/ümläut"));
	sys.rmdir(at("sub"));
	t.notOk(existsSync(at("sub")));
	mkdirSync(at("real"));
	symlinkSync("real", at("soft"));
	sys.fsyncDirectory(at("soft"));
});

t.test("locks belong to the open file, not to the process", async (t) => {
	const { fd, path } = scratchFile(t);
	const other = sys.open(path, constants.O_RDWR);
	t.ok(sys.lock(fd, "shared", 0, 10));
	t.ok(sys.lock(other, "shared", 0, 10));
	t.notOk(sys.lock(fd, "exclusive", 5, 1), "somebody else reads");
	sys.unlock(other, 0, 10);
	t.ok(sys.lock(fd, "exclusive", 5, 1));
	t.notOk(sys.lock(other, "shared", 5, 1));
	t.ok(sys.lock(other, "exclusive", 10, 1), "another range");
	sys.unlock(fd, 0, 10);
	t.ok(sys.lock(other, "exclusive", 0, 0), "length 0: to the end");
	t.notOk(sys.lock(fd, "shared", 1 << 30, 1));
	sys.close(other);
	t.ok(sys.lock(fd, "exclusive", 0, 0), "closing releases");
});

t.test("a closed descriptor", async (t) => {
	const { path } = scratchFile(t);
	const fd = sys.open(path, constants.O_RDWR);
	sys.close(fd);
	t.throws(() => sys.close(fd), { code: "EBADF", syscall: "close" });
	t.throws(() => sys.fstat(fd), { code: "EBADF", syscall: "fstat" });
	t.throws(() => sys.seekData(fd, 0), { code: "EBADF", syscall: "lseek" });
	t.throws(() => sys.lock(fd, "shared", 0, 1), { code: "EBADF", syscall: "fcntl" });
});
