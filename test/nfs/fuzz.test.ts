/**
 * Ten thousand requests, mutated with a grammar in mind: lengths, enums, handles, truncation, marks, garbage. The
 * server must neither crash nor hang nor log an unexpected error, and must serve afterwards.
 */
import t from "tap";
import { MOUNT, NFS, NfsClient, P, PORTMAP, sattr } from "./nfs-client.js";
import { encodeCall, mark, RawClient, xdr } from "./raw-client.js";
import { served } from "./served.js";

const REQUESTS = 10_000;
const PER_CONNECTION = 25;

/** mulberry32 */
function generator(seed: number): (below: number) => number {
	let state = seed;
	return (below) => {
		state = (state + 0x6d2b79f5) | 0;
		let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
		mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
		return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
	};
}

type Random = ReturnType<typeof generator>;

const NAMES = ["a", "b", ".", "..", "", "x".repeat(255), "x".repeat(256), "\xff\x00", "a/b", ".lck-0123456789abcdef"];
const WORDS = [0, 1, 2, 3, 64, 65, 255, 256, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff];
const HYPERS = [0n, 1n, 4096n, 2n ** 31n, 2n ** 32n, 2n ** 53n - 1n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n];

function arguments_(random: Random, procedure: number, handles: Buffer[]): Buffer {
	const pick = <T>(list: readonly T[]): T => list[random(list.length)];
	const handle = () => (random(12) === 0 ? Buffer.alloc(random(70), random(256)) : pick(handles));
	const set = () => sattr({ mode: random(4096), size: random(3) ? undefined : pick(HYPERS) });
	const words = xdr();
	if (procedure === P.NULL) return words.done();
	words.opaque(handle());
	const name = () => words.opaque(pick(NAMES));
	switch (procedure) {
		case P.SETATTR:
			return words.raw(set()).u32(random(3)).u64(pick(HYPERS)).done();
		case P.LOOKUP:
		case P.REMOVE:
		case P.RMDIR:
			return name().done();
		case P.ACCESS:
			return words.u32(pick(WORDS)).done();
		case P.READ:
		case P.COMMIT:
			return words.u64(pick(HYPERS)).u32(pick(WORDS)).done();
		case P.WRITE: {
			const data = Buffer.alloc(random(3000), 1);
			const count = random(5) ? data.length : pick(WORDS);
			return words
				.u64(BigInt(random(1e6)))
				.u32(count, random(4))
				.opaque(data)
				.done();
		}
		case P.CREATE:
			return name().u32(random(4)).raw(set()).done();
		case P.MKDIR:
			return name().raw(set()).done();
		case P.SYMLINK:
			return name()
				.raw(set())
				.opaque(Buffer.alloc(random(5000), 0x61))
				.done();
		case P.MKNOD:
			return name().u32(random(9)).raw(set()).u64(pick(HYPERS)).done();
		case P.RENAME:
			name();
			words.opaque(handle());
			return name().done();
		case P.LINK:
			words.opaque(handle());
			return name().done();
		case P.READDIR:
			return words.u64(pick(HYPERS)).u64(pick(HYPERS)).u32(pick(WORDS)).done();
		case P.READDIRPLUS:
			return words.u64(pick(HYPERS)).u64(pick(HYPERS)).u32(pick(WORDS), pick(WORDS)).done();
		default:
			return words.done();
	}
}

/** One to three changes of a record: a word replaced, bytes flipped, cut off, inserted. */
function mutate(random: Random, record: Buffer): Buffer {
	let bytes = Buffer.from(record);
	for (let changes = random(3); changes >= 0; changes--) {
		const at = random(Math.max(1, bytes.length >> 2)) << 2;
		const kind = random(5);
		if (kind === 0 && at + 4 <= bytes.length) bytes.writeUInt32BE(WORDS[random(WORDS.length)], at);
		else if (kind === 1 && bytes.length > 0) bytes[random(bytes.length)] ^= 1 << random(8);
		else if (kind === 2) bytes = bytes.subarray(0, random(bytes.length + 1));
		else if (kind === 3) bytes = Buffer.concat([bytes, Buffer.alloc(random(64), random(256))]);
		else bytes = Buffer.concat([bytes.subarray(0, at), Buffer.alloc(random(9), 0xff), bytes.subarray(at)]);
	}
	return bytes;
}

t.test(`${REQUESTS} mutated requests`, async (t) => {
	const { fileSystem, server, logs } = await served(t, { portmap: "own", portmapPort: 0 });
	const random = generator(20261121);
	const handles = [
		fileSystem.directory("/springback/one").handle,
		fileSystem.directory("/springback/one/d").handle,
		fileSystem.file("/springback/one/a", Buffer.alloc(100_000)).handle,
		fileSystem.file("/springback/one/d/b", Buffer.from("b")).handle,
	];
	let sent = 0;
	for (let round = 0; sent < REQUESTS; round++) {
		fileSystem.behaviour.asynchronous = round % 3 === 0;
		const portmap = random(10) === 0;
		const raw = await RawClient.connect(portmap ? server.portmapPort! : server.nfsPort);
		for (let index = 0; index < PER_CONNECTION && !raw.socket.destroyed; index++, sent++) {
			const options = { xid: random(1000) };
			let record: Buffer;
			const which = random(10);
			if (portmap) record = encodeCall(PORTMAP, 2 + random(3), random(13), mutate(random, Buffer.alloc(40)), options);
			else if (which === 0)
				record = encodeCall(MOUNT, 1 + random(3), random(7), xdr().opaque("//springback/one").done(), options);
			else {
				const procedure = random(22);
				const args = arguments_(random, procedure, handles);
				record = encodeCall(NFS, 3, procedure, random(3) > 0 ? mutate(random, args) : args, options);
			}
			// What hits the header often ends the connection, and with it what was sent after.
			if (random(10) === 0) record = mutate(random, record);
			const framed = mark(record, random(8) === 0 && record.length > 8 ? [random(record.length)] : []);
			if (random(400) === 0) framed[random(4)] ^= 1 << random(8);
			raw.send(framed);
			if (random(20) === 0) await new Promise(setImmediate);
		}
		raw.socket.end();
		// A mark that promises more than comes keeps the connection waiting for the rest.
		const timer = setTimeout(() => raw.close(), 200);
		await raw.closed;
		clearTimeout(timer);
	}
	fileSystem.behaviour.asynchronous = false;
	t.same(
		logs.filter((line) => !/closed: record of/.test(line)),
		[],
		"nothing unexpected",
	);
	const client = await NfsClient.connect(server.nfsPort);
	t.equal((await client.mount("/springback/one")).status, 0);
	const file = await client.create((await client.mount("/springback")).handle, "after", "guarded", sattr(), {
		xid: 5000,
	});
	t.equal((await client.write(file.handle!, 0, Buffer.from("still here"))).status, 0);
	t.equal((await client.read(file.handle!, 0, 100)).data.toString(), "still here");
	client.close();
	for (let wait = 0; wait < 100 && server.stats.connections > 0; wait++) await new Promise((r) => setTimeout(r, 10));
	t.equal(server.stats.connections, 0);
	t.equal(server.stats.unsentBytes, 0);
	const calls = [...server.stats.procedures.values()].reduce((sum, { calls }) => sum + calls, 0);
	t.ok(calls > REQUESTS / 2, `${calls} were carried out`);
});
