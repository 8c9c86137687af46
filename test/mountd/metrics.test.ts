/** Prometheus text: strictly parsed, values where they belong, labels escaped; and the server that gives it out. */

import { connect, createServer } from "node:net";
import t from "tap";
import { METRICS_CONTENT_TYPE, prometheusText } from "../../src/mountd/metrics.js";
import { startMetricsServer } from "../../src/mountd/metrics-server.js";
import { Meter } from "../../src/mountd/nbd/meter.js";
import { parsePrometheus, sampleValue } from "./prometheus.js";
import { counts, latencies, session, statistics } from "./statistics.js";

t.test("numbers are where they belong, in seconds and bytes", (t) => {
	const meter = new Meter(() => new Date("2026-01-02T03:04:06Z"));
	meter.read(0, 512);
	t.match(meter.counts(), { firstRead: "2026-01-02T03:04:06.000Z", firstReadBeyondSector: null });
	meter.read(512, 4096);
	t.match(meter.counts(), { reads: 2, firstReadBeyondSector: "2026-01-02T03:04:06.000Z" });
	const stats = statistics({
		sessions: [
			session({
				procedures: { "NFS READ": counts(0.01, 0.02, 3, 50_000), "NFS GETATTR": { ...counts(0.1), failures: 1 } },
				lastWrite: "2026-01-02T03:04:30.500Z",
				unprotectedSince: "2026-01-02T03:04:10.000Z",
				syncs: latencies(2, 4),
				nbd: meter.counts(),
			}),
			session({ session: "db", failed: true }),
		],
		broken: ["lost"],
	});
	stats.nfs.procedures = { "NFS GETATTR": counts(1), "MOUNT MNT": counts(1, 1), "PORTMAP GETPORT": counts(1) };
	const families = parsePrometheus(prometheusText(stats));
	const value = (name: string, labels?: Record<string, string>) => sampleValue(families, name, labels);
	const read = { session: "web", procedure: "READ" };
	t.equal(value("springback_nfs_requests_total", read), 4);
	t.equal(value("springback_nfs_requests_total", { session: "", procedure: "GETATTR" }), 1);
	t.equal(value("springback_nfs_request_failures_total", { session: "web", procedure: "GETATTR" }), 1);
	t.equal(value("springback_nfs_sent_bytes_total", read), 16_000);
	t.equal(value("springback_nfs_request_seconds_count", read), 4);
	t.ok(Math.abs(value("springback_nfs_request_seconds_sum", read) - 50.00303) < 1e-9);
	t.equal(value("springback_nfs_request_seconds_bucket", { ...read, le: "0.0000064" }), 0);
	t.equal(value("springback_nfs_request_seconds_bucket", { ...read, le: "0.0000128" }), 1);
	t.equal(value("springback_nfs_request_seconds_bucket", { ...read, le: "0.0032768" }), 3);
	t.equal(value("springback_nfs_request_seconds_bucket", { ...read, le: "+Inf" }), 4, "beyond the last bound");
	t.equal(value("springback_rpc_requests_total", { program: "MOUNT", procedure: "MNT" }), 2);
	t.equal(value("springback_cache_hits_total"), 90);
	t.equal(value("springback_cache_pinned_bytes"), 65536);
	t.equal(value("springback_nbd_read_bytes_total", { session: "web" }), 4608);
	t.equal(value("springback_nbd_reads_total", { session: "db" }), 0);
	t.equal(value("springback_session_up", { session: "web" }), 1);
	t.equal(value("springback_session_up", { session: "db" }), 0);
	t.equal(value("springback_session_up", { session: "lost" }), 0);
	t.equal(value("springback_overlay_disk_bytes", { session: "db" }), 1 << 24);
	t.equal(value("springback_overlay_last_write_timestamp_seconds", { session: "web" }), 1767323070.5);
	t.throws(() => value("springback_overlay_last_write_timestamp_seconds", { session: "db" }));
	t.equal(value("springback_overlay_sync_seconds_count", { session: "web" }), 2);
	t.equal(value("springback_event_loop_active_seconds_total"), 5);
	t.equal(value("process_cpu_seconds_total"), 1.5);
	t.equal(value("process_start_time_seconds"), 1767323090);
	t.equal(value("springback_build_info", { version: "0.0.0" }), 1);
	t.end();
});

