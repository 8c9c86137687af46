/**
 * Protocols of services. PostgreSQL, MariaDB and dnsmasq are the real ones where they are installed; the others are peers
 * written from the specification, byte by byte: SQL Server ([MS-TDS] 2.2.6.5), SMB ([MS-SMB2] 2.2.4), LDAP (RFC 4511),
 * SMTP (RFC 5321), MySQL's error packet.
 */
import { execFileSync, spawn } from "node:child_process";
import { createSocket } from "node:dgram";
import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { answerTo, question } from "../../../src/verify/tests/dns-message.js";
import { closedPort, contextOf, judge, serve } from "./context.js";

const POSTGRES_VERSIONS = "/usr/lib/postgresql";
const POSTGRES = existsSync(POSTGRES_VERSIONS) ? join(POSTGRES_VERSIONS, readdirSync(POSTGRES_VERSIONS)[0], "bin") : "";
const MARIADB = "/usr/sbin/mariadbd";
/** nobody, of every Debian */
const NOBODY = 65534;

/** A folder that a service which refuses to be root may use, and what it takes to run as nobody. */
const asNobody = (t: Test) => {
	const folder = mkdtempSync("/tmp/sb-db-");
	t.teardown(() => rmSync(folder, { recursive: true, force: true }));
	if (process.getuid?.() !== 0) return { folder, user: {} };
	chownSync(folder, NOBODY, NOBODY);
	chmodSync(folder, 0o700);
	return { folder, user: { uid: NOBODY, gid: NOBODY } };
};

const service = (t: Test, program: string, args: string[], options: object) => {
	const child = spawn(program, args, { stdio: "ignore", ...options });
	const ended = new Promise((resolve) => child.once("close", resolve));
	t.teardown(async () => {
		child.kill("SIGKILL");
		await ended;
	});
	return child;
};

t.test("PostgreSQL", { skip: POSTGRES !== "" ? false : "PostgreSQL is not installed" }, async (t) => {
	const { folder, user } = asNobody(t);
	const data = join(folder, "data");
	execFileSync(
		`${POSTGRES}/initdb`,
		["-D", data, "-A", "scram-sha-256", "-U", "postgres", "--no-sync", "--pwfile=/etc/hostname"],
		{ ...user, stdio: "ignore" },
	);
	const port = await closedPort();
	const context = contextOf(t);
	const ask = () => judge("sql", { engine: "postgresql", port }, context, { retries: 100, retryMs: 100 });
	t.match(await judge("sql", { engine: "postgresql", port }, context), { message: `port ${port} refuses connections` });
	service(t, `${POSTGRES}/postgres`, ["-D", data, "-p", `${port}`, "-k", folder, "-h", "127.0.0.1", "-F"], user);
	t.match(await ask(), { result: "passed", message: /^PostgreSQL accepts connections \(asks for SCRAM\)/ });
});

t.test("PostgreSQL that lets everybody in tells its version; one that recovers is not ready", async (t) => {
	const message = (type: string, body: Buffer) => {
		const head = Buffer.alloc(5);
		head.write(type, 0, "latin1");
		head.writeUInt32BE(4 + body.length, 1);
		return Buffer.concat([head, body]);
	};
	let answer = Buffer.alloc(0);
	const port = await serve(t, (socket) => void socket.on("data", () => socket.write(answer)));
	const ask = () => judge("sql", { engine: "postgresql", port }, contextOf(t), { timeoutMs: 5000 });
	answer = Buffer.concat([
		message("R", Buffer.alloc(4)),
		message("S", Buffer.from("server_version\x0016.4\0")),
		message("Z", Buffer.from("I")),
	]);
	t.match(await ask(), { result: "passed", message: "PostgreSQL 16.4 accepts connections" });
	answer = message("E", Buffer.from("SFATAL\0C57P03\0Mthe database system is starting up\0\0"));
	t.match(await ask(), { result: "failed", message: "PostgreSQL refuses: the database system is starting up (57P03)" });
	answer = message("E", Buffer.from("SFATAL\0C28000\0Mno pg_hba.conf entry\0\0"));
	t.match(await ask(), { result: "passed" });
	answer = message("E", Buffer.from("SFATAL\0C53300\0Mtoo many clients\0\0"));
	t.match(await ask(), { result: "failed" });
	answer = Buffer.from("HTTP/1.1 400 Bad Request\r\n\r\n");
	t.match(await ask(), { result: "failed", message: /does not speak/ });
});

