/** Hashes against published vectors and node's own implementation. */
import { createHash, createHmac } from "node:crypto";
import t from "tap";
import { createLane, hmacSha256, isZero, sha256, xxh3 } from "../../native/index.js";
import { noise } from "./support.js";

t.test("SHA-256: FIPS 180-4 examples", async (t) => {
	const vectors: [string, string][] = [
		["", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"],
		["abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"],
		[
			"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
			"248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
		],
		["a".repeat(1_000_000), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"],
	];
	for (const [text, digest] of vectors) t.equal(sha256(Buffer.from(text)).toString("hex"), digest);
});

t.test("SHA-256 and HMAC agree with node for every length around the block size", async (t) => {
	for (let length = 0; length < 300; length++) {
		const data = noise(length, length + 1);
		t.same(sha256(data), createHash("sha256").update(data).digest());
		const key = noise(length % 140, 9);
		t.same(hmacSha256(key, data), createHmac("sha256", key).update(data).digest());
	}
});

t.test("HMAC-SHA-256: RFC 4231 cases 1, 2 and 6", async (t) => {
	const hex = (text: string) => Buffer.from(text, "hex");
	t.same(
		hmacSha256(Buffer.alloc(20, 0x0b), Buffer.from("Hi There")),
		hex("b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
	);
	t.same(
		hmacSha256(Buffer.from("Jefe"), Buffer.from("what do ya want for nothing?")),
		hex("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
	);
	t.same(
		hmacSha256(Buffer.alloc(131, 0xaa), Buffer.from("Test Using Larger Than Block-Size Key - Hash Key First")),
		hex("60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"),
	);
});

t.test("XXH3-64: published values", async (t) => {
	t.equal(xxh3(Buffer.alloc(0)), 0x2d06800538d394c2n);
	// XXH3's own sanity buffer: byte i is bits 56..63 of a 64-bit generator that starts at PRIME32.
	const sanity = Buffer.alloc(2243);
	let generator = 2654435761n;
	for (let i = 0; i < sanity.length; i++) {
		sanity[i] = Number(generator >> 56n);
		generator = (generator * 11400714785074694797n) & 0xffffffffffffffffn;
	}
	const seed = 11400714785074694797n;
	t.equal(xxh3(Buffer.alloc(0), seed), 0xa8a6b918b2f0364an);
	t.equal(xxh3(sanity.subarray(0, 1)), 0xc44bdff4074eecdbn);
	t.equal(xxh3(sanity.subarray(0, 6)), 0x27b56a84cd2d7325n);
	t.equal(xxh3(sanity.subarray(0, 12)), 0xa713daf0dfbb77e7n);
	t.equal(xxh3(sanity.subarray(0, 24)), 0xa3fe70bf9d3510ebn);
	t.equal(xxh3(sanity.subarray(0, 48)), 0x397da259ecba1f11n);
	t.equal(xxh3(sanity.subarray(0, 80)), 0xbcdefbbb2c47c90an);
	t.equal(xxh3(sanity.subarray(0, 2240)), 0x6e73a90539cf2948n);
	t.equal(xxh3(Buffer.from("x"), 0n), xxh3(Buffer.from("x")));
	t.not(xxh3(Buffer.from("x"), 1n), xxh3(Buffer.from("x")));
	t.throws(() => xxh3(Buffer.from("x"), 1n << 64n), RangeError);
	t.throws(() => xxh3(Buffer.from("x"), -1n), RangeError);
});

t.test("zero detection sees every position, at any alignment", async (t) => {
	t.ok(isZero(Buffer.alloc(0)));
	const space = Buffer.alloc(1400);
	for (const start of [0, 1, 7, 8]) {
		for (const length of [1, 8, 255, 256, 257, 1024, 1300]) {
			const view = space.subarray(start, start + length);
			t.ok(isZero(view));
			for (let i = 0; i < length; i++) {
				view[i] = 1 << (i % 8);
				if (isZero(view)) t.fail(`missed byte ${i} of ${length} at ${start}`);
				view[i] = 0;
			}
			if (start > 0) space[start - 1] = 1;
			space[start + length] = 1;
			t.ok(isZero(view), "neighbours do not count");
			space.fill(0);
		}
	}
});

t.test("hashBlocks", async (t) => {
	const lane = createLane("hash", 1);
	t.teardown(() => lane.close());
	const blockSize = 4096;
	const data = Buffer.concat([noise(blockSize, 1), Buffer.alloc(blockSize), noise(blockSize, 2), noise(100, 3)]);
	const found = await lane.hashBlocks(data, blockSize);
	t.same([...found.zero], [0, 1, 0, 0]);
	t.equal(found.identities.length, 4 * 32);
	for (const [i, start] of [0, 8192, 12288].entries()) {
		const block = [0, 2, 3][i];
		const expected = sha256(data.subarray(start, Math.min(start + blockSize, data.length)));
		t.same(found.identities.subarray(block * 32, block * 32 + 32), expected);
	}
	t.ok(isZero(found.identities.subarray(32, 64)), "not computed for a zero block");
	const tail = await lane.hashBlocks(Buffer.alloc(blockSize + 5), blockSize);
	t.same([...tail.zero], [1, 1]);
	const none = await lane.hashBlocks(Buffer.alloc(0), blockSize);
	t.equal(none.identities.length, 0);
	t.equal(none.zero.length, 0);
});
