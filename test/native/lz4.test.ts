/** LZ4 block format: round trips, exact room, malformed input. */
import { spawnSync } from "node:child_process";
import t from "tap";
import { lz4Compress, lz4Decompress } from "../../native/index.js";
import { noise, prose } from "./support.js";

function compress(data: Buffer): Buffer {
	const target = Buffer.alloc(data.length + Math.floor(data.length / 255) + 16);
	return target.subarray(0, lz4Compress(data, target));
}

t.test("round trips", async (t) => {
	for (const length of [0, 1, 12, 13, 64, 4096, 65536, 65537, 1_000_000]) {
		for (const data of [noise(length, 1), prose(length, 2), Buffer.alloc(length), Buffer.alloc(length, "ab")]) {
			const packed = compress(data);
			t.ok(packed.length > 0);
			const target = Buffer.alloc(data.length);
			t.equal(lz4Decompress(packed, target), data.length);
			t.ok(target.equals(data));
		}
	}
});

t.test(
	"what we pack, the lz4 tool unpacks",
	{ skip: spawnSync("lz4", ["-V"]).error ? "no lz4 tool" : false },
	async (t) => {
		const data = prose(60_000, 3);
		const packed = compress(data);
		// A legacy frame is a magic number and then length-prefixed blocks.
		const frame = Buffer.alloc(8);
		frame.writeUInt32LE(0x184c2102, 0);
		frame.writeUInt32LE(packed.length, 4);
		const result = spawnSync("lz4", ["-dc"], { input: Buffer.concat([frame, packed]), maxBuffer: 1 << 20 });
		t.ok(data.equals(result.stdout));
	},
);

t.test("too little room", async (t) => {
	const data = noise(1000, 4);
	t.equal(lz4Compress(data, Buffer.alloc(999)), 0);
	t.equal(lz4Compress(data, Buffer.alloc(0)), 0);
	const packed = compress(data);
	t.throws(() => lz4Decompress(packed, Buffer.alloc(999)), { code: "EDECODE" });
	t.equal(lz4Decompress(packed, Buffer.alloc(2000)), 1000, "a larger target is fine");
});

t.test("malformed input never writes outside the target", async (t) => {
	const data = prose(5000, 5);
	const packed = compress(data);
	const space = Buffer.alloc(data.length + 128, 0xa5);
	const target = space.subarray(64, 64 + data.length);
	let refused = 0;
	const attempt = (input: Buffer) => {
		try {
			lz4Decompress(input, target);
		} catch (error) {
			if ((error as { code?: string }).code !== "EDECODE") throw error;
			refused++;
		}
	};
	for (let i = 0; i < packed.length; i++) attempt(packed.subarray(0, i));
	for (let i = 0; i < packed.length * 8; i++) {
		const damaged = Buffer.from(packed);
		damaged[i >> 3] ^= 1 << (i & 7);
		attempt(damaged);
	}
	for (let i = 1; i < 500; i++) attempt(noise(i, i));
	t.ok(refused > 0);
	const guard = (part: Buffer) => part.every((byte) => byte === 0xa5);
	t.ok(guard(space.subarray(0, 64)) && guard(space.subarray(64 + data.length)));
});
