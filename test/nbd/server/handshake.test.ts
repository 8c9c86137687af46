/** The server's handshake, to the byte. */
import t from "tap";
import { contextRequest, infoRequest, option, RawClient, request, text, u16, u32, u64 } from "./raw-client.js";
import { served } from "./served.js";

const OPT = {
	EXPORT_NAME: 1,
	ABORT: 2,
	LIST: 3,
	STARTTLS: 5,
	INFO: 6,
	GO: 7,
	STRUCTURED: 8,
	LIST_META: 9,
	SET_META: 10,
	EXTENDED: 11,
};
const ERR = { UNSUP: 0x80000001, POLICY: 0x80000002, INVALID: 0x80000003, UNKNOWN: 0x80000006 };
const NOTHING = Buffer.alloc(0);
const SIZE = 1024 * 1024;

t.test("the greeting", async (t) => {
	const { socket } = await served(t);
	const client = await RawClient.connect(t, socket);
	t.same(await client.take(18), Buffer.concat([Buffer.from("NBDMAGICIHAVEOPT"), u16(3)]));
});

t.test("NBD_OPT_EXPORT_NAME", async (t) => {
	const { socket, open } = await served(t);
	for (const [flags, zeroes] of [
		[1, 124],
		[3, 0],
	]) {
		const client = await RawClient.connect(t, socket);
		await client.greet(flags);
		client.send(option(OPT.EXPORT_NAME, Buffer.from("disk")));
		const reply = await client.take(10 + zeroes);
		t.equal(Number(reply.readBigUInt64BE(0)), SIZE);
		// HAS_FLAGS, FLUSH, FUA, TRIM, WRITE_ZEROES, MULTI_CONN, CACHE, FAST_ZERO; no DF without structured replies
		t.equal(reply.readUInt16BE(8), 1 | 4 | 8 | 32 | 64 | 256 | 1024 | 2048);
		t.ok(reply.subarray(10).every((byte) => byte === 0));
		t.same((await client.ask({ command: 0, length: 512 })).data, Buffer.alloc(512));
		t.equal(open(), 1);
		client.socket.destroy();
	}
	const unknown = await RawClient.connect(t, socket);
	await unknown.greet();
	unknown.send(option(OPT.EXPORT_NAME, Buffer.from("other")));
	await unknown.closed;
	t.equal(unknown.waiting, 0, "what cannot be refused is closed");
});

t.test("NBD_OPT_GO and NBD_OPT_INFO", async (t) => {
	const { socket, open } = await served(t);
	const client = await RawClient.connect(t, socket);
	await client.greet();
	const [exported, ack] = await client.option(OPT.INFO, infoRequest("fixed"));
	t.equal(exported.option, OPT.INFO);
	t.same(
		exported.data,
		Buffer.concat([u16(0), u64(SIZE), u16(1 | 2 | 4 | 8 | 256 | 1024)]),
		"read-only: nothing that writes",
	);
	t.match(ack, { type: 1, data: NOTHING });
	t.equal(open(), 0, "INFO keeps nothing open");
	const all = await client.option(OPT.INFO, infoRequest("disk", 1, 2, 3, 99));
	t.same(
		all.map(({ type, data }) => [type, data.length > 0 ? data.readUInt16BE(0) : undefined]),
		[
			[3, 0],
			[3, 1],
			[3, 2],
			[3, 3],
			[1, undefined],
		],
	);
	t.same(all[1].data, Buffer.concat([u16(1), Buffer.from("disk")]));
	t.same(all[2].data, Buffer.concat([u16(2), Buffer.from("a disk in memory")]));
	t.same(all[3].data, Buffer.concat([u16(3), u32(1), u32(4096), u32(32 * 1024 * 1024)]));
	t.match(await client.option(OPT.GO, infoRequest("other")), [{ type: ERR.UNKNOWN }], "the handshake goes on");
	await client.option(OPT.STRUCTURED);
	const [going] = await client.option(OPT.GO, infoRequest("disk"));
	t.equal(going.data.readUInt16BE(10) & 128, 128, "with structured replies there is DF");
	t.equal((await client.ask({ command: 3 })).error, 0, "the transmission phase");
});

t.test("NBD_OPT_LIST, NBD_OPT_ABORT and what is not known", async (t) => {
	const { socket } = await served(t);
	const client = await RawClient.connect(t, socket);
	await client.greet();
	t.same(await client.option(OPT.LIST), [
		{ option: OPT.LIST, type: 2, data: text("disk") },
		{ option: OPT.LIST, type: 2, data: text("fixed") },
		{ option: OPT.LIST, type: 1, data: NOTHING },
	]);
	t.match(await client.option(OPT.LIST, Buffer.from("x")), [{ type: ERR.INVALID }]);
	t.match(await client.option(OPT.EXTENDED), [{ option: OPT.EXTENDED, type: ERR.UNSUP }]);
	t.match(await client.option(0x7fff), [{ option: 0x7fff, type: ERR.UNSUP }]);
	t.match(await client.option(OPT.STARTTLS), [{ type: ERR.POLICY }], "no certificate, no TLS");
	t.match(await client.option(OPT.ABORT), [{ type: 1 }]);
	await client.closed;
});

