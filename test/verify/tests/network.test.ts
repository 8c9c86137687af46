/** Kinds that speak TCP, HTTP and TLS, with servers of Node.js, and with sockets that behave badly. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createServer as createHttp, type RequestListener } from "node:http";
import { createServer as createHttps } from "node:https";
import type { Socket } from "node:net";
import { join } from "node:path";
import t, { type Test } from "tap";
import type { TestReport } from "../../../src/verify/model.js";
import { closedPort, contextOf, judge, listen, serve } from "./context.js";

const web = async (t: Test, answer: RequestListener, keys?: { key: Buffer; cert: Buffer }): Promise<number> => {
	const server = keys === undefined ? createHttp(answer) : createHttps(keys, answer);
	t.teardown(() => {
		server.closeAllConnections();
		server.close();
	});
	return listen(server);
};

/** A certificate of its own, made by openssl. */
const certificate = (t: Test, days: number): { key: Buffer; cert: Buffer } => {
	const folder = t.testdir();
	const [key, cert] = [join(folder, `${days}.key`), join(folder, `${days}.pem`)];
	const args = [
		"req",
		"-x509",
		"-newkey",
		"ec",
		"-pkeyopt",
		"ec_paramgen_curve:prime256v1",
		"-nodes",
		"-subj",
		"/CN=web.example",
	];
	execFileSync(
		"openssl",
		[
			...args,
			"-addext",
			"subjectAltName=DNS:web.example,IP:127.0.0.1",
			"-days",
			`${days}`,
			"-keyout",
			key,
			"-out",
			cert,
		],
		{ stdio: "ignore" },
	);
	return { key: readFileSync(key), cert: readFileSync(cert) };
};

/** One that was valid in 2020; only openssl-ca(1) makes such. */
const expired = (t: Test): { key: Buffer; cert: Buffer } => {
	const folder = t.testdir({
		"ca.conf": `[ca]
default_ca = a
[a]
database = ${t.testdirName}/index
serial = ${t.testdirName}/serial
new_certs_dir = ${t.testdirName}
default_md = sha256
policy = p
[p]
commonName = supplied
`,
		index: "",
		serial: "01\n",
	});
	const openssl = (...args: string[]) => execFileSync("openssl", args, { cwd: folder, stdio: "ignore" });
	openssl("req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=web.example", "-keyout", "key", "-out", "csr");
	const from = ["-startdate", "20200101000000Z", "-enddate", "20200201000000Z"];
	openssl(
		"ca",
		"-batch",
		"-selfsign",
		"-config",
		"ca.conf",
		"-keyfile",
		"key",
		"-in",
		"csr",
		"-out",
		"cert",
		"-notext",
		...from,
	);
	return { key: readFileSync(join(folder, "key")), cert: readFileSync(join(folder, "cert")) };
};

/** Peers that behave badly, whatever is asked of them; and what became of their sockets. */
const badly = async (t: Test, accept: (socket: Socket) => void): Promise<{ port: number; open: () => number }> => {
	const sockets = new Set<Socket>();
	const port = await serve(t, (socket) => {
		sockets.add(socket);
		socket.once("close", () => sockets.delete(socket));
		accept(socket);
	});
	return { port, open: () => sockets.size };
};

const HANGS = (socket: Socket) => void socket.resume();
const RESETS = (socket: Socket) => void socket.once("data", () => socket.resetAndDestroy());
const ENDS = (socket: Socket) => void socket.once("data", () => socket.end());
const FLOODS = (socket: Socket) => {
	const piece = Buffer.alloc(65536, "x");
	const pour = () => {
		while (!socket.destroyed && socket.write(piece));
	};
	socket.on("drain", pour).resume();
	pour();
};
const DRIPS = (socket: Socket) => {
	const timer = setInterval(() => socket.write("x"), 20);
	socket.resume().once("close", () => clearInterval(timer));
};