t.test("MariaDB", { skip: existsSync(MARIADB) ? false : "MariaDB is not installed" }, async (t) => {
	const { folder, user } = asNobody(t);
	const data = join(folder, "data");
	mkdirSync(data);
	if (process.getuid?.() === 0) chownSync(data, NOBODY, NOBODY);
	const port = await closedPort();
	const args = [
		"--no-defaults",
		`--datadir=${data}`,
		`--socket=${folder}/s`,
		`--port=${port}`,
		"--bind-address=127.0.0.1",
		"--skip-grant-tables",
		"--skip-networking=0",
		"--innodb-log-file-size=4M",
	];
	service(t, MARIADB, args, user);
	const report = await judge("sql", { engine: "mysql", port }, contextOf(t), { retries: 100, retryMs: 100 });
	t.match(report, { result: "passed", message: /^MariaDB 1\d\.\d+\.\d+\S* accepts connections/ });
});

t.test("MySQL: the greeting, and refusals", async (t) => {
	const packet = (body: Buffer) => Buffer.concat([Buffer.from([body.length & 255, body.length >> 8, 0, 0]), body]);
	let greeting = Buffer.alloc(0);
	const port = await serve(t, (socket) => void socket.write(greeting));
	const ask = () => judge("sql", { engine: "mysql", port }, contextOf(t), { timeoutMs: 5000 });
	greeting = packet(Buffer.concat([Buffer.from("\x0a8.0.36\0", "latin1"), Buffer.alloc(60, 1)]));
	t.match(await ask(), { result: "passed", message: "MySQL 8.0.36 accepts connections" });
	const error = (code: number, text: string) =>
		packet(Buffer.concat([Buffer.from([0xff, code & 255, code >> 8]), Buffer.from(text)]));
	greeting = error(1040, "#08004Too many connections");
	t.match(await ask(), { result: "failed", message: "MySQL or MariaDB refuses: Too many connections (error 1040)" });
	greeting = error(1130, "Host 'tester' is not allowed to connect");
	t.match(await ask(), { result: "passed", message: /not from here/ });
	greeting = Buffer.from("SSH-2.0-OpenSSH\r\n");
	t.match(await ask(), { result: "failed", message: /does not speak MySQL/ });
});

t.test("SQL Server: pre-login", async (t) => {
	const asked: Buffer[] = [];
	const port = await serve(t, (socket) => {
		socket.on("data", (data) => {
			asked.push(data);
			const body = Buffer.from("00000b0006010011000" + "1ff" + "100010d70000" + "00", "hex");
			socket.write(Buffer.concat([Buffer.from([4, 1, 0, 8 + body.length, 0, 0, 1, 0]), body]));
		});
	});
	const report = await judge("sql", { engine: "sqlserver", port }, contextOf(t), { timeoutMs: 5000 });
	t.match(report, { result: "passed", message: "SQL Server 16.0.4311 accepts connections" });
	t.equal(asked[0].toString("hex"), "1201001a00000100" + "00000b000601001100" + "01ff" + "000000000000" + "02");
});

t.test("sql: any engine that answers on its own port will do; a query goes through the agent", async (t) => {
	const mysql = await serve(t, (socket) => void socket.write("\x11\0\0\0\x0a10.11.1-MariaDB\0"));
	const hanging = await serve(t, (socket) => void socket.resume());
	const closed = await closedPort();
	const ports: Record<number, number> = { 5432: hanging, 3306: mysql, 1433: closed };
	const endpoint = async ({ port }: { port: number }) => ({ host: "127.0.0.1", port: ports[port] });
	t.match(await judge("sql", {}, contextOf(t, { endpoint })), {
		result: "passed",
		message: "MariaDB 10.11.1-MariaDB accepts connections",
	});
	ports[3306] = closed;
	t.match(await judge("sql", {}, contextOf(t, { endpoint }), { timeoutMs: 1000 }), {
		result: "failed",
		message: /^no database server answers/,
		output: /postgresql: port 5432 does not answer[\s\S]*mysql: port 3306 refuses connections/,
	});
	const ran: string[][] = [];
	const run = async (program: string, args: string[]) => {
		ran.push([program, ...args]);
		return { code: 0, stdout: "42\n", stderr: "" };
	};
	const endpointOfMysql = async () => ({ host: "127.0.0.1", port: mysql });
	const options = { engine: "mysql", query: "select count(*) from orders", database: "shop" };
	const context = contextOf(t, { run, endpoint: endpointOfMysql });
	t.match(await judge("sql", { ...options, expect: "^42$" }, context), {
		result: "passed",
		message: /the query answers "42"/,
	});
	t.match(await judge("sql", { ...options, expect: "^43$" }, context), {
		result: "failed",
		message: 'the query answers "42", expected /^43$/',
	});
	t.same(ran[0], ["mysql", "--batch", "--skip-column-names", "--database=shop", "-e", "select count(*) from orders"]);
});

