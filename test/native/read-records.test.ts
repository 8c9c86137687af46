/** Lane.encodeRecords and Lane.readRecords: through a file, adjacent or not, damaged or not. */
import t from "tap";
import {
	createLane,
	decodeRecord,
	encodeRecord,
	type FaultRule,
	faults,
	hmacSha256,
	type RecordRead,
	sha256,
	sys,
} from "../../native/index.js";
import { noise, prose, scratchFile } from "./support.js";

t.afterEach(() => faults.clear());

const blockSize = 4096;

/** A file of records: 40 blocks, every third of noise, the last one short. */
async function prepare(t: import("tap").Test) {
	const { fd, path } = scratchFile(t);
	const lane = createLane("records", 2);
	t.teardown(() => lane.close());
	const blocks = Array.from({ length: 40 }, (_, i) => (i % 3 ? prose : noise)(i === 39 ? 1000 : blockSize, i + 1));
	const data = Buffer.concat(blocks);
	const { identities } = await lane.hashBlocks(data, blockSize);
	const chosen = Uint32Array.from(blocks.keys());
	const { bytes, lengths } = await lane.encodeRecords(data, blockSize, chosen, identities, 1, 1);
	await lane.write(fd, [bytes], 100, true);
	const target = Buffer.alloc(data.length, 0xee);
	let position = 100;
	const reads: RecordRead[] = blocks.map((block, i) => {
		const read = {
			fd,
			position,
			length: lengths[i],
			identity: identities.subarray(i * 32, i * 32 + 32),
			type: 1,
			rawLength: block.length,
			target,
			targetOffset: i * blockSize,
		};
		position += lengths[i];
		return read;
	});
	return { fd, path, lane, blocks, data, identities, bytes, lengths, target, reads, end: position };
}

t.test("hashContent: content that is not what its identity names is told", async (t) => {
	const { lane, reads, identities, data, fd } = await prepare(t);
	const wrong = encodeRecord(prose(100, 3), sha256(prose(100, 4)), 1, 0);
	await lane.write(fd, [wrong], 1_000_000, true);
	const forged = {
		...reads[0],
		position: 1_000_000,
		length: wrong.length,
		identity: sha256(prose(100, 4)),
		rawLength: 100,
		target: Buffer.alloc(100),
	};
	t.same(await lane.readRecords([forged]), ["ok"], "a checksum that was made for it hides it");
	lane.hashContent();
	t.same(await lane.readRecords([forged]), ["content"]);
	t.same(new Set(await lane.readRecords(reads)), new Set(["ok"]), "good ones are good");
	t.same(reads[0].target, data);
	const keyed = createLane("keyed", 1);
	t.teardown(() => keyed.close());
	const key = Buffer.alloc(32, 7);
	keyed.hashContent(key);
	keyed.hashContent();
	t.same(await keyed.readRecords([reads[0]]), ["content"], "the first call counts");
	const record = encodeRecord(prose(100, 3), hmacSha256(key, prose(100, 3)), 1, 1);
	await keyed.write(fd, [record], 1_000_000, true);
	const good = { ...forged, length: record.length, identity: hmacSha256(key, prose(100, 3)) };
	t.same(await keyed.readRecords([good]), ["ok"]);
	t.throws(() => keyed.hashContent(Buffer.alloc(31)), /key/);
	t.equal(identities.length, 40 * 32);
});

t.test("encodeRecords frames the chosen blocks in the order asked for", async (t) => {
	const { lane, data, blocks, identities } = await prepare(t);
	const chosen = Uint32Array.of(39, 4, 4, 0);
	const { bytes, lengths } = await lane.encodeRecords(data, blockSize, chosen, identities, 2, 1);
	let at = 0;
	for (const [i, block] of chosen.entries()) {
		const record = bytes.subarray(at, at + lengths[i]);
		t.same(record, encodeRecord(blocks[block], sha256(blocks[block]), 2, 1), "as encodeRecord makes it");
		t.ok(decodeRecord(record, sha256(blocks[block]), 2).equals(blocks[block]));
		at += lengths[i];
	}
	t.equal(at, bytes.length);
	const none = await lane.encodeRecords(data, blockSize, new Uint32Array(0), identities, 2, 1);
	t.equal(none.bytes.length, 0);
	t.equal(none.lengths.length, 0);
});

t.test("adjacent records come back by one read", async (t) => {
	const { lane, reads, target, data } = await prepare(t);
	faults.set([{ op: "pread", error: "EIO", skip: 1, count: -1 }]);
	t.same(new Set(await lane.readRecords(reads)), new Set(["ok"]), "a second read would have failed");
	t.ok(target.equals(data));
	t.same(await lane.readRecords([]), []);
});