t.test("tcp: open, closed, what it says", async (t) => {
	const port = await serve(t, (socket) => void socket.write("SSH-2.0-OpenSSH_9.2\r\n"));
	const context = contextOf(t);
	t.match(await judge("tcp", { port }, context), {
		result: "passed",
		message: `port ${port} accepts connections`,
		value: { unit: "ms" },
	});
	t.match(await judge("tcp", { port, expect: "^SSH-2" }, context), {
		result: "passed",
		output: "SSH-2.0-OpenSSH_9.2\n",
	});
	t.match(await judge("tcp", { port, expect: "^220 " }, context, { timeoutMs: 1500 }), {
		result: "failed",
		message: `port ${port} says "SSH-2.0-OpenSSH_9.2", expected /^220 / (within 1.5 s)`,
	});
	const closed = await closedPort();
	t.match(await judge("tcp", { port: closed }, context), {
		message: `port ${closed} refuses connections`,
		fault: "service",
	});
	const echo = await serve(t, (socket) => void socket.pipe(socket));
	t.match(await judge("tcp", { port: echo, send: "ping\r\n", expect: "^ping" }, context), { result: "passed" });
});

t.test("http: status, headers and text", async (t) => {
	const port = await web(t, (request, response) => {
		if (request.url === "/moved") response.writeHead(302, { location: "http://elsewhere.example/" }).end();
		else if (request.url === "/broken") response.writeHead(503).end("no");
		else if (request.url === "/auth")
			response.writeHead(request.headers.authorization === "Basic YTpi" ? 200 : 401).end();
		else response.writeHead(200, { "x-app": "shop 7" }).end(`<h1>It works on ${request.headers.host}</h1>`);
	});
	const ask = (options: Record<string, unknown>) => judge("http", { port, ...options }, contextOf(t));
	t.match(await ask({}), {
		result: "passed",
		message: /^answered 200, \d+ bytes$/,
		output: /^HTTP\/1.1 200 OK\n[\s\S]*x-app: shop 7[\s\S]*works on web</,
	});
	t.match(await ask({ host: "shop.example", text: "on shop.example" }), { result: "passed" });
	t.match(await ask({ text: "nothing like that" }), {
		result: "failed",
		message: 'answered 200, but the answer has no "nothing like that"',
	});
	t.match(await ask({ body: "works on \\w+<" }), { result: "passed" });
	t.match(await ask({ body: "^works$" }), { message: "answered 200, but the answer does not match /^works$/" });
	t.match(await ask({ header: { "X-App": "^shop \\d$" } }), { result: "passed" });
	t.match(await ask({ header: { "x-app": "^till" } }), { message: 'header x-app is "shop 7", expected /^till/' });
	t.match(await ask({ header: { "x-none": "." } }), { message: "answered 200 without a header x-none" });
	t.match(await ask({ path: "/broken", status: 200 }), { message: "answered 503, expected 200", fault: "service" });
	t.match(await ask({ path: "/broken" }), { message: "answered 503, expected 200 to 399" });
	t.match(await ask({ path: "/broken", status: 503 }), { result: "passed" });
	t.match(await ask({ path: "/moved" }), { result: "passed" });
	t.match(await ask({ path: "/moved", status: 200 }), {
		message: 'answered 302 (to "http://elsewhere.example/"), expected 200',
	});
	t.match(await ask({ path: "/auth" }), { result: "failed" });
	t.match(await ask({ path: "/auth", user: "a", password: "b" }), { result: "passed" });
	t.match(await ask({ method: "HEAD" }), { result: "passed", message: "answered 200" });
});

