/** Servers that lie, stutter or stop: every one ends in a clear error, none in a hang. */
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import { connectNbd } from "../../src/nbd/index.js";

type Words = (string | number | bigint | [number, number])[];

/** Hex strings as they are, numbers as 32 bits, bigints as 64, [value, bytes] as given. */
function bytes(...words: Words): Buffer {
	return Buffer.concat(
		words.map((word) => {
			if (typeof word === "string") return Buffer.from(word, "hex");
			const [value, length] =
				typeof word === "number"
					? [BigInt(word), 4]
					: typeof word === "bigint"
						? [word, 8]
						: [BigInt(word[0]), word[1]];
			return Buffer.from(value.toString(16).padStart(length * 2, "0"), "hex");
		}),
	);
}

const HELLO = bytes("4e42444d41474943", "49484156454f5054", [3, 2]);
const reply = (option: number, type: number, data: Buffer = Buffer.alloc(0)) =>
	Buffer.concat([bytes("0003e889045565a9", option, type, data.length), data]);
const ACK = 1;
const CONTEXT_ID = 7;
const info = (size: bigint, flags = 1) => reply(7, 3, bytes([0, 2], size, [flags, 2]));
const chunk = (cookie: bigint, flags: number, type: number, data: Buffer) =>
	Buffer.concat([bytes("668e33ef", [flags, 2], [type, 2], cookie, data.length), data]);

interface Script {
	hello?: Buffer;
	/** answer to an option number */
	option?: (option: number) => Buffer | undefined;
	/** answer to a request */
	request?: (cookie: bigint, command: number, offset: bigint, length: number, socket: Socket) => Buffer | undefined;
	/** send byte by byte */
	stutter?: boolean;
}

async function server(t: Test, script: Script): Promise<string> {
	const folder = mkdtempSync(join(tmpdir(), "springback-test-hostile-"));
	const path = join(folder, "s");
	const sockets = new Set<Socket>();
	const listener = createServer((socket) => {
		sockets.add(socket);
		socket.on("error", () => {});
		const send = (data: Buffer | undefined) => {
			if (!data) return;
			if (!script.stutter) socket.write(data);
			else for (const byte of data) socket.write(Buffer.from([byte]));
		};
		let pending = Buffer.alloc(0);
		let greeted = false;
		let transmitting = false;
		socket.on("data", (data: Buffer) => {
			pending = Buffer.concat([pending, data]);
			for (;;) {
				if (!greeted) {
					if (pending.length < 4) return;
					pending = pending.subarray(4);
					greeted = true;
				} else if (!transmitting) {
					if (pending.length < 16 || pending.length < 16 + pending.readUInt32BE(12)) return;
					const option = pending.readUInt32BE(8);
					pending = pending.subarray(16 + pending.readUInt32BE(12));
					const standard =
						option === 8
							? reply(8, ACK)
							: option === 10
								? Buffer.concat([
										reply(10, 4, Buffer.concat([bytes(CONTEXT_ID), Buffer.from("base:allocation")])),
										reply(10, ACK),
									])
								: Buffer.concat([info(1n << 20n), reply(7, ACK)]);
					send(script.option ? (script.option(option) ?? standard) : standard);
					transmitting = option === 7;
				} else {
					if (pending.length < 28) return;
					const head = pending;
					pending = pending.subarray(28);
					if (head.readUInt16BE(6) === 2) return void socket.end();
					send(
						script.request?.(
							head.readBigUInt64BE(8),
							head.readUInt16BE(6),
							head.readBigUInt64BE(16),
							head.readUInt32BE(24),
							socket,
						),
					);
				}
			}
		});
		send(script.hello ?? HELLO);
	});
	await new Promise<void>((resolve) => listener.listen(path, resolve));
	t.teardown(() => {
		for (const socket of sockets) socket.destroy();
		listener.close();
		rmSync(folder, { recursive: true, force: true });
	});
	return `nbd+unix:///x?socket=${path}`;
}

const fails = async (t: Test, why: RegExp, script: Script) =>
	t.rejects(connectNbd(await server(t, script), { connectMs: 300 }), { message: why }, String(why));

