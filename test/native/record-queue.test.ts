/** Lane.recordQueue: single records, many by one call, told of by one call back. */
import t from "tap";
import { createLane, encodeRecord, faults, type Lane, sha256, sys } from "../../native/index.js";
import { RECORD_REQUEST_BYTES, RecordRequests } from "../../native/record-requests.js";
import { child, noise, prose, scratchFile } from "./support.js";

t.afterEach(() => faults.clear());

const BLOCK = 4096;

/** A file of 24 records of BLOCK bytes each. */
function prepare(t: import("tap").Test, threads = 3) {
	const { fd, path } = scratchFile(t);
	const lane = createLane("queue", threads);
	t.teardown(() => lane.close());
	const blocks = Array.from({ length: 24 }, (_, n) => (n % 3 ? prose : noise)(BLOCK, n + 1));
	let position = 50;
	const records = blocks.map((data) => {
		const record = encodeRecord(data, sha256(data), 1, 1);
		sys.pwrite(fd, record, position);
		const place = { data, position, length: record.length };
		position += record.length;
		return place;
	});
	return { fd, path, lane, records };
}

/** A queue whose outcomes are gathered by ticket. */
function queueOn(lane: Lane, room = 64) {
	const outcomes = new Uint32Array(room);
	const told = new Map<number, boolean>();
	const calls: number[] = [];
	const queue = lane.recordQueue(outcomes, (count) => {
		calls.push(count);
		for (const outcome of outcomes.subarray(0, count)) told.set(outcome >>> 1, (outcome & 1) === 1);
	});
	const all = async (count: number): Promise<void> => {
		while (told.size < count) await new Promise((resolve) => setTimeout(resolve, 2));
	};
	return { queue, told, calls, all };
}

type Place = ReturnType<typeof prepare>["records"][number];

/** Requests for all records into one target, the tickets counting from 100. */
function ask(fd: number, records: Place[], target: Buffer, change: (n: number, place: Place) => Place = (_, p) => p) {
	const requests = new RecordRequests(records.length);
	records.forEach((record, n) => {
		const { position, length } = change(n, record);
		requests.set(n, 100 + n, fd, position, length, sha256(record.data), 0, 1, BLOCK, n * BLOCK, undefined);
	});
	return { requests, targets: records.map(() => target) };
}

t.test("all are read, and told of in few calls", async (t) => {
	const { fd, lane, records } = prepare(t);
	const { queue, told, calls, all } = queueOn(lane);
	const target = Buffer.alloc(records.length * BLOCK);
	const { requests, targets } = ask(fd, records, target);
	t.equal(queue.submit(requests.bytes, targets), true);
	requests.bytes.fill(0xff);
	t.equal(told.size, 0, "never before submit has returned");
	await all(records.length);
	t.same(
		[...told].sort(([a], [b]) => a - b),
		records.map((_, n) => [100 + n, true]),
	);
	t.ok(target.equals(Buffer.concat(records.map(({ data }) => data))));
	t.ok(calls.length <= records.length);
	t.equal(lane.pending, 0);
	t.equal(queue.submit(requests.bytes, []), true, "nothing is fine");
});

t.test("more outcomes than the array has room for come in several calls", async (t) => {
	const { fd, lane, records } = prepare(t);
	const { queue, told, calls, all } = queueOn(lane, 2);
	const { requests, targets } = ask(fd, records, Buffer.alloc(records.length * BLOCK));
	queue.submit(requests.bytes, targets);
	await all(records.length);
	t.ok(calls.every((count) => count === 1 || count === 2));
	t.ok([...told.values()].every((good) => good));
});

t.test("what is wrong with one is told of that one, and its target stays untouched", async (t) => {
	const { fd, lane, records } = prepare(t);
	const { queue, told, all } = queueOn(lane);
	const flipped = Buffer.alloc(1);
	sys.pread(fd, flipped, records[2].position + 70);
	flipped[0] ^= 1;
	sys.pwrite(fd, flipped, records[2].position + 70);
	const target = Buffer.alloc(records.length * BLOCK, 0xee);
	const { requests, targets } = ask(fd, records, target, (n, place) => {
		if (n === 5) return { ...place, position: place.position + 1 };
		if (n === 7) return { ...place, length: place.length - 1 };
		if (n === 9) return { ...place, length: 10 };
		// Beyond the end of the file: a short read.
		if (n === 11) return { ...place, position: place.position + 2 ** 40 };
		return place;
	});
	queue.submit(requests.bytes, targets);
	await all(records.length);
	for (const [n, { data }] of records.entries()) {
		const bad = [2, 5, 7, 9, 11].includes(n);
		t.equal(told.get(100 + n), !bad, `record ${n}`);
		const expected = bad ? Buffer.alloc(BLOCK, 0xee) : data;
		t.ok(target.subarray(n * BLOCK, (n + 1) * BLOCK).equals(expected), `target ${n}`);
	}
});

t.test("hashContent: a record whose content is not what its identity names is told as bad", async (t) => {
	const { fd, lane, records } = prepare(t);
	// Its checksum holds.
	const forged = encodeRecord(prose(BLOCK, 99), sha256(records[4].data), 1, 1);
	sys.pwrite(fd, forged, 1_000_000);
	const change = (n: number, place: Place) =>
		n === 4 ? { ...place, position: 1_000_000, length: forged.length } : place;
	const bad = async (): Promise<number[]> => {
		const { queue, told, all } = queueOn(lane);
		const { requests, targets } = ask(fd, records, Buffer.alloc(records.length * BLOCK), change);
		queue.submit(requests.bytes, targets);
		await all(records.length);
		return [...told].filter(([, good]) => !good).map(([ticket]) => ticket);
	};
	t.same(await bad(), []);
	lane.hashContent();
	t.same(await bad(), [104]);
});

