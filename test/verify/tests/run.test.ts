import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { HypervisorError } from "../../../src/hypervisor/index.js";
import { TestFailure } from "../../../src/verify/tests/contract.js";
import { KINDS } from "../../../src/verify/tests/kinds.js";
import { ROLES } from "../../../src/verify/tests/roles.js";
import { runTest } from "../../../src/verify/tests/run.js";
import { cut, plain } from "../../../src/verify/tests/text.js";
import { contextOf, judge } from "./context.js";

t.test("attempts: until one passes, and no more than were given", async (t) => {
	let asked = 0;
	const context = contextOf(t, {
		run: async () => ({ code: ++asked < 3 ? 1 : 0, stdout: "", stderr: asked < 3 ? "not yet" : "" }),
	});
	const passed = await judge("script", { shell: "x" }, context, { retries: 5 });
	t.match(passed, { result: "passed", attempts: 3, message: "exit code 0 (attempt 3)", fault: null });
	asked = -10;
	const failed = await judge("script", { shell: "x" }, context, { retries: 2 });
	t.match(failed, { result: "failed", attempts: 3, message: /^exit code 1, expected 0: not yet/, fault: "service" });
	asked = -10;
	t.match(await judge("script", { shell: "x" }, context, { optional: true }), { result: "warning", attempts: 1 });
});

t.test("an attempt ends with its time, whatever the guest does", async (t) => {
	const context = contextOf(t, { heartbeat: () => new Promise<boolean>(() => {}) });
	const began = performance.now();
	const report = await judge("agent", {}, context, { timeoutMs: 200, retries: 1 });
	t.match(report, {
		result: "failed",
		attempts: 2,
		message: "the guest agent does not answer (within 200 ms) (attempt 2)",
	});
	t.ok(performance.now() - began < 2000);
	t.ok(report.tookMs >= 400);
});

t.test("interrupted: skipped at once, in an attempt and between two", async (t) => {
	for (const heartbeat of [() => new Promise<boolean>(() => {}), () => Promise.reject(new TestFailure("no agent"))]) {
		const end = new AbortController();
		const context = contextOf(t, { heartbeat, signal: end.signal });
		const running = judge("agent", {}, context, { timeoutMs: 60_000, retries: 9, retryMs: 60_000 });
		await sleep(50);
		end.abort();
		const report = await running;
		t.equal(report.result, "skipped");
		t.match(report.message, /^interrupted/);
		t.ok(report.tookMs < 2000);
	}
});

t.test("whose fault: the guest's, or this machine's", async (t) => {
	const of = async (error: Error) => judge("agent", {}, contextOf(t, { heartbeat: () => Promise.reject(error) }));
	t.match(await of(new HypervisorError("NO_AGENT", "VM a: no agent\nmore")), {
		fault: "service",
		message: "VM a: no agent",
	});
	t.match(await of(new HypervisorError("UNREACHABLE", "host gone")), { fault: "infrastructure" });
	t.match(await of(new TestFailure("seen", { fault: "hang" })), { fault: "hang", message: "seen" });
	const spec = { kind: "none", name: "n", timeoutMs: 1, retries: 0, retryMs: 0, optional: false, options: {} };
	t.match(await runTest(spec, contextOf(t), () => 0), { result: "failed", fault: "infrastructure" });
});

t.test("output of a guest is bounded, and has no control characters", async (t) => {
	const evil = `\x1b]0;title\x07\x1b[31mred\x1b[0m\x9b2J bell\x07 \u202eabc\r\nnext${"x".repeat(1_000_000)}end`;
	const context = contextOf(t, { run: async () => ({ code: 7, stdout: evil, stderr: "\x1b[2Jboo\x00" }) });
	const report = await judge("script", { shell: "x" }, context);
	t.ok(Buffer.byteLength(report.output) <= 65536);
	// biome-ignore lint/suspicious/noControlCharactersInRegex: there must be none
	t.notMatch(report.output + report.message, /[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]/);
	t.match(report.output, /^red\ufffd2J bell\ufffd \ufffdabc\nnext/);
	t.match(report.output, /bytes left out/);
	t.equal(report.message, "exit code 7, expected 0: boo\ufffd");
	t.equal(plain("a\rb\r\nc\td"), "a\nb\nc\td");
	t.ok(Buffer.byteLength(cut("é".repeat(50_000))) <= 65536);
	t.notMatch(cut("é".repeat(50_000)), /\ufffd/);
});

t.test("a regular expression that takes for ever is ended", async (t) => {
	const context = contextOf(t, { run: async () => ({ code: 0, stdout: `${"a".repeat(60)}!`, stderr: "" }) });
	const report = await judge("script", { shell: "x", expect: "^(a+)+$" }, context);
	t.match(report, { result: "failed", message: /takes more than 1 s/ });
});

t.test("options: what is unknown, missing or contradictory is named", async (t) => {
	const bad: [string, Record<string, unknown>, RegExp][] = [
		["tcp", {}, /port is missing/],
		["tcp", { port: 1, prot: 2 }, /no option "prot"/],
		["tcp", { port: 1, expect: "(" }, /"\(" is not a regular expression/],
		["http", { insecure: true }, /are for https/],
		["http", { path: "x" }, /must begin with/],
		["http", { method: "HEAD", text: "a" }, /has no body/],
		["script", {}, /either shell or program/],
		["script", { shell: "a", program: "b" }, /not both/],
		["command", { shell: "a", args: ["b"] }, /args go with program/],
		["sql", { port: 1 }, /need an engine/],
		["sql", { engine: "sqlserver", query: "select 1" }, /is not known here/],
		["dns", { expect: "a" }, /needs a name/],
		["dns", { name: "a".repeat(70) }, /not a domain name/],
		["tls", { ca: "x" }, /add chain/],
	];
	for (const [kind, options, message] of bad)
		t.throws(() => KINDS.find((one) => one.kind === kind)!.options(options), { message }, `${kind} ${message}`);
});

t.test("roles: every test of theirs is one that there is, and asks for ports that it names", (t) => {
	t.match(ROLES.directory, { first: true, timeoutMs: 30 * 60_000 });
	t.equal(new Set(KINDS.map(({ kind }) => kind)).size, KINDS.length);
	for (const [name, role] of Object.entries(ROLES))
		for (const test of role.tests) {
			const kind = KINDS.find((one) => one.kind === test.kind)!;
			const options = kind.options(test.options ?? {});
			t.ok(kind.title(options).length > 2, `${name}: ${kind.title(options)}`);
			t.ok(kind.ports(options).every(({ port }) => Number.isInteger(port)));
		}
	t.end();
});
