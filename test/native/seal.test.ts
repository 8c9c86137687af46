/** AES-256-GCM over records, against node:crypto; zstd levels, the probe, and outputs that are larger than they say. */
import { createDecipheriv, createHash, randomBytes } from "node:crypto";
import { mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import {
	createLane,
	decodeRecord,
	encodeRecord,
	hmacSha256,
	type RecordStatus,
	sealRecords,
	sys,
	xxh3,
} from "../../native/index.js";

const sha = (bytes: Buffer): Buffer => createHash("sha256").update(bytes).digest();
const RAW = 0;
const LZ4 = 1;
const ZSTD = 2;

const nonceOf = (position: number): Buffer => {
	const nonce = Buffer.alloc(12);
	nonce.writeBigUInt64LE(BigInt(position));
	return nonce;
};

const aadOf = (record: Buffer, seal: Buffer): Buffer =>
	Buffer.concat([seal.subarray(32), record.subarray(4, 16), record.subarray(24, 56)]);

const sealed = (plain: Buffer, codec: number, seal: Buffer, position: number): Buffer => {
	const record = encodeRecord(plain, sha(plain), 1, codec, 3, true);
	sealRecords(record, Uint32Array.of(record.length), position, seal);
	return record;
};

const reason = (record: Buffer, seal?: Buffer, position = 0): RecordStatus => {
	try {
		decodeRecord(record, null, 1, seal, position);
		return "ok";
	} catch (error) {
		return (error as { reason: RecordStatus }).reason;
	}
};

t.test("sealed records are what node:crypto makes of them", async (t) => {
	for (const size of [0, 1, 15, 16, 1000, 65536]) {
		const plain = randomBytes(size);
		const seal = randomBytes(64);
		const record = sealed(plain, RAW, seal, 4096);
		t.equal(record.length, 56 + size + 16);
		t.equal(record[6], 1, "flagged");
		const decipher = createDecipheriv("aes-256-gcm", seal.subarray(0, 32), nonceOf(4096));
		decipher.setAAD(aadOf(record, seal));
		decipher.setAuthTag(record.subarray(-16));
		t.same(Buffer.concat([decipher.update(record.subarray(56, -16)), decipher.final()]), plain);
		const before = Buffer.from(record);
		t.same(decodeRecord(record, sha(plain), 1, seal, 4096), plain);
		t.same(record, before, "the caller's bytes stay as they are");
	}
});

t.test("everything that is bound is bound", async (t) => {
	const plain = Buffer.alloc(3000, "bound ");
	const seal = randomBytes(64);
	for (const codec of [RAW, LZ4, ZSTD]) {
		const record = sealed(plain, codec, seal, 96);
		t.equal(reason(record, seal, 96), "ok");
		t.equal(reason(record, seal, 97), "tag", "another place");
		for (const at of [0, 31, 32, 47, 48, 63]) {
			const other = Buffer.from(seal);
			other[at] ^= 1;
			t.equal(reason(record, other, 96), "tag", `key, repository, file: byte ${at}`);
		}
		// Whoever can write can fit the checksum: the tag decides then.
		for (const at of [5, 8, 12, 24, 55, 56, record.length - 17, record.length - 16, record.length - 1]) {
			const forged = Buffer.from(record);
			forged[at] ^= 1;
			forged.writeBigUInt64LE(xxh3(Buffer.concat([forged.subarray(0, 16), forged.subarray(24)])), 16);
			t.not(reason(forged, seal, 96), "ok", `byte ${at}`);
			t.not(reason(forged, seal, 96), "checksum", `byte ${at}: the checksum was fitted`);
		}
		t.equal(reason(record), "encrypted", "no key");
	}
	t.equal(
		reason(encodeRecord(plain, sha(plain), 1, RAW), seal, 96),
		"plain",
		"an encrypted repository takes no plain record",
	);
});

t.test("on a lane: sealed side by side, read back; a failure leaves the target alone", async (t) => {
	const folder = mkdtempSync(join(tmpdir(), "springback-seal-"));
	t.teardown(() => rmSync(folder, { recursive: true }));
	const lane = createLane("seal", 2);
	t.teardown(() => lane.close());
	const data = Buffer.concat([Buffer.alloc(4096, "one"), randomBytes(4096), Buffer.alloc(100, "end")]);
	const key = randomBytes(32);
	const { identities } = await lane.hashBlocks(data, 4096, key);
	t.same(identities.subarray(0, 32), hmacSha256(key, data.subarray(0, 4096)));
	const seal = randomBytes(64);
	const { bytes, lengths } = await lane.encodeRecords(data, 4096, Uint32Array.of(0, 1, 2), identities, 1, LZ4, 3, true);
	await lane.sealRecords(bytes, lengths, 96, seal);
	const file = join(folder, "pack");
	writeFileSync(file, Buffer.concat([Buffer.alloc(96), bytes]));
	const fd = openSync(file, "r");
	t.teardown(() => sys.close(fd));
	const target = Buffer.alloc(data.length, 7);
	let position = 96;
	const reads = [0, 1, 2].map((n) => {
		const identity = identities.subarray(32 * n, 32 * n + 32);
		const rawLength = Math.min(4096, data.length - 4096 * n);
		const read = {
			fd,
			position,
			length: lengths[n],
			identity,
			type: 1,
			rawLength,
			target,
			targetOffset: 4096 * n,
			seal,
		};
		position += lengths[n];
		return read;
	});
	t.same(await lane.readRecords(reads), ["ok", "ok", "ok"]);
	t.ok(target.equals(data));
	target.fill(7);
	const wrong = reads.map((read, n) => ({ ...read, seal: n === 1 ? randomBytes(64) : n === 2 ? undefined : seal }));
	t.same(await lane.readRecords(wrong), ["ok", "tag", "encrypted"]);
	t.ok(target.subarray(4096).equals(Buffer.alloc(4196, 7)));
});

t.test("misuse is refused", async (t) => {
	const record = encodeRecord(Buffer.alloc(10), Buffer.alloc(32), 1, RAW, 3, true);
	const lengths = Uint32Array.of(record.length);
	t.throws(() => sealRecords(record, lengths, 0, Buffer.alloc(63)), RangeError);
	t.throws(() => sealRecords(record, Uint32Array.of(record.length - 1), 0, Buffer.alloc(64)), RangeError);
	t.throws(() => sealRecords(record, Uint32Array.of(71, record.length - 71), 0, Buffer.alloc(64)), RangeError);
	t.throws(() => sealRecords(record, [record.length] as never, 0, Buffer.alloc(64)), TypeError);
	t.throws(() => encodeRecord(record, Buffer.alloc(32), 1, ZSTD, 20), RangeError);
	t.throws(() => encodeRecord(record, Buffer.alloc(32), 1, ZSTD, 0), RangeError);
	t.throws(() => decodeRecord(record, null, 1, Buffer.alloc(10)), RangeError);
});

t.test("zstd: levels; data that is random is stored raw, data that only looks so at first is not", async (t) => {
	const words = Buffer.from(Array.from({ length: 20_000 }, (_, n) => `word${(n * n) % 977} `).join("")).subarray(
		0,
		65536,
	);
	const sizeOf = (bytes: Buffer, level: number) => {
		const record = encodeRecord(bytes, sha(bytes), 1, ZSTD, level);
		t.ok(decodeRecord(record, null, 1).equals(bytes));
		return record.length;
	};
	t.ok(sizeOf(words, 19) < sizeOf(words, 1));
	const random = randomBytes(65536);
	const stored = encodeRecord(random, sha(random), 1, ZSTD, 19);
	t.equal(stored[5], RAW);
	const twice = Buffer.concat([random.subarray(0, 32768), random.subarray(0, 32768)]);
	t.ok(sizeOf(twice, 3) < 40_000, "even bytes, but repeated");
	const digits = Buffer.from(random.toString("hex").slice(0, 65536));
	t.ok(sizeOf(digits, 3) < 40_000, "no repetitions, but few letters");
	t.ok(sizeOf(Buffer.concat([random.subarray(0, 60_000), Buffer.alloc(5536)]), 3) < 61_000, "zeros at the end");
});

t.test("a record never decodes to more than it says", async (t) => {
	for (const codec of [LZ4, ZSTD]) {
		const record = encodeRecord(Buffer.alloc(1024 * 1024, 1), Buffer.alloc(32), 1, codec);
		for (const claimed of [0, 1, 1000, 1024 * 1024 - 1, 1024 * 1024 + 1]) {
			const forged = Buffer.from(record);
			forged.writeUInt32LE(claimed, 8);
			forged.writeBigUInt64LE(xxh3(Buffer.concat([forged.subarray(0, 16), forged.subarray(24)])), 16);
			t.equal(reason(forged), "decode", `codec ${codec} says ${claimed}`);
		}
		const huge = Buffer.from(record);
		huge.writeUInt32LE(0xffffffff, 8);
		huge.writeBigUInt64LE(xxh3(Buffer.concat([huge.subarray(0, 16), huge.subarray(24)])), 16);
		t.equal(reason(huge), "length", "nothing is allocated for it");
	}
});
