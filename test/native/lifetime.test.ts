/** Native hazards: garbage collection, the end of workers and processes, all in children that must not crash. */
import t from "tap";
import { addonUrl, child, scratchFile } from "./support.js";

t.test("buffers live while their jobs do", async (t) => {
	const { path } = scratchFile(t);
	const result = await child(
		`
		import { constants } from "node:fs";
		const fd = native.sys.open(process.env.TARGET, constants.O_RDWR);
		const lane = native.createLane("gc", 2);
		const big = 1 << 20;
		const fill = (i) => Buffer.alloc(big, i + 1);
		native.faults.set([{ op: "*", delayMs: 5, count: -1 }]);
		const jobs = [];
		for (let i = 0; i < 10; i++) {
			jobs.push(lane.write(fd, [fill(i)], i * big, false));
			globalThis.gc();
		}
		// Memory that was freed too early would be reused by these.
		for (let i = 0; i < 10; i++) Buffer.alloc(big, 0xff);
		globalThis.gc();
		await Promise.all(jobs);
		const back = Buffer.alloc(big);
		for (let i = 0; i < 10; i++) {
			native.sys.pread(fd, back, i * big);
			if (!back.equals(fill(i))) throw new Error("block " + i + " was lost");
		}
		// Targets and identities that only the job knows, in an array that is emptied at once.
		const record = native.encodeRecord(Buffer.alloc(big, 7), Buffer.alloc(32, 1), 1, 1);
		native.sys.pwrite(fd, record, 0);
		const reads = () => Array.from({ length: 20 }, () => ({ fd, position: 0, length: record.length,
			identity: Buffer.alloc(32, 1), type: 1, rawLength: big, target: new Uint8Array(big), targetOffset: 0 }));
		const many = [];
		for (let i = 0; i < 3; i++) {
			const list = reads();
			many.push(lane.readRecords(list));
			list.length = 0;
			globalThis.gc();
		}
		const statuses = (await Promise.all(many)).flat();
		if (statuses.length !== 60 || statuses.some((status) => status !== "ok")) throw new Error(statuses.join());
		// Results outlive their lane.
		const encoded = await lane.encodeRecords(Buffer.alloc(big, 3), 65536, Uint32Array.of(0, 1, 2),
			Buffer.alloc(16 * 32), 1, 1);
		await lane.close();
		globalThis.gc();
		console.log(native.decodeRecord(encoded.bytes.subarray(0, encoded.lengths[0]), null, 1)[65535]);
		`,
		{ TARGET: path },
		["--expose-gc"],
	);
	t.equal(result.stderr, "");
	t.equal(result.stdout, "3\n");
	t.equal(result.code, 0);
});

t.test("a lane that nobody closed", async (t) => {
	const { path } = scratchFile(t);
	const result = await child(
		`
		import { constants, readFileSync } from "node:fs";
		const threads = () => Number(/Threads:\\s*(\\d+)/.exec(readFileSync("/proc/self/status", "utf8"))[1]);
		const fd = native.sys.open(process.env.TARGET, constants.O_RDWR);
		const before = threads();
		const jobs = [];
		for (let i = 0; i < 20; i++) jobs.push(native.createLane("forgotten", 4).fsync(fd));
		for (let i = 0; i < 3; i++) globalThis.gc();
		await Promise.all(jobs);
		for (let i = 0; i < 50 && threads() > before; i++) {
			globalThis.gc();
			await new Promise((resolve) => setImmediate(resolve));
		}
		console.log(threads() <= before ? "ended" : "leaked " + (threads() - before));
		`,
		{ TARGET: path },
		["--expose-gc"],
	);
	t.equal(result.stderr, "");
	t.equal(result.stdout, "ended\n", "its threads end when it is collected");
	t.equal(result.code, 0);
});

