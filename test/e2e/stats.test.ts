/** What the mount process tells about its work: over the control socket, `sessions --watch`, and for Prometheus. */
import { spawn } from "node:child_process";
import { createServer } from "node:net";
import t from "tap";
import { enterNamespace } from "../../scripts/lab/namespace.js";
import type { ProcessRates } from "../../src/cli/watch/rates.js";
import { ControlClient } from "../../src/mountd/control-client.js";
import { addressPaths } from "../../src/mountd/paths.js";
import type { StatsResult } from "../../src/mountd/stats-result.js";
import { quantile } from "../../src/nfs/stats-histogram.js";
import { parsePrometheus, sampleValue } from "../mountd/prometheus.js";
import { writeDisk } from "./content.js";
import { MAIN, must, Workspace } from "./workspace.js";

await enterNamespace(import.meta.url);

const MIB = 2 ** 20;
const disk = (session: string) => `nfs://127.0.0.1/springback/${session}/disk0-flat.vmdk`;

async function machine(t: { teardown(fn: () => unknown): void }): Promise<Workspace> {
	const work = new Workspace();
	t.teardown(() => work.close());
	await work.init();
	writeDisk(work.path("web.raw"), 1, 4 * MIB);
	await work.backup("web", work.path("web.raw"));
	return work;
}

async function stats(work: Workspace): Promise<StatsResult> {
	const client = (await ControlClient.connect(addressPaths(work.state, "127.0.0.1").socket))!;
	try {
		return await client.call("stats", {});
	} finally {
		client.end();
	}
}

t.test("counters of a session, and Prometheus", async (t) => {
	const work = await machine(t);
	const a = await work.publish(["web", "--session", "a", "--metrics-port", "0"]);
	const { metricsPort } = a.ready as unknown as { metricsPort: number };
	t.ok(metricsPort > 0, "the port is told");
	const b = await work.publish(["web", "--session", "b"]);
	await must("qemu-io", ["-f", "raw", "-c", "write -P 7 0 1M", "-c", "flush", disk("a")]);
	await must("qemu-io", ["-r", "-f", "raw", "-c", "read 2M 2M", disk("b")]);

	const now = await stats(work);
	const [first, second] = ["a", "b"].map((name) => now.sessions.find(({ session }) => session === name)!);
	t.match(first, { vm: "web", failed: false });
	t.ok(first.procedures["NFS WRITE"].bytesIn > MIB, "what was written to one");
	t.ok(first.live >= MIB && first.disk >= MIB);
	t.ok(first.lastWrite && first.unprotectedSince);
	t.ok(first.syncs.count > 0 && first.syncs.sum > 0, "syncs are timed");
	t.ok(second.procedures["NFS READ"].bytesOut > 2 * MIB, "what was read from the other");
	t.notOk(second.procedures["NFS WRITE"], "each has its own");
	t.equal(second.lastWrite, null);
	for (const { procedures } of [first, second])
		for (const [name, { calls, latency }] of Object.entries(procedures)) {
			t.equal(latency.count, calls, `${name}: each call has a latency`);
			t.ok(quantile(latency, 0.99) < 10_000);
		}
	t.ok(now.nfs.procedures["MOUNT MNT"].calls >= 2);
	t.ok(now.cache.misses > 0 && now.cache.allocatedBytes > 0);
	t.ok(now.process.rss > 10 * MIB);

	const response = await fetch(`http://127.0.0.1:${metricsPort}/metrics`);
	const families = parsePrometheus(await response.text());
	const again = { session: "b", procedure: "READ" };
	t.equal(sampleValue(families, "springback_nfs_requests_total", again), second.procedures["NFS READ"].calls);
	t.equal(sampleValue(families, "springback_nfs_request_seconds_count", again), second.procedures["NFS READ"].calls);
	t.equal(sampleValue(families, "springback_session_up", { session: "a" }), 1);
	t.ok(sampleValue(families, "springback_overlay_sync_seconds_count", { session: "a" }) > 0);
	t.ok(sampleValue(families, "springback_cache_misses_total") > 0);

	const other = await work.cli(["publish", "web", "--session", "c", "--metrics-port", "1", "--detach"]);
	t.equal(other.code, 2, "another port than the one in use is refused");
	t.match(other.stderr, /metrics-port 1.*listens on/);
	await work.killMountd("a");
	t.equal((await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).status, 200, "a restart takes the same port");
	t.equal((await stats(work)).sessions.find(({ session }) => session === "b")!.procedures["NFS READ"], undefined);
	await work.stop(a);
	t.notOk(
		(await stats(work)).sessions.some(({ session }) => session === "a"),
		"gone with its session",
	);
	await work.stop(b);
});

