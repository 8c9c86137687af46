/** Wrong arguments throw a TypeError or RangeError before anything touches memory or disk. */
import t from "tap";
import {
	createLane,
	decodeRecord,
	encodeRecord,
	hmacSha256,
	isZero,
	lz4Compress,
	lz4Decompress,
	type RecordRead,
	sha256,
	sys,
	xxh3,
} from "../../native/index.js";
import { scratchFile } from "./support.js";

type Anything = any;

const typeError = { name: "TypeError", code: "ERR_INVALID_ARG_TYPE" };
const rangeError = { name: "RangeError", code: "ERR_OUT_OF_RANGE" };
const notBytes: Anything[] = [
	undefined,
	null,
	1,
	"text",
	{},
	[],
	new Uint16Array(4),
	new ArrayBuffer(8),
	new DataView(new ArrayBuffer(8)),
];
const badNumbers: Anything[] = [-1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53];
const notNumbers: Anything[] = [undefined, null, "1", 1n, {}];

t.test("bytes", async (t) => {
	const { fd } = scratchFile(t);
	const lane = createLane("misuse", 1);
	t.teardown(() => lane.close());
	const good = Buffer.alloc(8);
	const calls: ((bad: Anything) => unknown)[] = [
		(bad) => sys.pread(fd, bad, 0),
		(bad) => sys.pwrite(fd, bad, 0),
		(bad) => sys.pwritev(fd, [good, bad], 0),
		(bad) => lane.pread(fd, bad, 0),
		(bad) => lane.preadMany(fd, [good, bad], [0, 0]),
		(bad) => lane.write(fd, [good, bad], 0, false),
		(bad) => lane.hashBlocks(bad, 4096),
		(bad) => lane.encodeRecords(bad, 4096, new Uint32Array(0), good, 1, 1),
		(bad) => lane.encodeRecords(good, 4096, new Uint32Array(0), bad, 1, 1),
		(bad) => sha256(bad),
		(bad) => hmacSha256(bad, good),
		(bad) => hmacSha256(good, bad),
		(bad) => xxh3(bad),
		(bad) => isZero(bad),
		(bad) => lz4Compress(bad, good),
		(bad) => lz4Compress(good, bad),
		(bad) => lz4Decompress(bad, good),
		(bad) => lz4Decompress(good, bad),
		(bad) => encodeRecord(bad, Buffer.alloc(32), 1, 1),
		(bad) => encodeRecord(good, bad, 1, 1),
		(bad) => decodeRecord(bad, null, 1),
	];
	for (const call of calls) for (const bad of notBytes) t.throws(() => call(bad), typeError);
	t.throws(() => decodeRecord(good, undefined as Anything, 1), typeError);
	t.throws(() => encodeRecord(good, Buffer.alloc(31), 1, 1), rangeError);
	t.throws(() => decodeRecord(good, Buffer.alloc(33), 1), rangeError);
});

t.test("numbers", async (t) => {
	const { fd } = scratchFile(t);
	const lane = createLane("misuse", 1);
	t.teardown(() => lane.close());
	const good = Buffer.alloc(8);
	const id = Buffer.alloc(32);
	const calls: ((bad: Anything) => unknown)[] = [
		(bad) => sys.pread(bad, good, 0),
		(bad) => sys.pread(fd, good, bad),
		(bad) => sys.pwrite(fd, good, bad),
		(bad) => sys.pwritev(fd, [good], bad),
		(bad) => sys.close(bad),
		(bad) => sys.ftruncate(fd, bad),
		(bad) => sys.fallocate(fd, bad, 0, 1),
		(bad) => sys.fallocate(fd, 0, bad, 1),
		(bad) => sys.fallocate(fd, 0, 0, bad),
		(bad) => sys.seekData(fd, bad),
		(bad) => sys.seekHole(bad, 0),
		(bad) => sys.lock(fd, "shared", bad, 1),
		(bad) => sys.unlock(fd, 0, bad),
		(bad) => sys.open("/dev/null", bad),
		(bad) => sys.mkdir("/dev/null/x", bad),
		(bad) => lane.pread(fd, good, bad),
		(bad) => lane.preadMany(fd, [good], [bad]),
		(bad) => lane.write(fd, [good], bad, false),
		(bad) => lane.writeZeros(bad, 0, 1),
		(bad) => lane.writeZeros(fd, bad, 1),
		(bad) => lane.writeZeros(fd, 0, bad),
		(bad) => lane.fallocate(bad, 0, 0, 1),
		(bad) => lane.fallocate(fd, bad, 0, 1),
		(bad) => lane.fallocate(fd, 0, bad, 1),
		(bad) => lane.fallocate(fd, 0, 0, bad),
		(bad) => lane.fsync(bad),
		(bad) => lane.hashBlocks(good, bad),
		(bad) => lane.encodeRecords(good, bad, new Uint32Array(0), id, 1, 1),
		(bad) => lane.encodeRecords(good, 8, new Uint32Array(0), id, bad, 1),
		(bad) => lane.encodeRecords(good, 8, new Uint32Array(0), id, 1, bad),
		(bad) => encodeRecord(good, id, bad, 1),
		(bad) => encodeRecord(good, id, 1, bad),
		(bad) => createLane("x", bad),
	];
	for (const call of calls) {
		for (const bad of badNumbers) t.throws(() => call(bad), rangeError);
		for (const bad of notNumbers) t.throws(() => call(bad), typeError);
	}
	t.throws(() => sys.close(2 ** 31), rangeError);
	t.throws(() => encodeRecord(good, id, 256, 1), rangeError);
	t.throws(() => encodeRecord(good, id, 1, 3), rangeError);
	t.throws(() => lane.writeZeros(fd, 0, 2 ** 26 + 1), rangeError);
	t.throws(() => createLane("x", 0), rangeError);
	t.throws(() => createLane("x", 65), rangeError);
	t.throws(() => lane.hashBlocks(good, 0), rangeError);
});

