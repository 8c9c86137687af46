/**
 * Ten thousand options and requests, mutated with the grammar in mind; a million with SPRINGBACK_LONG. The server must
 * neither crash nor hang nor log an internal error nor keep memory, must answer all that has a frame, and serve afterwards.
 */
import { setTimeout as pause } from "node:timers/promises";
import t, { type Test } from "tap";
import { heldBytes, plan } from "../../nfs/fuzz/plan.js";
import { Grammar } from "./fuzz/grammar.js";
import { assemble, RawClient } from "./raw-client.js";
import { type Served, served } from "./served.js";

const MIB = 2 ** 20;
const SIZE = 4 * MIB;
const GROWTH = 16 * MIB;
const { seeds, inputs, long } = plan(1_000_000, 10_000);
const MODES = ["sync", "async", "lend"] as const;

t.setTimeout(long ? 3_600_000 : 300_000);

/** Every connection here is ended by whoever made it: a million of them are not kept for the end of the test. */
const SCOPE = { teardown: () => undefined };

/** Options of one connection, each answered, and one at the end that cannot be. */
async function options(it: Served, grammar: Grammar): Promise<number> {
	const client = await RawClient.connect(SCOPE, it.socket);
	await client.greet(grammar.chance(4));
	const count = 1 + grammar.chance(40);
	for (let n = 0; n < count; n++) {
		const { bytes, answered, ends } = grammar.option();
		client.send(bytes);
		if (answered) for (let more = true; more; ) more = !isFinal(await client.optionReply());
		if (ends) break;
	}
	client.send(grammar.brokenOption().bytes);
	client.socket.end();
	await client.closed;
	return count + 1;
}

const isFinal = ({ type }: { type: number }): boolean => type === 1 || type >= 0x80000000;

/** Requests of one connection, many at a time, and perhaps one at the end that cannot be followed. */
async function requests(it: Served, grammar: Grammar): Promise<number> {
	const structured = grammar.chance(3) > 0;
	const contexts = structured && grammar.chance(3) > 0 ? ["base:allocation"] : [];
	const name = grammar.chance(4) > 0 ? "disk" : "fixed";
	const client = await (await RawClient.connect(SCOPE, it.socket)).go(name, { structured, contexts });
	const count = 1 + grammar.chance(100);
	const sent = new Map<bigint, number>();
	const lengths = new Map<bigint, number>();
	const pieces: Buffer[] = [];
	for (let cookie = 1; cookie <= count; cookie++) {
		const { bytes } = grammar.request(cookie);
		pieces.push(bytes);
		sent.set(BigInt(cookie), 1);
		if (bytes.readUInt16BE(6) === 0) lengths.set(BigInt(cookie), bytes.readUInt32BE(24));
	}
	const stream = Buffer.concat(pieces);
	for (let at = 0; at < stream.length; ) {
		const step = 1 + grammar.chance(grammar.chance(2) === 0 ? 100_000 : 2000);
		client.send(stream.subarray(at, at + step));
		at += step;
		if (grammar.chance(3) === 0) await new Promise((resolve) => setImmediate(resolve));
	}
	for (let n = 0; n < count; n++) {
		const { cookie } = await (structured ? client.reply() : simpleReply(client, lengths));
		if (sent.get(cookie) !== 1) throw new Error(`request ${cookie} of ${count} was answered twice, or never made`);
		sent.set(cookie, 0);
	}
	if (client.waiting > 0) throw new Error(`${client.waiting} bytes that belong to no request`);
	if (grammar.chance(2) === 0) client.send(grammar.brokenRequest().bytes);
	client.socket.end();
	await client.closed;
	return count + 1;
}

/** Without structured replies the length of the data is known only from the request. */
async function simpleReply(client: RawClient, lengths: Map<bigint, number>): Promise<{ cookie: bigint }> {
	const head = await client.take(16);
	if (head.readUInt32BE(0) !== 0x67446698) throw new Error("no simple reply");
	const cookie = head.readBigUInt64BE(8);
	if (head.readUInt32BE(4) === 0) await client.take(lengths.get(cookie) ?? 0);
	return { cookie };
}

async function campaign(t: Test, seed: number): Promise<void> {
	const it = await served(t, { size: SIZE });
	const grammar = new Grammar(seed, SIZE);
	let made = 0;
	for (let connections = 0; made < inputs; connections++) {
		it.disk.mode = MODES[connections % MODES.length];
		made += await (grammar.chance(3) === 0 ? options(it, grammar) : requests(it, grammar));
	}
	it.disk.mode = "sync";
	t.same(
		it.logs.filter((line) => !/closed: |cannot have export/.test(line)),
		[],
		`seed ${seed}: nothing unexpected after ${made} inputs`,
	);
	const good = await (await RawClient.connect(t, it.socket)).go("disk");
	t.equal((await good.ask({ command: 1, offset: 100, data: Buffer.from("still here") })).error, 0);
	t.equal(assemble(await good.ask({ command: 0, offset: 100, length: 10 }), 100, 10).toString(), "still here");
	good.socket.destroy();
	for (let n = 0; n < 500 && it.server.totals.connections > 0; n++) await pause(10);
	t.match(it.server.totals, { connections: 0, held: 0 });
	const { requests: carried, bytesRead, bytesWritten } = it.server.totals;
	t.ok(carried > inputs / 3 && bytesRead > 0 && bytesWritten > 0, `${carried} requests were taken`);
	t.equal(it.disk.lent, 0);
	t.equal(it.open(), 0);
}

/** Memory outside of the heap is given back some time after a collection. */
async function settledBytes(): Promise<number> {
	heldBytes();
	await pause(200);
	return heldBytes();
}

let early = 0;
for (const [index, seed] of seeds.entries())
	t.test(`${inputs} mutated inputs, SPRINGBACK_FUZZ_SEED=${seed}`, async (t) => {
		await campaign(t, seed);
		if (index === Math.floor(seeds.length / 10)) early = await settledBytes();
	});

if (long)
	t.test("memory does not grow with the requests", async (t) => {
		const late = await settledBytes();
		const grown = late - early;
		t.comment(`${(early / MIB).toFixed(1)} MiB early, ${(late / MIB).toFixed(1)} MiB at the end`);
		t.ok(grown < GROWTH, `grown by ${(grown / MIB).toFixed(1)} MiB`);
	});