t.test("metrics are off unless asked for, and a port that is taken is an error", async (t) => {
	const work = await machine(t);
	const holder = createServer().listen(9911, "127.0.0.1");
	await new Promise((resolve) => holder.once("listening", resolve));
	const refused = await work.cli(["publish", "web", "--session", "a", "--metrics-port", "9911", "--detach"]);
	holder.close();
	t.equal(refused.code, 1);
	t.match(refused.stderr, /port 9911 .*metrics.*in use/);
	const published = await work.publish(["web", "--session", "a"]);
	t.notOk("metricsPort" in published.ready);
	const late = await work.cli(["publish", "web", "--session", "b", "--metrics-port", "0", "--detach"]);
	t.equal(late.code, 2, "a mount process that runs without does not get one silently not");
	t.match(late.stderr, /has none/);
	await work.stop(published);
});

t.test("sessions --watch", async (t) => {
	const work = await machine(t);
	const published = await work.publish(["web", "--session", "w"]);
	const watch = spawn(process.execPath, [MAIN, "sessions", "--watch", "--interval", "200ms", "--json"], {
		env: work.env(),
		stdio: ["ignore", "pipe", "inherit"],
	});
	t.teardown(() => watch.kill("SIGKILL"));
	const ended = new Promise<number | null>((resolve) => watch.once("exit", resolve));
	let text = "";
	const lines = () => text.split("\n").slice(0, -1);
	watch.stdout.setEncoding("utf8").on("data", (part: string) => {
		text += part;
	});
	const until = async (enough: () => boolean) => {
		for (let i = 0; i < 300 && !enough(); i++) await new Promise((resolve) => setTimeout(resolve, 50));
		t.ok(enough());
	};
	await until(() => lines().length > 0);
	await must("qemu-io", ["-f", "raw", "-c", "write -P 7 0 1M", "-c", "flush", disk("w")]);
	const processes = () => lines().flatMap((line) => (JSON.parse(line) as { processes: ProcessRates[] }).processes);
	const busy = (one: ProcessRates) => one.sessions[0].classes.write.perSecond > 0;
	await until(() => processes().some(busy));
	const one = processes().find(busy)!;
	t.match(one, { listen: "127.0.0.1", sessions: [{ session: "w", vm: "web", failed: false }] });
	t.ok(one.sessions[0].classes.write.bytesInPerSecond > 0 && one.sessions[0].classes.write.p99 > 0);
	const rest = processes().length;
	await until(() => processes().length > rest + 2);
	t.notOk(busy(processes().at(-1)!), "rates are of the last moment only");

	await work.killMountd("w");
	const { length } = lines();
	await until(() => lines().length > length + 2);
	t.equal(processes().at(-1)!.sessions[0].session, "w", "a restarted mount process is found again");
	watch.kill("SIGINT");
	t.equal(await ended, 0, "Ctrl-C ends it well");
	await work.stop(published);

	for (const args of [
		["--interval", "1s"],
		["--watch", "--interval", "soon"],
		["--watch", "--interval", "1ms"],
		["--watch", "x"],
	])
		t.equal((await work.cli(["sessions", ...args])).code, 2, args.join(" "));
});

t.test("sessions --watch on a terminal", async (t) => {
	const work = await machine(t);
	const published = await work.publish(["web", "--session", "w"]);
	const command = `stty rows 40 cols 150; exec ${process.execPath} ${MAIN} sessions --watch --interval 0.2s`;
	const terminal = spawn("script", ["-qfec", command, "/dev/null"], {
		env: work.env(),
		stdio: ["pipe", "pipe", "inherit"],
	});
	let text = "";
	terminal.stdout.setEncoding("utf8").on("data", (part: string) => {
		text += part;
	});
	const ended = new Promise<number | null>((resolve) => terminal.once("exit", resolve));
	for (let i = 0; i < 300 && !text.includes("UNPROTECTED SINCE"); i++) await new Promise((r) => setTimeout(r, 50));
	t.match(text, /127\.0\.0\.1 {2}pid \d+, 0 connections/);
	t.match(text, /^w +web /m);
	terminal.stdin.write("\x03");
	t.equal(await ended, 0, "Ctrl-C at the terminal");
	t.ok(text.includes("\x1b[?1049l") && text.includes("\x1b[?25h"), "the terminal is given back");
	await work.stop(published);
});