t.test("any order, any gaps, two files", async (t) => {
	const { lane, reads, target, data, bytes } = await prepare(t);
	const other = scratchFile(t, "other");
	sys.pwrite(other.fd, bytes, 100);
	const mixed = reads.map((read, i) => (i % 5 === 2 ? { ...read, fd: other.fd } : read)).reverse();
	t.same(new Set(await lane.readRecords(mixed)), new Set(["ok"]));
	t.ok(target.equals(data));
});

t.test("runs longer than the limit", async (t) => {
	const { fd } = scratchFile(t);
	const lane = createLane("long", 1);
	t.teardown(() => lane.close());
	const big = noise(3 << 20, 3);
	const record = encodeRecord(big, sha256(big), 1, 1);
	const huge = noise(5 << 20, 4);
	const hugeRecord = encodeRecord(huge, sha256(huge), 1, 1);
	sys.pwritev(fd, [record, record, hugeRecord], 0);
	const target = Buffer.alloc(11 << 20);
	const read = { fd, type: 1, target, identity: sha256(big), length: record.length, rawLength: big.length };
	const statuses = await lane.readRecords([
		{ ...read, position: 0, targetOffset: 0 },
		{ ...read, position: record.length, targetOffset: 3 << 20 },
		{
			...read,
			position: record.length * 2,
			length: hugeRecord.length,
			identity: sha256(huge),
			rawLength: huge.length,
			targetOffset: 6 << 20,
		},
	]);
	t.same(statuses, ["ok", "ok", "ok"]);
	t.ok(target.equals(Buffer.concat([big, big, huge])));
});

t.test("what is wrong with one record is told of that one, and its target stays untouched", async (t) => {
	const { fd, lane, reads, target, data } = await prepare(t);
	const flip = (position: number) => {
		const byte = Buffer.alloc(1);
		sys.pread(fd, byte, position);
		byte[0] ^= 0x10;
		sys.pwrite(fd, byte, position);
	};
	flip(reads[3].position + 70);
	flip(reads[5].position);
	flip(reads[7].position + 12);
	const asked = reads.slice();
	asked[9] = { ...asked[9], type: 2 };
	asked[11] = { ...asked[11], identity: noise(32, 1) };
	asked[13] = { ...asked[13], rawLength: blockSize - 1 };
	asked[15] = { ...asked[15], length: 55 };
	asked[17] = { ...asked[17], length: asked[17].length + 1 };
	const expected = reads.map(() => "ok");
	for (const [at, status] of [
		[3, "checksum"],
		[5, "magic"],
		[7, "length"],
		[9, "type"],
		[11, "identity"],
		[13, "length"],
		[15, "length"],
		[17, "length"],
	] as const) {
		expected[at] = status;
		data.fill(0xee, at * blockSize, (at + 1) * blockSize);
	}
	t.same(await lane.readRecords(asked), expected);
	t.ok(target.equals(data));
});

t.test("a truncated file", async (t) => {
	const { fd, lane, reads, end } = await prepare(t);
	sys.ftruncate(fd, reads[20].position + 10);
	const statuses = await lane.readRecords(reads);
	t.same(statuses, [...Array(20).fill("ok"), ...Array(20).fill("short")]);
	t.same(await lane.readRecords([{ ...reads[0], position: end + 1000 }]), ["short"]);
	const length = reads[39].position + reads[39].length;
	sys.ftruncate(fd, 0);
	sys.ftruncate(fd, length);
	t.same(new Set(await lane.readRecords(reads)), new Set(["magic"]), "a hole is not a record");
});

t.test("an I/O error fails its own record only", async (t) => {
	const { lane, reads } = await prepare(t);
	const three = reads.slice(0, 3);
	const rules: FaultRule[] = [
		{ op: "pread", error: "EIO" },
		{ op: "pread", error: "EIO", skip: 1 },
	];
	faults.set(rules);
	t.same(await lane.readRecords(three), ["ok", "EIO", "ok"], "the run fails, then the second record alone");
	faults.set([{ op: "pread", error: "ESTALE", count: -1 }]);
	t.same(await lane.readRecords(three), ["ESTALE", "ESTALE", "ESTALE"]);
	faults.clear();
	t.same(await lane.readRecords([{ ...three[0], fd: 1_000_000 }, three[1]]), ["EBADF", "ok"]);
});
