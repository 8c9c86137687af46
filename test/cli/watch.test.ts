/** Rates between two looks, their text, and drawing on a terminal. */
import { EventEmitter } from "node:events";
import t from "tap";
import { processRates } from "../../src/cli/watch/rates.js";
import { openScreen } from "../../src/cli/watch/screen.js";
import { milliseconds, ratesText } from "../../src/cli/watch/view.js";
import { counts, latencies, session, statistics } from "../mountd/statistics.js";

const earlier = statistics({
	uptime: 10_000,
	sessions: [session({ procedures: { "NFS READ": counts(50, 50, 50) }, syncs: latencies(100) })],
});
const later = statistics({
	uptime: 12_000,
	cache: { ...earlier.cache, hits: 120, misses: 20 },
	loop: { active: 5500, delay: latencies(0.1, 0.2, 80) },
	sessions: [
		session({
			procedures: {
				"NFS READ": counts(50, 50, 50, 1, 1, 1, 9),
				"NFS WRITE": counts(2, 2),
				"NFS GETATTR": { ...counts(0.1), failures: 1 },
				"NFS ACCESS": counts(0.2, 0.2, 0.2),
			},
			syncs: latencies(100, 4),
		}),
		session({
			session: "disks",
			uuid: "22".repeat(16),
			nbd: { ...session().nbd, reads: 40, bytesRead: 8192, writes: 2, bytesWritten: 1024, failures: 1 },
		}),
		session({ session: "new", uuid: "11".repeat(16), procedures: { "NFS READ": counts(1) } }),
	],
});

t.test("of the time between only", (t) => {
	const rates = processRates(later, earlier);
	t.equal(rates.seconds, 2);
	t.equal(rates.busy, 0.25);
	t.match(rates.cache, { hitRate: 0.75, hitsPerSecond: 15, missesPerSecond: 5 });
	t.ok(Math.abs(rates.delay.max - 80) < 80 / 32);
	const [web, disks, fresh] = rates.sessions;
	t.equal(web.nbd, null);
	t.match(disks.nbd, { readsPerSecond: 20, bytesReadPerSecond: 4096, writesPerSecond: 1, failuresPerSecond: 0.5 });
	t.match(ratesText([rates]), /nbd read +20 +4\.00 KiB +0\.5 failures\/s\n +nbd write +1\.0 +512 B/);
	const { read, write, commit, other } = web.classes;
	t.equal(read.perSecond, 2);
	t.equal(read.calls, 7);
	t.equal(read.bytesOutPerSecond, 8000);
	t.ok(Math.abs(read.p50 - 1) < 1 / 32, "what was slow before does not count");
	t.ok(Math.abs(read.p99 - 9) < 9 / 32);
	t.equal(write.perSecond, 1);
	t.match(commit, { perSecond: 0, p50: 0, p99: 0, max: 0, calls: 0 });
	t.equal(other.perSecond, 2, "all others together");
	t.equal(other.failuresPerSecond, 0.5);
	t.equal(web.syncs.perSecond, 0.5);
	t.equal(fresh.classes.read.perSecond, 0.5, "a session that came meanwhile starts from nothing");
	t.end();
});

t.test("counters that started again", (t) => {
	const restarted = processRates({ ...later, pid: 78, uptime: 500 }, earlier);
	t.equal(restarted.seconds, 0.5, "another process: since its start");
	t.equal(restarted.sessions[0].classes.read.perSecond, 14);
	const [first] = later.sessions;
	const reopened = { ...later, sessions: [{ ...first, since: "2026-01-02T03:04:58.000Z" }] };
	t.equal(processRates(reopened, earlier).sessions[0].classes.read.perSecond, 3.5, "another time of serving");
	t.equal(processRates(statistics({ cache: { ...later.cache, hits: 0, misses: 0 } }), undefined).cache.hitRate, null);
	t.end();
});

t.test("as text", (t) => {
	const text = ratesText([processRates({ ...later, broken: ["lost"] }, earlier)]);
	t.match(text, /127\.0\.0\.1 {2}pid 77, 2 connections, .* 25% busy, longest stall 80 ms/);
	t.match(text, /75\.0% hits, 5\.0 misses\/s/);
	t.match(text, /^web +read +2\.0 /m);
	t.match(text, /^ +write /m);
	t.notMatch(text, /commit/, "what was never used is left out");
	t.match(text, /0\.5 failures\/s/);
	t.match(text, /^lost +failed/m);
	t.equal(ratesText([]), "no session is served");
	t.same([0, 0.0042, 0.085, 1.234, 45.2, 3400].map(milliseconds), [
		"-",
		"4.2 µs",
		"85 µs",
		"1.23 ms",
		"45 ms",
		"3.4 s",
	]);
	t.end();
});

class Output extends EventEmitter {
	text = "";
	rows = 3;
	columns = 10;
	constructor(readonly isTTY: boolean) {
		super();
	}
	write(text: string): boolean {
		this.text += text;
		return true;
	}
}

t.test("a terminal is drawn over and given back", (t) => {
	const output = new Output(true);
	const screen = openScreen(output as unknown as NodeJS.WriteStream);
	screen.show("first line is long\nsecond\nthird\nfourth");
	t.match(output.text, "first line\x1b[K\nsecond\x1b[K\nthird\x1b[K\x1b[J", "cut to the size");
	output.text = "";
	output.columns = 5;
	output.emit("resize");
	t.match(output.text, "first\x1b[K\n", "drawn again when the size changes");
	const listeners = process.listenerCount("exit");
	screen.end();
	screen.end();
	t.equal(output.text.split("\x1b[?1049l").length, 2, "left once");
	t.equal(process.listenerCount("exit"), listeners - 1);
	t.equal(output.listenerCount("resize"), 0);

	const file = new Output(false);
	const plain = openScreen(file as unknown as NodeJS.WriteStream);
	plain.show("a");
	plain.end();
	t.equal(file.text, "a\n\n", "no escapes where there is no terminal");
	t.end();
});