t.test("DNS: dnsmasq", { skip: existsSync("/usr/sbin/dnsmasq") ? false : "dnsmasq is not installed" }, async (t) => {
	const port = await closedPort();
	const context = contextOf(t);
	const records = [
		"--address=/shop.example/10.1.2.3",
		"--mx-host=shop.example,mail.example,5",
		"--txt-record=t.example,v=spf1 -all",
		"--address=/six.example/fd00::7",
		"--srv-host=_ldap._tcp.example,dc.example,389",
	];
	service(
		t,
		"/usr/sbin/dnsmasq",
		[
			"-k",
			"-C",
			"/dev/null",
			"-p",
			`${port}`,
			"-a",
			"127.0.0.1",
			"-z",
			"-R",
			"-h",
			"-u",
			"",
			"--pid-file=",
			...records,
		],
		{},
	);
	const ask = (options: Record<string, unknown>) =>
		judge("dns", { port, ...options }, context, { timeoutMs: 2000, retries: 3, retryMs: 200 });
	t.match(await ask({}), { result: "passed" });
	t.match(await ask({ name: "shop.example" }), { result: "passed", message: 'answered "shop.example A 10.1.2.3"' });
	t.match(await ask({ name: "shop.example", type: "MX", expect: "MX 5 mail\\.example$" }), { result: "passed" });
	t.match(await ask({ name: "t.example", type: "TXT", expect: "v=spf1 -all$" }), { result: "passed" });
	t.match(await ask({ name: "six.example", type: "AAAA", expect: "AAAA fd00::7$" }), { result: "passed" });
	t.match(await ask({ name: "_ldap._tcp.example", type: "SRV", expect: "389 dc\\.example$" }), { result: "passed" });
	const once = (options: Record<string, unknown>) => judge("dns", { port, ...options }, context);
	t.match(await once({ name: "shop.example", expect: "10\\.9" }), {
		result: "failed",
		message: 'answered "shop.example A 10.1.2.3", expected /10\\.9/',
	});
	t.match(await once({ name: "none.test" }), { result: "failed", message: "answered REFUSED, expected NOERROR" });
	t.match(await once({ name: "none.test", code: "REFUSED" }), { result: "passed" });
});

t.test("DNS: silence, a closed port, answers that are none", async (t) => {
	const context = contextOf(t);
	const closed = await closedPort();
	t.match(await judge("dns", { port: closed }, context), { result: "failed", message: `UDP port ${closed} is closed` });
	const socket = createSocket("udp4");
	t.teardown(() => socket.close());
	let answers: (asked: Buffer) => Buffer[] = () => [];
	socket.on("message", (data, from) => {
		for (const answer of answers(data)) socket.send(answer, from.port, from.address);
	});
	const port = await new Promise<number>((resolve) =>
		socket.bind(0, "127.0.0.1", () => resolve(socket.address().port)),
	);
	const ask = () => judge("dns", { port, name: "a.example" }, context, { timeoutMs: 1000 });
	t.match(await ask(), { message: `UDP port ${port} does not answer (within 1 s)` });
	// Another id; the question sent back; cut off; a name that points at itself; a pointer beyond the end; too many records.
	const answer = (asked: Buffer, id: number, count: number, tail: string) => {
		const head = Buffer.from(asked);
		head.writeUInt16BE(asked.readUInt16BE(0) ^ id, 0);
		head.writeUInt16BE(0x8180, 2);
		head.writeUInt16BE(count, 6);
		return Buffer.concat([head, Buffer.from(tail, "hex")]);
	};
	const good = "c00c000100010000003c00040a000001";
	answers = (asked) => [
		answer(asked, 1, 1, good),
		asked,
		Buffer.alloc(3),
		answer(asked, 0, 1, "c01b"),
		answer(asked, 0, 1, "ffff"),
	];
	t.match(await ask(), { result: "failed", message: /does not answer/ });
	answers = (asked) => [answer(asked, 1, 1, good), answer(asked, 0, 1, good)];
	t.match(await ask(), { result: "passed", message: 'answered "a.example A 10.0.0.1"' });
	const asked = question(7, "a.example", "A");
	for (let i = 0; i < 3000; i++) {
		const noise = answer(asked, 0, 3, good);
		for (let n = 0; n < 4; n++) noise[12 + ((i * 31 + n * 7) % (noise.length - 12))] = (i * 17 + n * 101) & 255;
		answerTo(asked, noise);
	}
});

