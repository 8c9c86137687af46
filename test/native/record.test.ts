/** Records: layout, detection of any damage, and what is told about it. */
import t from "tap";
import { decodeRecord, encodeRecord, lz4Decompress, xxh3 } from "../../native/index.js";
import { noise, prose } from "./support.js";

const identity = noise(32, 99);
const headerSize = 56;

/** Recomputes the checksum after a deliberate change, as an attacker or a newer version could. */
function sealed(record: Buffer): Buffer {
	record.writeBigUInt64LE(xxh3(Buffer.concat([record.subarray(0, 16), record.subarray(24)])), 16);
	return record;
}

function reason(record: Uint8Array, wanted: Uint8Array | null = identity, type = 1): string {
	try {
		decodeRecord(record, wanted, type);
		return "ok";
	} catch (error) {
		const { code, reason } = error as { code: string; reason: string };
		return code === "ERECORD" ? reason : `${error}`;
	}
}

t.test("the header is as documented", async (t) => {
	const data = prose(10_000, 1);
	const record = encodeRecord(data, identity, 3, 1);
	t.equal(record.toString("latin1", 0, 4), "SBR1");
	t.same([...record.subarray(4, 8)], [3, 1, 0, 0]);
	t.equal(record.readUInt32LE(8), data.length);
	t.equal(record.readUInt32LE(12), record.length - headerSize);
	t.equal(record.readBigUInt64LE(16), xxh3(Buffer.concat([record.subarray(0, 16), record.subarray(24)])));
	t.same(record.subarray(24, 56), identity);
	const plain = Buffer.alloc(data.length);
	t.equal(lz4Decompress(record.subarray(headerSize), plain), data.length);
	t.ok(plain.equals(data));
});

t.test("round trips; raw when it does not shrink", async (t) => {
	for (const length of [0, 1, 2, 100, 65536, 100_001]) {
		for (const codec of [0, 1, 2]) {
			const loud = encodeRecord(noise(length, 5), identity, 1, codec);
			t.equal(loud[5], 0, "noise is stored raw");
			t.equal(loud.length, headerSize + length);
			t.ok(decodeRecord(loud, identity, 1).equals(noise(length, 5)));
			const calm = encodeRecord(prose(length, 6), identity, 1, codec);
			if (length >= 65536) t.equal(calm[5], codec);
			t.ok(calm.length <= headerSize + length);
			t.ok(decodeRecord(calm, identity, 1).equals(prose(length, 6)));
		}
	}
});

t.test("every single-bit flip is detected, with and without compression", async (t) => {
	for (const codec of [0, 1, 2]) {
		const record = encodeRecord(prose(600, 7), identity, 1, codec);
		for (let bit = 0; bit < record.length * 8; bit++) {
			record[bit >> 3] ^= 1 << (bit & 7);
			const told = reason(record);
			if (!["magic", "length", "checksum"].includes(told)) t.fail(`bit ${bit}: ${told}`);
			record[bit >> 3] ^= 1 << (bit & 7);
		}
		t.equal(reason(record), "ok");
	}
});

t.test("every truncation and extension is detected", async (t) => {
	const record = encodeRecord(prose(600, 8), identity, 1, 1);
	for (let length = 0; length < record.length; length++) {
		const told = reason(record.subarray(0, length));
		if (told !== (length < headerSize ? "short" : "length")) t.fail(`${length}: ${told}`);
	}
	t.equal(reason(Buffer.concat([record, Buffer.alloc(1)])), "length");
});

t.test("an intact record that is not the one expected", async (t) => {
	const record = encodeRecord(prose(600, 9), identity, 1, 1);
	t.equal(reason(record, identity, 2), "type");
	t.equal(reason(record, noise(32, 100)), "identity");
	t.equal(reason(record, null), "ok", "no identity: any");
	t.throws(() => decodeRecord(record, identity, 2), { message: /cannot be used: type/, code: "ERECORD" });
});

t.test("forged or future headers with a right checksum", async (t) => {
	const record = encodeRecord(prose(600, 10), identity, 1, 1);
	const forged = (at: number, value: number, size: 1 | 4 = 1) => {
		const copy = Buffer.from(record);
		if (size === 1) copy[at] = value;
		else copy.writeUInt32LE(value, at);
		return reason(sealed(copy));
	};
	t.equal(forged(5, 0), "length", "raw, but of another length");
	t.equal(forged(5, 2), "decode", "not zstd");
	t.equal(forged(5, 3), "decode", "unknown codec");
	t.equal(forged(6, 1), "encrypted");
	t.equal(forged(6, 2), "decode", "unknown flag");
	t.equal(forged(7, 1), "decode");
	t.equal(forged(8, 599, 4), "decode");
	t.equal(forged(8, 601, 4), "decode");
	t.equal(forged(8, 0xffffffff, 4), "length", "no allocation of what a header claims");
	const garbled = Buffer.from(record);
	garbled.fill(0xff, headerSize);
	t.equal(reason(sealed(garbled)), "decode");
});