t.test("https and certificates: trust, name, days", async (t) => {
	const keys = certificate(t, 30);
	const port = await web(t, (_request, response) => void response.end("secure"), keys);
	const context = contextOf(t);
	const ca = keys.cert.toString();
	const https = (options: Record<string, unknown>) => judge("http", { port, tls: true, ...options }, context);
	t.match(await https({ host: "web.example" }), {
		result: "failed",
		message: /certificate that is not trusted: self-signed certificate/,
	});
	t.match(await https({ host: "web.example", ca, text: "secure" }), { result: "passed" });
	t.match(await https({ host: "127.0.0.1", ca }), { result: "passed" });
	t.match(await https({ host: "other.example", ca }), { message: /certificate for another name/ });
	t.match(await https({ host: "other.example", insecure: true }), { result: "passed" });
	const tls = (options: Record<string, unknown>) => judge("tls", { port, ...options }, context);
	t.match(await tls({}), {
		result: "passed",
		value: { unit: "days", amount: 29 },
		output: /names: DNS:web.example, IP Address:127.0.0.1/,
	});
	t.match(await tls({ days: 60 }), {
		result: "failed",
		message: "the certificate expires in 29 days, expected at least 60",
	});
	t.match(await tls({ name: "web.example" }), { result: "passed" });
	t.match(await tls({ name: "127.0.0.1" }), { result: "passed" });
	t.match(await tls({ name: "other.example" }), { message: /is not for other.example but for DNS:web.example/ });
	t.match(await tls({ chain: true }), { message: /chain is not trusted: DEPTH_ZERO_SELF_SIGNED_CERT|self-signed/ });
	t.match(await tls({ chain: true, ca }), { result: "passed" });
	const old = await web(t, (_request, response) => void response.end(), expired(t));
	t.match(await judge("tls", { port: old }, context), {
		result: "failed",
		message: "the certificate has expired on 2020-02-01T00:00:00.000Z",
	});
	const plain = await web(t, (_request, response) => void response.end());
	t.match(await judge("http", { port: plain, tls: true }, context), { message: `port ${plain} does not speak TLS` });
	t.match(await judge("tls", { port: plain }, context), { result: "failed", message: /TLS/ });
});

t.test("peers that hang, reset, flood, drip: each kind ends in time and leaves no socket", async (t) => {
	const peers = { HANGS, RESETS, ENDS, FLOODS, DRIPS };
	const kinds: [string, (port: number) => Record<string, unknown>][] = [
		["tcp", (port) => ({ port, send: "x", expect: "never" })],
		["http", (port) => ({ port })],
		["http", (port) => ({ port, tls: true })],
		["tls", (port) => ({ port })],
		["smtp", (port) => ({ port })],
		["ldap", (port) => ({ port })],
		["ldap", (port) => ({ port, tls: true })],
		["smb", (port) => ({ port })],
		["sql", (port) => ({ engine: "postgresql", port })],
		["sql", (port) => ({ engine: "mysql", port })],
		["sql", (port) => ({ engine: "sqlserver", port })],
	];
	for (const [name, peer] of Object.entries(peers)) {
		const { port, open } = await badly(t, peer);
		const reports: TestReport[] = await Promise.all(
			kinds.map(([kind, options]) => judge(kind, options(port), contextOf(t), { timeoutMs: 800 })),
		);
		for (const [i, report] of reports.entries()) {
			const what = `${name} ${kinds[i][0]}: ${report.message}`;
			t.equal(report.result, "failed", what);
			t.equal(report.fault, "service", what);
			t.not(report.message.length, 0, what);
			t.notMatch(report.message, /did not come to an end/, what);
			t.ok(report.tookMs < 4000, what);
		}
		for (let i = 0; i < 100 && open() > 0; i++) await new Promise((resolve) => setTimeout(resolve, 20));
		t.equal(open(), 0, `${name}: no socket is left`);
	}
});

t.test("http: an answer that never ends is judged by its first MiB; one that breaks off is a failure", async (t) => {
	const endless = await web(t, (_request, response) => {
		response.writeHead(200);
		const pour = () => {
			while (!response.destroyed && response.write("x".repeat(65536)));
		};
		response.on("drain", pour);
		pour();
	});
	t.match(await judge("http", { port: endless }, contextOf(t)), { result: "passed", message: /more than \d+ bytes/ });
	const broken = await web(t, (_request, response) => {
		response.writeHead(200, { "content-length": 1000 }).write("half");
		setTimeout(() => response.destroy(), 50);
	});
	t.match(await judge("http", { port: broken }, contextOf(t)), {
		result: "failed",
		message: `port ${broken} breaks off its answer`,
	});
	const headers = await serve(t, (socket) => {
		socket.on("data", () => {});
		socket.write("HTTP/1.1 200 OK\r\n");
		for (let i = 0; i < 2000; i++) socket.write(`x-${i}: ${"y".repeat(100)}\r\n`);
	});
	t.match(await judge("http", { port: headers }, contextOf(t)), { result: "failed", message: /bytes of headers/ });
	const silent = await serve(t, (socket) => {
		socket.on("data", () => socket.write("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nab"));
	});
	t.match(await judge("http", { port: silent }, contextOf(t), { timeoutMs: 1500 }), {
		result: "failed",
		message: `port ${silent} does not come to the end of its answer (within 1.5 s)`,
	});
});
