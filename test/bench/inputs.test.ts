/** The command line, QEMU's log of reads, the numbers that are the same in every run. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { Random } from "../../bench/data/random.js";
import { run, Server } from "../../bench/measure/process.js";
import { readTrace } from "../../bench/measure/read-trace.js";
import { parseOptions, UsageError } from "../../bench/options.js";

t.test("the command line", async (t) => {
	const parsed = parseOptions(["nfs", "--pairs", "7", "--json", "out.json"], ["nfs", "boot"]);
	t.match(parsed, { scenario: "nfs", pairs: 7, quick: false, save: false, json: "out.json" });
	t.match(parseOptions([], ["nfs"]), { scenario: "all", pairs: undefined });
	for (const wrong of [["tape"], ["nfs", "boot"], ["--pairs", "0"], ["--pairs", "1.5"], ["--fast"]])
		t.throws(() => parseOptions(wrong, ["nfs", "boot"]), UsageError, wrong.join(" "));
});

t.test("QEMU's log becomes a trace in the same order, without what is no read", async (t) => {
	const directory = t.testdir({
		log: [
			"blk_co_preadv blk 0x55 bs 0x56 offset 0 bytes 512 flags 0x0",
			"blk_co_pwritev blk 0x55 bs 0x56 offset 99 bytes 512 flags 0x0",
			"blk_co_preadv blk 0x55 bs 0x56 offset 1048576 bytes 4096 flags 0x8",
			"blk_co_preadv blk 0x55 bs 0x56 offset 4096 bytes 0 flags 0x8",
			"",
		].join("\n"),
		empty: "",
	});
	const trace = readTrace(join(directory, "log"), join(directory, "reads"));
	t.match(trace, { reads: 2, bytes: 4608 });
	t.equal(readFileSync(trace.path, "utf8"), "0 512\n1048576 4096\n");
	t.throws(() => readTrace(join(directory, "empty"), join(directory, "none")), /recorded no reads/);
});

t.test("random numbers repeat with their seed and differ from each other", async (t) => {
	const chosen = new Random(1).distinct(100, 1000);
	t.same(chosen, new Random(1).distinct(100, 1000));
	t.equal(new Set(chosen).size, 100);
	t.ok(chosen.every((value, i) => value >= 0 && value < 1000 && (i === 0 || value > chosen[i - 1])));
	t.equal(new Random(1).distinct(10, 4).length, 4);
});

t.test("a program's output and times come apart, and its failure has its last words", async (t) => {
	const timed = await run(["sh", "-c", "echo result; echo noise >&2; sleep 0.05"]);
	t.equal(timed.stdout, "result\n");
	t.ok(timed.seconds >= 0.05);
	t.ok(Number.isFinite(timed.cpuSeconds));
	await t.rejects(run(["sh", "-c", "echo no such thing >&2; exit 3"]), /failed \(3\): no such thing/);
	const outputFile = join(t.testdir(), "out");
	await run(["echo", "kept"], { outputFile });
	t.equal(readFileSync(outputFile, "utf8"), "kept\n");
});

t.test("a server that ends before it is ready is reported with its last words", async (t) => {
	const log = join(t.testdir(), "log");
	const server = new Server(["sh", "-c", "echo port in use >&2; exit 1"], log);
	await t.rejects(
		server.ready(async () => undefined, 5000),
		/did not come up: port in use/,
	);
	const lasting = new Server(["sleep", "60"], log);
	t.equal(await lasting.ready(async () => "up", 1000), "up");
	await lasting.stop();
	t.equal(lasting.running, false);
});