t.test("an error of the disk fails its own record only", async (t) => {
	const { fd, path, lane, records } = prepare(t, 1);
	const { queue, told, all } = queueOn(lane);
	faults.set([{ op: "pread", path, error: "EIO", skip: 4, count: 1 }]);
	const { requests, targets } = ask(fd, records, Buffer.alloc(records.length * BLOCK));
	queue.submit(requests.bytes, targets);
	await all(records.length);
	t.same(
		[...told].filter(([, good]) => !good),
		[[104, false]],
	);
});

t.test("a lane that hangs holds up no other", async (t) => {
	const slow = prepare(t);
	const quick = prepare(t);
	const hung = queueOn(slow.lane);
	const free = queueOn(quick.lane);
	faults.set([{ op: "pread", path: slow.path, delayMs: 3_600_000, count: -1 }]);
	for (const [{ queue }, { fd, records }] of [
		[hung, slow],
		[free, quick],
	] as const) {
		const { requests, targets } = ask(fd, records, Buffer.alloc(records.length * BLOCK));
		queue.submit(requests.bytes, targets);
	}
	await free.all(quick.records.length);
	t.equal(hung.told.size, 0);
	faults.clear();
	await hung.all(slow.records.length);
	t.ok([...hung.told.values()].every((good) => good));
});

t.test("close waits for what was queued; later requests are refused", async (t) => {
	const { fd, lane, records } = prepare(t);
	const { queue, told } = queueOn(lane);
	const { requests, targets } = ask(fd, records, Buffer.alloc(records.length * BLOCK));
	queue.submit(requests.bytes, targets);
	await lane.close();
	t.equal(told.size, records.length);
	t.equal(queue.submit(requests.bytes, targets), false);
	t.equal(told.size, records.length);
});

t.test("wrong arguments are refused whole", async (t) => {
	const { fd, lane, records } = prepare(t);
	const done = () => undefined;
	t.throws(() => lane.recordQueue(new Uint32Array(0), done), TypeError);
	t.throws(() => lane.recordQueue(new Int32Array(4) as unknown as Uint32Array, done), TypeError);
	t.throws(() => lane.recordQueue(new Uint32Array(4), undefined as unknown as () => void), TypeError);
	const { queue, told } = queueOn(lane);
	const target = Buffer.alloc(records.length * BLOCK);
	const { requests, targets } = ask(fd, records, target);
	t.throws(() => queue.submit(requests.bytes, [...targets, target]), RangeError, "more targets than requests");
	t.throws(() => queue.submit(requests.bytes, ["x"] as unknown as Buffer[]), TypeError);
	t.throws(() => queue.submit(requests.bytes, [target.subarray(1, BLOCK)]), RangeError, "a target too small");
	const gone = Buffer.from(new ArrayBuffer(BLOCK));
	structuredClone(gone.buffer, { transfer: [gone.buffer as ArrayBuffer] });
	t.throws(() => queue.submit(requests.bytes, [gone]), RangeError, "a target whose memory was taken away");
	for (const [at, bytes] of [
		[16, [0xff, 0xff, 0xff, 0xff]],
		[20, [0xff, 0xff, 0xff, 0xff]],
		[24, [0xff, 0xff, 0xff, 0xff]],
		[28, [0xff, 0xff, 0xff, 0xff]],
		[0, [0, 0, 0, 0, 0, 0, 0xf8, 0x7f]],
		[8, [0, 0, 0, 0, 0, 0, 0xf0, 0xbf]],
	] as const) {
		const fresh = ask(fd, records, Buffer.alloc(records.length * BLOCK));
		fresh.requests.bytes.set(bytes, 3 * RECORD_REQUEST_BYTES + at);
		t.throws(() => queue.submit(fresh.requests.bytes, fresh.targets), RangeError, `byte ${at} of a request`);
	}
	t.equal(lane.pending, 0, "nothing of them was queued");
	t.equal(told.size, 0);
});

t.test("a process, and a worker, may end with requests under way", async (t) => {
	const { path, records } = prepare(t);
	const script = (end: string) => `
		import { RecordRequests } from ${JSON.stringify(new URL("../../native/record-requests.js", import.meta.url).href)};
		const fd = native.sys.open(${JSON.stringify(path)}, 0);
		const lane = native.createLane("ends", 2);
		const queue = lane.recordQueue(new Uint32Array(4), () => undefined);
		const requests = new RecordRequests(50);
		native.faults.set([{ op: "pread", delayMs: 30, count: -1 }]);
		for (let n = 0; n < 50; n++)
			requests.set(n, n, fd, ${records[0].position}, ${records[0].length}, Buffer.alloc(32), 0, 1, ${BLOCK}, 0, undefined);
		queue.submit(requests.bytes, Array.from({ length: 50 }, () => Buffer.alloc(${BLOCK})));
		setTimeout(() => { ${end} }, 50);`;
	const { code, stderr } = await child(script("process.exit(7)"));
	t.equal(code, 7, stderr);
	const worker = `
		import { Worker } from "node:worker_threads";
		const worker = new Worker(new URL("data:text/javascript," + encodeURIComponent(${JSON.stringify(
			`import * as native from ${JSON.stringify(new URL("../../native/index.js", import.meta.url).href)};\n${script("process.exit(3)")}`,
		)})));
		worker.on("exit", (code) => process.exit(code + 1));`;
	const outer = await child(worker);
	t.equal(outer.code, 4, outer.stderr);
});
