/** What others get: JUnit XML, and a web server that is told. */
import { createHmac } from "node:crypto";
import { writeFileSync } from "node:fs";
import { createServer, type IncomingHttpHeaders, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { XMLParser, XMLValidator } from "fast-xml-parser";
import t, { type Test } from "tap";
import { junit, postResult, summaryText } from "../../../src/verify/evidence/index.js";
import { run, test, vm } from "./sample.js";

interface Suite {
	name: string;
	tests: string;
	failures: string;
	errors: string;
	skipped: string;
	timestamp: string;
	testcase: Record<string, unknown>[];
}

const suitesOf = (xml: string): { suites: Suite[]; head: Record<string, string> } => {
	t.equal(XMLValidator.validate(xml), true);
	const parser = new XMLParser({
		ignoreAttributes: false,
		attributeNamePrefix: "",
		isArray: (name) => ["testsuite", "testcase"].includes(name),
	});
	const { testsuites } = parser.parse(xml);
	return { suites: testsuites.testsuite, head: testsuites };
};

t.test("JUnit: a suite for each VM, the boot and each test as cases", async (t) => {
	const { suites, head } = suitesOf(
		junit(
			run([
				vm("web1"),
				vm("db1", "failed", "service"),
				vm("old", "failed", "no-boot", { tests: [], summary: "nothing to boot" }),
				vm("far", "failed", "infrastructure", { tests: [], summary: "the host is full" }),
				vm("late", "skipped", null, { tests: [test("TCP port 22", { result: "skipped", message: "interrupted" })] }),
			]),
		),
	);
	t.match(head, { name: "nightly", tests: "10", failures: "2", errors: "1", skipped: "2", time: "70.000" });
	t.strictSame(
		suites.map(({ name, tests, failures, errors, skipped }) => [name, tests, failures, errors, skipped].join(" ")),
		["web1 3 0 0 0", "db1 3 1 0 0", "old 1 1 0 0", "far 1 0 1 0", "late 2 0 0 2"],
	);
	t.match(suites[0], { timestamp: "2026-11-21T01:02:03" });
	t.match(suites[0].testcase[0], { name: "boot", classname: "web1", time: "11.880" });
	t.match(suites[1].testcase[2], {
		name: "the shop answers",
		failure: { message: "connection refused", type: "http" },
	});
	t.match(suites[2].testcase[0], { failure: { type: "no-boot", message: "nothing to boot" } });
	t.match(suites[3].testcase[0], { error: { type: "infrastructure", message: "the host is full" } });
});

t.test("JUnit: what a guest says cannot break the XML", async (t) => {
	const evil = `]]></system-out><x a="1">&\u0000\u001b[31m\ud800\uffff'\n\t`;
	const { suites } = suitesOf(junit(run([vm(evil, "failed", "hang", { console: evil, summary: evil })])));
	t.equal(suites.length, 1);
	t.match(suites[0].name, ']]></system-out><x a="1">&');
});

t.test("the lines of a terminal hold no control characters", async (t) => {
	const text = summaryText(run([vm("web\u001b[2J1"), vm("db1", "failed", "file-system", { summary: "a\nb\u0007" })]));
	t.notMatch(text.replaceAll("\n", ""), /\p{Cc}/u);
	t.match(text, /^Failed: 1 of 2 restore points failed$/m);
	t.match(text, /^FAILED {2}db1 {2}point 9a41c07e of 2026-11-20 22:00:00 UTC$/m);
	t.match(text, /^ {2}File system corrupt: a b.?$/m);
	t.match(text, /^ {2}Passed {3}TCP port 22: the port accepts connections \(420 ms\)$/m);
});

interface Hook {
	url: string;
	requests: { headers: IncomingHttpHeaders; body: string; method?: string }[];
}

const hook = async (t: Test, answer: (response: ServerResponse, n: number) => void): Promise<Hook> => {
	const requests: Hook["requests"] = [];
	const server = createServer((request, response) => {
		let body = "";
		request.setEncoding("utf8").on("data", (text) => {
			body += text;
		});
		request.on("end", () => {
			requests.push({ headers: request.headers, body, method: request.method });
			answer(response, requests.length);
		});
	});
	await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
	t.teardown(() => {
		server.closeAllConnections();
		server.close();
	});
	return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`, requests };
};
const pauses = [20, 20];

t.test("a web server is told, and can tell that it was us", async (t) => {
	const { url, requests } = await hook(t, (response) => response.writeHead(204).end());
	const secretFile = join(t.testdir({}), "secret");
	writeFileSync(secretFile, "hunter2\n");
	const report = run([vm("web1"), vm("db1", "failed", "service")]);
	t.equal(await postResult(url, report, { secretFile, file: "/srv/backup/reports/x.json" }), undefined);
	t.equal(requests.length, 1);
	const [{ headers, body, method }] = requests;
	t.match({ method, ...headers }, { method: "POST", "content-type": "application/json" });
	t.equal(headers["x-springback-signature"], `sha256=${createHmac("sha256", "hunter2").update(body).digest("hex")}`);
	t.match(JSON.parse(body), {
		event: "verification",
		run: report.id,
		result: "failed",
		report: "/srv/backup/reports/x.json",
		summary: "1 of 2 restore points failed",
		vms: [
			{ vm: "web1", result: "passed", failedTests: [] },
			{ vm: "db1", fault: "service", failedTests: [{ name: "the shop answers", message: "connection refused" }] },
		],
	});
	t.notMatch(body, /nginx|Linux version/, "consoles stay here");
	await postResult(url, report);
	t.equal(requests[1].headers["x-springback-signature"], undefined);
});

t.test("what goes wrong with it is a warning, after as many attempts as make sense", async (t) => {
	const report = run();
	const busy = await hook(t, (response, n) => response.writeHead(n < 3 ? 503 : 200).end());
	t.equal(await postResult(busy.url, report, { pauses }), undefined, "the third attempt");
	t.equal(busy.requests.length, 3);
	const down = await hook(t, (response) => response.writeHead(500).end("no"));
	t.match(await postResult(down.url, report, { pauses }), /^webhook http:.* was not told: it answered 500$/);
	t.equal(down.requests.length, 3);
	const moved = await hook(t, (response) => response.writeHead(302, { location: "/other" }).end());
	t.match(await postResult(moved.url, report, { pauses }), /it answered 302$/);
	const refused = await hook(t, (response) => response.writeHead(401).end());
	t.match(await postResult(refused.url, report, { pauses }), /it answered 401$/);
	t.equal(refused.requests.length + moved.requests.length, 2, "the same again would get the same answer");
	const silent = await hook(t, () => {});
	t.match(await postResult(silent.url, report, { pauses, timeoutMs: 60 }), /it did not answer in time$/);
	t.equal(silent.requests.length, 3);
	t.match(await postResult("http://127.0.0.1:1/", report, { pauses }), /was not told: .*(ECONNREFUSED|bad port)/);
	t.match(await postResult(busy.url, report, { secretFile: "/no/such" }), /its secret cannot be read from \/no\/such/);
	const controller = new AbortController();
	setTimeout(() => controller.abort(), 50);
	t.match(await postResult(silent.url, report, { signal: controller.signal }), /was not told: interrupted$/);
});