t.test("nothing is served, nothing was asked", (t) => {
	const families = parsePrometheus(prometheusText(statistics()));
	t.notOk(families.has("springback_nfs_requests_total"), "a family without series is left out");
	t.equal(sampleValue(families, "springback_nfs_connections"), 2);
	t.end();
});

t.test("label values are escaped", (t) => {
	const name = 'a\\b"c\nd';
	const families = parsePrometheus(prometheusText(statistics({ sessions: [session({ session: name })] })));
	t.equal(sampleValue(families, "springback_session_up", { session: name }), 1);
	t.end();
});

t.test("the reader of this test is strict", (t) => {
	const head = "# HELP a_total x\n# TYPE a_total counter\n";
	for (const wrong of [
		"a_total 1\n",
		`${head}a_total 1`,
		`${head}a_total one\n`,
		`${head}a_total{x=1} 1\n`,
		`${head}a_total{x="\\q"} 1\n`,
		`${head}b_total 1\n`,
		`${head}a_total 1\na_total 1\n`,
		`${head}`,
		`${head}a_total 1\n${head}a_total 2\n`,
		'# HELP h x\n# TYPE h histogram\nh_bucket{le="1"} 2\nh_bucket{le="+Inf"} 1\nh_sum 1\nh_count 1\n',
		'# HELP h x\n# TYPE h histogram\nh_bucket{le="1"} 1\nh_sum 1\nh_count 1\n',
	])
		t.throws(() => parsePrometheus(wrong), JSON.stringify(wrong));
	t.end();
});

t.test("over HTTP", async (t) => {
	let asked = 0;
	const lines: string[] = [];
	const text = () => {
		if (asked++ === 1) throw new Error("a bug");
		return prometheusText(statistics());
	};
	let time = 0;
	const server = await startMetricsServer(
		"127.0.0.1",
		0,
		text,
		(line) => lines.push(line),
		() => time,
	);
	t.teardown(() => server.close());
	const url = `http://127.0.0.1:${server.port}`;
	const [first, again] = await Promise.all([fetch(`${url}/metrics`), fetch(`${url}/metrics?x=1`)]);
	t.equal(first.status, 200);
	t.equal(first.headers.get("content-type"), METRICS_CONTENT_TYPE);
	t.ok(parsePrometheus(await first.text()).size > 10);
	t.equal(again.status, 200);
	t.equal(asked, 1, "who asks too often gets the same answer again");
	t.equal((await fetch(`${url}/metrics`, { method: "HEAD" })).status, 200);
	t.equal((await fetch(`${url}/metrics`, { method: "POST" })).status, 405);
	t.equal((await fetch(`${url}/`)).status, 404);
	time = 1000;
	t.equal((await fetch(`${url}/metrics`)).status, 500, "a bug is an answer, not an end");
	t.match(lines.join(), /a bug/);
	const idle = connect(server.port, "127.0.0.1");
	await new Promise((resolve) => idle.once("connect", resolve));
	await server.close();
	await new Promise((resolve) => idle.once("close", resolve));
	t.pass("closing does not wait for connections");
});

t.test("a port that is taken", async (t) => {
	const holder = createServer().listen(0, "127.0.0.1");
	await new Promise((resolve) => holder.once("listening", resolve));
	t.teardown(() => holder.close());
	const { port } = holder.address() as { port: number };
	await t.rejects(
		startMetricsServer(
			"127.0.0.1",
			port,
			() => "",
			() => undefined,
		),
		{ code: "EADDRINUSE", message: /metrics.*in use/ },
	);
});