t.test("handshakes that go wrong", async (t) => {
	await fails(t, /this is not an NBD server/, { hello: Buffer.from("HTTP/1.1 400 Bad Request\r\n\r\n") });
	await fails(t, /old NBD handshake/, { hello: bytes("4e42444d41474943", "00420281861253", "00".repeat(120)) });
	await fails(t, /old NBD handshake/, { hello: bytes("4e42444d41474943", "49484156454f5054", [0, 2]) });
	await fails(t, /no answer within 300 ms/, { hello: Buffer.alloc(5) });
	await fails(t, /another option than was asked/, { option: () => reply(99, ACK) });
	await fails(t, /option reply of 16777216 bytes/, { option: () => bytes("0003e889045565a9", 8, 3, 1 << 24) });
	await fails(t, /does not stop answering/, {
		option: (o) => (o === 7 ? Buffer.concat(Array.from({ length: 100 }, () => reply(7, 3))) : undefined),
	});
	await fails(t, /did not describe its export/, { option: (o) => (o === 7 ? reply(7, ACK) : undefined) });
	await fails(t, /claims a size of 18446744073709551615 bytes/, {
		option: (o) => (o === 7 ? Buffer.concat([info(2n ** 64n - 1n), reply(7, ACK)]) : undefined),
	});
	await fails(t, /impossible block sizes 3\.\.9/, {
		option: (o) =>
			o === 7 ? Buffer.concat([info(512n), reply(7, 3, bytes([3, 2], 3, 4, 9)), reply(7, ACK)]) : undefined,
	});
	await fails(t, /export "x": the server requires TLS \(no way\)/, {
		option: (o) => (o === 7 ? reply(7, 0x80000005, Buffer.from("no\x1b\nway")) : undefined),
	});
	await fails(t, /malformed meta context/, { option: (o) => (o === 10 ? reply(10, 4, bytes([1, 2])) : undefined) });
});

/** What a read of 1000 bytes at 512 ends with, given the answer. */
async function reading(
	t: Test,
	request: Script["request"],
	option?: Script["option"],
	stutter = false,
): Promise<string> {
	const image = await connectNbd(await server(t, { request, option, stutter }), { silenceMs: 300 });
	const target = Buffer.alloc(1000, 0xee);
	const result = await image.read(512, target).then(
		() => `${target[0]} ${target[500]} ${target[999]}`,
		(error) => error.message.replace(/^nbd\+unix:[^ ]*: /, ""),
	);
	await image.close();
	return result;
}

t.test("replies that are right, however they arrive", async (t) => {
	const half = Buffer.alloc(500, 5);
	const answer: Script["request"] = (cookie) =>
		Buffer.concat([
			chunk(cookie, 0, 1, Buffer.concat([bytes(1012n), half])),
			chunk(cookie, 0, 2, bytes(512n, 500)),
			chunk(cookie, 1, 0, Buffer.alloc(0)),
		]);
	t.equal(await reading(t, answer), "0 5 5", "out of order, with a hole");
	t.equal(await reading(t, answer, undefined, true), "0 5 5", "byte by byte");
	const simple: Script["request"] = (cookie) => Buffer.concat([bytes("67446698", 0, cookie), Buffer.alloc(1000, 9)]);
	const plain: Script["option"] = (o) => (o === 8 ? reply(8, 0x80000001) : undefined);
	t.equal(await reading(t, simple, plain), "9 9 9", "simple replies");
	t.equal(
		await reading(t, (cookie) => bytes("67446698", 5, cookie), plain),
		"read of 1000 bytes at offset 512 failed: EIO",
	);
	t.equal(
		await reading(t, (cookie) => chunk(cookie, 1, 0x8001, bytes(22, [3, 2], "626164"))),
		"read of 1000 bytes at offset 512 failed: EINVAL (bad)",
	);
});