t.test("an idle lane does not keep the process, a busy one does", async (t) => {
	const { path } = scratchFile(t);
	const open = `
		import { constants } from "node:fs";
		const fd = native.sys.open(process.env.TARGET, constants.O_RDWR);
		const lane = native.createLane("idle", 4);
	`;
	const idle = await child(`${open} await lane.fsync(fd); console.log("done");`, { TARGET: path });
	t.match(idle, { code: 0, signal: null, stdout: "done\n", stderr: "" });
	const busy = await child(
		`${open}
		native.faults.set([{ op: "pwrite", delayMs: 200 }]);
		lane.write(fd, [Buffer.from("late")], 0, true).then(() => console.log("written"));`,
		{ TARGET: path },
	);
	t.match(busy, { code: 0, signal: null, stdout: "written\n", stderr: "" });
});

t.test("process.exit with jobs running and queued", async (t) => {
	const { path } = scratchFile(t);
	const script = `
		import { constants } from "node:fs";
		const fd = native.sys.open(process.env.TARGET, constants.O_RDWR);
		const lanes = [native.createLane("a", 2), native.createLane("b", 2)];
		const data = Buffer.alloc(4 << 20, 5);
		for (let i = 0; i < 50; i++) for (const lane of lanes) {
			lane.hashBlocks(data, 65536);
			lane.encodeRecords(data, 65536, Uint32Array.of(1, 2, 3), Buffer.alloc(64 * 32), 1, i % 3);
			lane.write(fd, [data], 0, true);
		}
		await lanes[0].fsync(1e6).catch(() => {});
		process.exit(7);
	`;
	for (let i = 0; i < 3; i++) {
		t.match(await child(script, { TARGET: path }), { code: 7, signal: null, stderr: "" });
	}
});

t.test("workers: own lanes, terminated or ending with jobs in flight", async (t) => {
	const { path } = scratchFile(t);
	const worker = `
		import { parentPort } from "node:worker_threads";
		import * as native from ${JSON.stringify(addonUrl)};
		const fd = native.sys.open(process.env.TARGET, 2);
		const lane = native.createLane("worker", 2);
		await lane.write(fd, [Buffer.from("x")], 0, true);
		const data = Buffer.alloc(4 << 20, 9);
		for (let i = 0; i < 30; i++) lane.hashBlocks(data, 65536).then(() => {}, () => {});
		for (let i = 0; i < 30; i++) lane.write(fd, [data], 0, false).then(() => {}, () => {});
		parentPort.postMessage("busy");
		if (process.env.END) process.exit(0);
	`;
	const script = `
		import { Worker } from "node:worker_threads";
		const start = (END) => new Promise((resolve, reject) => {
			const worker = new Worker(${JSON.stringify(worker)}, { eval: true, env: { ...process.env, END } });
			worker.on("error", reject);
			worker.once("message", async () => {
				if (END) worker.once("exit", resolve);
				else resolve(worker.terminate());
			});
		});
		const lane = native.createLane("main", 1);
		await Promise.all([start("1"), start(""), start("1"), start("")]);
		await lane.hashBlocks(Buffer.alloc(1000, 1), 100);
		await lane.close();
		console.log("survived");
	`;
	const result = await child(script, { TARGET: path });
	t.match(result, { code: 0, signal: null, stdout: "survived\n", stderr: "" });
});

t.test("the fault layer's environment arms a process once, not again in each worker", async (t) => {
	const { path } = scratchFile(t);
	const script = `
		import { Worker } from "node:worker_threads";
		const fd = native.sys.open(process.env.TARGET, 2);
		try { native.sys.fsync(fd); } catch (error) { console.log(error.code); }
		const worker = new Worker('import ${JSON.stringify(addonUrl)}', { eval: true });
		await new Promise((resolve) => worker.on("exit", resolve));
		native.sys.fsync(fd);
		console.log("fine");
	`;
	const result = await child(script, {
		TARGET: path,
		SPRINGBACK_FAULTS: JSON.stringify([{ op: "fsync", error: "EIO" }]),
	});
	t.match(result, { code: 0, stdout: "EIO\nfine\n", stderr: "" });
});