t.test("contexts", async (t) => {
	const known = ["x:one", "x:two"];
	const find = (name: string) =>
		known.includes(name) || name === "x:hidden" ? () => [{ length: 512, flags: 7 }] : undefined;
	const { socket } = await served(t, { contexts: { names: known, find } });
	const client = await RawClient.connect(t, socket);
	await client.greet();
	t.match(await client.option(OPT.SET_META, contextRequest("disk", "base:allocation")), [{ type: ERR.INVALID }]);
	await client.option(OPT.STRUCTURED);
	const list = async (...queries: string[]) =>
		(await client.option(OPT.LIST_META, contextRequest("disk", ...queries)))
			.slice(0, -1)
			.map(({ data }) => data.toString("utf8", 4));
	t.same(await list(), ["base:allocation", "x:one", "x:two"]);
	t.same(await list("base:"), ["base:allocation"]);
	t.same(await list("x:"), ["x:one", "x:two"]);
	t.same(await list("x:hidden", "x:none", "base:allocation"), ["x:hidden", "base:allocation"]);
	t.match(await client.option(OPT.LIST_META, contextRequest("other")), [{ type: ERR.UNKNOWN }]);
	const set = await client.option(OPT.SET_META, contextRequest("disk", "base:allocation", "x:none", "x:two", "x:two"));
	t.same(
		set.slice(0, -1).map(({ type, data }) => [type, data.readUInt32BE(0), data.toString("utf8", 4)]),
		[
			[4, 1, "base:allocation"],
			[4, 2, "x:two"],
		],
	);
	await client.option(OPT.GO, infoRequest("disk"));
	const reply = await client.ask({ command: 7, length: 512 });
	t.same(
		reply.chunks!.map(({ type, data }) => [type, data]),
		[
			[5, Buffer.concat([u32(1), u32(512), u32(3)])],
			[5, Buffer.concat([u32(2), u32(512), u32(7)])],
		],
	);

	const other = await RawClient.connect(t, socket);
	await other.greet();
	await other.option(OPT.STRUCTURED);
	await other.option(OPT.SET_META, contextRequest("fixed", "base:allocation"));
	await other.option(OPT.GO, infoRequest("disk"));
	t.equal((await other.ask({ command: 7, length: 512 })).error, 22, "contexts of another export do not count");
});

t.test("malformed options are refused, and the client may go on", async (t) => {
	const { socket } = await served(t);
	const client = await RawClient.connect(t, socket);
	await client.greet();
	await client.option(OPT.STRUCTURED);
	for (const [number, data] of [
		[OPT.GO, NOTHING],
		[OPT.GO, u32(100)],
		[OPT.GO, Buffer.concat([text("disk"), u16(3), u16(1)])],
		[OPT.GO, Buffer.concat([infoRequest("disk"), Buffer.from("x")])],
		[OPT.GO, u32(0xffffffff)],
		[OPT.INFO, Buffer.concat([text("d".repeat(5000)), u16(0)])],
		[OPT.SET_META, Buffer.concat([text("disk"), u32(0xffffffff)])],
		[OPT.LIST_META, Buffer.concat([text("disk"), u32(1), u32(9), Buffer.from("short")])],
		[OPT.STRUCTURED, Buffer.from("x")],
	] as const)
		t.match(await client.option(number, data), [{ type: ERR.INVALID }], `option ${number}, ${data.length} bytes`);
	t.equal((await client.option(OPT.GO, infoRequest("disk"))).pop()!.type, 1);
});

t.test("who cannot be followed is closed", async (t) => {
	const { socket, logs, open } = await served(t, { limits: { optionBytes: 1000 } });
	for (const [bytes, why] of [
		[u32(4), /unknown handshake flags/],
		[Buffer.concat([u32(3), Buffer.alloc(16, 0x41)]), /not an NBD client/],
		[Buffer.concat([u32(3), Buffer.from("IHAVEOPT"), u32(3), u32(0xffffffff)]), /option 3 with 4294967295 bytes/],
		[Buffer.concat([u32(3), Buffer.from("IHAVEOPT"), u32(OPT.GO), u32(1001)]), /option 7 with 1001 bytes/],
	] as const) {
		const client = await RawClient.connect(t, socket);
		await client.take(18);
		client.send(bytes);
		await client.closed;
		t.match(logs.pop(), why);
	}
	t.equal(open(), 0);
});

t.test("options and requests that come in one piece, or byte by byte", async (t) => {
	const { socket } = await served(t);
	const all = Buffer.concat([
		u32(3),
		option(OPT.LIST),
		option(OPT.STRUCTURED),
		option(OPT.GO, infoRequest("disk")),
		request({ command: 1, cookie: 7, offset: 512, data: Buffer.alloc(512, 9) }),
		request({ command: 3, cookie: 8 }),
	]);
	for (const step of [all.length, 1]) {
		const client = await RawClient.connect(t, socket);
		client.socket.setNoDelay(true);
		for (let at = 0; at < all.length; at += step) {
			client.send(all.subarray(at, at + step));
			if (step === 1) await new Promise((resolve) => setImmediate(resolve));
		}
		await client.take(18);
		const types: number[] = [];
		for (let n = 0; n < 6; n++) types.push((await client.optionReply()).type);
		t.same(types, [2, 2, 1, 1, 3, 1]);
		const cookies = [(await client.reply()).cookie, (await client.reply()).cookie];
		t.same(cookies.sort(), [7n, 8n]);
	}
});