t.test("texts and lists", async (t) => {
	const { fd } = scratchFile(t);
	const lane = createLane("misuse", 1);
	t.teardown(() => lane.close());
	for (const bad of [undefined, 1, "", "nul\0byte", Buffer.from("x")] as Anything[]) {
		t.throws(() => sys.open(bad, 0), typeError);
		t.throws(() => sys.rename("x", bad), typeError);
		t.throws(() => sys.link(bad, "x"), typeError);
		t.throws(() => lane.fsyncDirectory(bad), typeError);
	}
	t.throws(() => createLane(5 as Anything, 1), typeError);
	t.throws(() => sys.lock(fd, "both" as Anything, 0, 1), typeError);
	t.throws(() => lane.write(fd, [], 0, "yes" as Anything), typeError);
	t.throws(() => lane.write(fd, "text" as Anything, 0, false), typeError);
	t.throws(() => sys.pwritev(fd, Buffer.alloc(3) as Anything, 0), typeError);
	t.throws(() => sys.pwritev(fd, new Array(2 ** 31), 0), rangeError);
	t.throws(() => lane.readRecords({} as Anything), typeError);
});

t.test("readRecords and encodeRecords keep to their buffers", async (t) => {
	const { fd } = scratchFile(t);
	const lane = createLane("misuse", 1);
	t.teardown(() => lane.close());
	const read: RecordRead = {
		fd,
		position: 0,
		length: 100,
		identity: Buffer.alloc(32),
		type: 1,
		rawLength: 50,
		target: Buffer.alloc(100),
		targetOffset: 50,
	};
	const refuse = (change: Anything, error: Anything) =>
		t.throws(() => lane.readRecords([read, { ...read, ...change }]), error);
	t.same(await lane.readRecords([read]), ["short"]);
	refuse({ targetOffset: 51 }, rangeError);
	refuse({ rawLength: 51 }, rangeError);
	refuse({ targetOffset: 2 ** 53 - 1 }, rangeError);
	refuse({ targetOffset: 101, rawLength: 0 }, rangeError);
	refuse({ rawLength: 2 ** 26 + 1 }, rangeError);
	refuse({ length: 2 ** 32 }, rangeError);
	refuse({ identity: Buffer.alloc(31) }, rangeError);
	refuse({ type: 256 }, rangeError);
	refuse({ fd: -1 }, rangeError);
	refuse({ target: undefined }, typeError);
	refuse({ position: "0" }, typeError);
	t.throws(() => lane.readRecords([null as Anything]), typeError);
	t.throws(() => lane.readRecords(new Array(3)), typeError);
	const data = Buffer.alloc(1000);
	t.throws(() => lane.encodeRecords(data, 100, Uint32Array.of(10), Buffer.alloc(320), 1, 1), rangeError);
	t.throws(() => lane.encodeRecords(data, 100, Uint32Array.of(0), Buffer.alloc(319), 1, 1), rangeError);
	t.throws(() => lane.encodeRecords(data, 100, [0] as Anything, Buffer.alloc(320), 1, 1), typeError);
	t.equal(lane.pending, 0, "refused calls leave nothing behind");
});

t.test("buffers detached by a getter, or before", async (t) => {
	const { fd } = scratchFile(t);
	const lane = createLane("misuse", 1);
	t.teardown(() => lane.close());
	const detach = (view: Uint8Array) => structuredClone(view, { transfer: [view.buffer as ArrayBuffer] });
	const gone = new Uint8Array(100);
	detach(gone);
	t.equal(await lane.pread(fd, gone, 0), 0, "a detached view is empty");
	t.equal(sys.pread(fd, gone, 0), 0);
	const target = new Uint8Array(100);
	const base = { fd, position: 0, length: 100, identity: new Uint8Array(32), type: 1, rawLength: 50, targetOffset: 0 };
	const trap = {
		...base,
		target: new Uint8Array(100),
		get fd() {
			detach(target);
			return fd;
		},
	};
	t.throws(() => lane.readRecords([{ ...base, target }, trap]), rangeError);
	const first = new Uint8Array(4);
	const parts: Anything = [first, null];
	Object.defineProperty(parts, 1, {
		get() {
			if (first.length > 0) detach(first);
			return Buffer.from("b");
		},
	});
	await lane.write(fd, parts, 0, false);
	t.equal(sys.fstat(fd).size, 1, "what was detached is empty, not read");
});

t.test("methods on the wrong object", async (t) => {
	const lane: Anything = createLane("misuse", 1);
	t.teardown(() => lane.close());
	for (const receiver of [{}, null, 1, Object.create(lane)]) {
		t.throws(() => lane.fsync.call(receiver, 1));
		t.throws(() => lane.close.call(receiver));
	}
	t.throws(() => new lane.constructor());
	t.throws(() => lane.constructor("x", 1));
	const rogue = new lane.constructor("rogue", 1);
	await rogue.close();
});
