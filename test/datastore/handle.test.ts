import t from "tap";
import { HANDLE_LENGTH, HandleCodec } from "../../src/datastore/handle.js";

const codec = new HandleCodec(Buffer.alloc(32, 7));
const fields = { scope: "session" as const, uuid: Buffer.alloc(16, 0xab), inode: 2 ** 40 - 1 };

t.test("round trip", async (t) => {
	const handle = codec.encode(fields);
	t.equal(handle.length, HANDLE_LENGTH);
	t.ok(handle.length <= 56, "ESXi takes no more than 56 bytes");
	t.same(codec.decode(handle), fields);
	t.same(codec.encode(fields), handle, "deterministic");
	t.same(codec.decode(codec.encode({ ...fields, scope: "all" }))?.scope, "all");
});

t.test("every flipped bit is refused", async (t) => {
	const handle = codec.encode(fields);
	for (let bit = 0; bit < handle.length * 8; bit++) {
		const forged = Buffer.from(handle);
		forged[bit >> 3] ^= 1 << (bit & 7);
		if (codec.decode(forged) !== undefined) t.fail(`bit ${bit} was not noticed`);
	}
	t.equal(codec.decode(handle.subarray(0, 41)), undefined, "too short");
	t.equal(codec.decode(Buffer.concat([handle, Buffer.alloc(1)])), undefined, "too long");
	t.equal(codec.decode(Buffer.alloc(0)), undefined, "empty");
	t.equal(new HandleCodec(Buffer.alloc(32, 8)).decode(handle), undefined, "another installation's key");
});