t.test("replies that are wrong", async (t) => {
	const data = (at: bigint, length: number) => Buffer.concat([bytes(at), Buffer.alloc(length, 5)]);
	for (const [why, request] of [
		["unknown reply magic 0x12345678", () => bytes("12345678")],
		["answer to a request that was not made (99)", () => chunk(99n, 1, 0, Buffer.alloc(0))],
		["a read was answered incompletely", (c) => chunk(c, 1, 1, data(512n, 999))],
		["a read was answered incompletely", (c) => chunk(c, 1, 0, Buffer.alloc(0))],
		["read data outside of what was asked", (c) => chunk(c, 1, 1, data(511n, 1000))],
		["read data outside of what was asked", (c) => chunk(c, 1, 1, data(513n, 1000))],
		["read data outside of what was asked", (c) => chunk(c, 1, 1, data(2n ** 63n, 10))],
		["read data outside of what was asked", (c) => chunk(c, 1, 2, bytes(512n, 0xffffffff))],
		[
			"more read data than was asked",
			(c) => Buffer.concat([chunk(c, 0, 1, data(512n, 1000)), chunk(c, 1, 1, data(512n, 1))]),
		],
		["unexpected reply chunk: type 5, 12 bytes", (c) => chunk(c, 1, 5, Buffer.alloc(12))],
		["unexpected reply chunk: type 9, 0 bytes", (c) => chunk(c, 1, 9, Buffer.alloc(0))],
		["unexpected reply chunk: type 32769, 1048576 bytes", (c) => bytes("668e33ef", [1, 2], [0x8001, 2], c, 1 << 20)],
		["simple reply to a read although structured replies are on", (c) => bytes("67446698", 0, c)],
	] as [string, NonNullable<Script["request"]>][])
		t.equal(await reading(t, request), `connection lost: protocol error: ${why}`, why);
	t.equal(await reading(t, () => undefined), "connection lost: no answer for 0 s");
	t.match(await reading(t, (c) => chunk(c, 1, 1, data(512n, 1000)).subarray(0, 700)), /no answer/);
	t.match(
		await reading(t, (_c, _k, _o, _l, socket) => void socket.end()),
		/connection lost: the server closed the connection/,
	);
	t.match(await reading(t, (_c, _k, _o, _l, socket) => void socket.destroy()), /connection lost/);
});

t.test("block status that is wrong", async (t) => {
	const extents = async (answer: (cookie: bigint) => Buffer) => {
		const uri = await server(t, { request: (cookie) => answer(cookie) });
		const image = await connectNbd(uri, { silenceMs: 300 });
		const result = await Promise.resolve(image.extents(0, 1000)).catch((error) => error.message.replace(/^.*: /, ""));
		await image.close();
		return result;
	};
	const status =
		(...words: Words) =>
		(cookie: bigint) =>
			chunk(cookie, 1, 5, bytes(...words));
	t.match(await extents(status(CONTEXT_ID, 0, 3)), /block status with an empty extent/);
	t.equal(await extents(status(CONTEXT_ID, 1, [3, 5])), "malformed block status");
	t.same(await extents(status(99, 1000, 3)), [{ offset: 0, length: 1000, kind: "data" }], "another context");
	t.same(
		await extents((cookie) => chunk(cookie, 1, 0, Buffer.alloc(0))),
		[{ offset: 0, length: 1000, kind: "data" }],
		"nothing",
	);
	t.same(
		await extents(status(CONTEXT_ID, 10, 3, 10, 1, 10, 2, 0xffffffff, 0)),
		[
			{ offset: 0, length: 10, kind: "unallocated" },
			{ offset: 10, length: 10, kind: "data" },
			{ offset: 20, length: 10, kind: "zero" },
			{ offset: 30, length: 970, kind: "data" },
		],
		"a hole that does not read as zeros is data; more than the disk is cut",
	);
	let first = true;
	t.same(
		await extents((cookie) => {
			const answer = first ? status(CONTEXT_ID, 400, 3) : status(CONTEXT_ID, 600, 3);
			first = false;
			return answer(cookie);
		}),
		[{ offset: 0, length: 1000, kind: "unallocated" }],
		"answers in pieces",
	);
});