t.test("SMTP: greeting and EHLO", async (t) => {
	let [greeting, hello] = [
		"220-mail.example ESMTP\r\n220 ready\r\n",
		"250-mail.example\r\n250-STARTTLS\r\n250 SIZE 1\r\n",
	];
	const said: string[] = [];
	const port = await serve(t, (socket) => {
		socket.write(greeting);
		socket.on("data", (data) => {
			said.push(data.toString());
			if (data.toString().startsWith("EHLO")) socket.write(hello);
		});
	});
	const ask = (options = {}) => judge("smtp", { port, ...options }, contextOf(t), { timeoutMs: 5000 });
	t.match(await ask({ starttls: true }), {
		result: "passed",
		message: 'greets with "220-mail.example ESMTP"',
		output: /250-STARTTLS/,
	});
	t.equal(said[0], "EHLO springback.invalid\r\n");
	hello = "250 mail.example\r\n";
	t.match(await ask({ starttls: true }), { result: "failed", message: "does not offer STARTTLS" });
	hello = "502 no\r\n";
	t.match(await ask(), { result: "failed", message: 'answers EHLO with "502 no", expected 250' });
	greeting = "554 go away\r\n";
	t.match(await ask(), { result: "failed", message: `port ${port} greets with "554 go away", expected 220` });
	greeting = "SSH-2.0-x\r\n";
	t.match(await ask(), { result: "failed", message: /greets with "SSH-2.0-x"/ });
});

t.test("SMB: negotiation", async (t) => {
	let [status, dialect] = [0, 0x0302];
	const port = await serve(t, (socket) => {
		socket.on("data", (asked) => {
			t.equal(asked.readUInt32BE(0), asked.length - 4);
			t.equal(asked.toString("latin1", 4, 8), "\xfeSMB");
			const answer = Buffer.alloc(4 + 64 + 64);
			answer.writeUInt32BE(128, 0);
			asked.copy(answer, 4, 4, 68);
			answer.writeUInt32LE(status, 12);
			answer.writeUInt16LE(65, 68);
			answer.writeUInt16LE(3, 70);
			answer.writeUInt16LE(dialect, 72);
			socket.write(answer);
		});
	});
	const ask = () => judge("smb", { port }, contextOf(t), { timeoutMs: 5000 });
	t.match(await ask(), { result: "passed", message: "speaks SMB 3.0.2, signing required" });
	dialect = 0x0999;
	t.match(await ask(), { result: "failed", message: /was not offered/ });
	status = 0xc00000bb;
	t.match(await ask(), { result: "failed", message: "refuses to negotiate: status 0xc00000bb" });
});

t.test("LDAP: the root entry", async (t) => {
	const tlv = (tag: number, ...parts: (Buffer | string)[]): Buffer => {
		const body = Buffer.concat(parts.map((part) => Buffer.from(part as string)));
		return Buffer.concat([Buffer.from([tag, 0x81, body.length]), body]);
	};
	const attribute = (name: string, value: string) => tlv(0x30, tlv(4, name), tlv(0x31, tlv(4, value)));
	const message = (...operation: Buffer[]) => tlv(0x30, tlv(2, "\x01"), ...operation);
	let answer: Buffer[] = [];
	const port = await serve(
		t,
		(socket) =>
			void socket.once("data", () => {
				for (const piece of answer) socket.write(piece);
			}),
	);
	const ask = (options = {}) => judge("ldap", { port, ...options }, contextOf(t), { timeoutMs: 5000 });
	const entry = message(
		tlv(
			0x64,
			tlv(4, ""),
			tlv(0x30, attribute("defaultNamingContext", "DC=corp,DC=example"), attribute("dnsHostName", "dc1.corp.example")),
		),
	);
	const done = (code: string) => message(tlv(0x65, tlv(10, code), tlv(4, ""), tlv(4, code === "\0" ? "" : "why not")));
	answer = [entry.subarray(0, 20), entry.subarray(20), done("\0")];
	t.match(await ask(), {
		result: "passed",
		message: "answers, defaultNamingContext: DC=corp,DC=example",
		output: /dnsHostName: dc1.corp.example/,
	});
	t.match(await ask({ expect: "DC=other" }), { result: "failed", message: "the root entry does not match /DC=other/" });
	answer = [done("\x33")];
	t.match(await ask(), { result: "failed", message: "answers the search with result 51: why not" });
	answer = [done("\0")];
	t.match(await ask(), { result: "failed", message: "answers, but shows no root entry" });
	answer = [Buffer.from("HTTP/1.1 400 Bad Request\r\n\r\n".padEnd(200))];
	t.match(await ask(), { result: "failed", message: /LDAP/ });
});
