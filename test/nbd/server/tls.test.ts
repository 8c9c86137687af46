/** TLS: with a certificate it is offered, or wanted; a real client's, and one that cheats. */
import { randomBytes } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { connect } from "node:tls";
import t, { type Test } from "tap";
import { must, run } from "../../e2e/workspace.js";
import { certificates } from "./certificates.js";
import { infoRequest, option, RawClient, request, u32 } from "./raw-client.js";
import { type Served, served } from "./served.js";

const [STARTTLS, GO, LIST] = [5, 7, 3];

interface Secured extends Served {
	port: number;
	pki: string;
}

async function secured(t: Test, { required = true, wantClient = false } = {}): Promise<Secured> {
	const it = await served(t, { size: 8 * 1024 * 1024 });
	const pki = join(it.directory, "pki");
	mkdirSync(pki);
	await certificates(pki);
	const read = (name: string) => readFileSync(join(pki, name));
	const tls = {
		cert: read("server-cert.pem"),
		key: read("server-key.pem"),
		ca: read("ca-cert.pem"),
		requestCert: wantClient,
	};
	const port = await it.server.listenTcp("127.0.0.1", 0, { tls, required });
	return { ...it, port, pki };
}

const uri = ({ port, pki }: Secured) => `nbds://localhost:${port}/disk?tls-certificates=${pki}`;

t.test("libnbd and QEMU over TLS", async (t) => {
	const it = await secured(t, { wantClient: true });
	const content = randomBytes(3_000_000);
	it.disk.fill(1_000_000, content);
	const info = await must("nbdinfo", [uri(it)]);
	t.match(info, /protocol: newstyle-fixed with TLS, using structured packets/);
	const out = join(it.directory, "out");
	await must("nbdcopy", [uri(it), out]);
	t.ok(readFileSync(out).equals(it.disk.content), "nbdcopy reads");
	const source = randomBytes(8 * 1024 * 1024);
	writeFileSync(out, source);
	await must("nbdcopy", ["--flush", out, uri(it)]);
	t.ok(it.disk.stable.equals(source), "nbdcopy writes");
	await must("qemu-img", [
		...["compare", "--object", `tls-creds-x509,id=tls,dir=${it.pki},endpoint=client`, "--image-opts"],
		`driver=nbd,host=127.0.0.1,port=${it.port},export=disk,tls-creds=tls`,
		`driver=raw,file.driver=file,file.filename=${out}`,
	]);
});

t.test("a client without a certificate, where one is wanted", async (t) => {
	const it = await secured(t, { wantClient: true });
	const empty = join(it.directory, "empty");
	mkdirSync(empty);
	writeFileSync(join(empty, "ca-cert.pem"), readFileSync(join(it.pki, "ca-cert.pem")));
	const { code } = await run("nbdinfo", [`nbds://localhost:${it.port}/disk?tls-certificates=${empty}`]);
	t.not(code, 0);
	t.equal(it.open(), 0);
	t.match(await must("nbdinfo", [uri(it)]), /with TLS/, "the next one is served");
});

t.test("nothing before TLS, where it is required", async (t) => {
	const it = await secured(t);
	const client = await RawClient.connect(t, it.port);
	await client.greet();
	t.match(await client.option(LIST), [{ type: 0x80000005 }]);
	t.match(await client.option(GO, infoRequest("disk")), [{ type: 0x80000005 }]);
	client.send(option(1, Buffer.from("disk")));
	await client.closed;
	t.equal(client.waiting, 0);
});

t.test("TLS where it is only offered, and what came before it is forgotten", async (t) => {
	const it = await secured(t, { required: false });
	const plain = await (await RawClient.connect(t, it.port)).go("disk");
	t.equal((await plain.ask({ command: 0, length: 512 })).error, 0, "plain works, too");

	const client = await RawClient.connect(t, it.port);
	await client.greet();
	await client.option(8);
	t.match(await client.option(STARTTLS, Buffer.from("x")), [{ type: 0x80000003 }]);
	t.match(await client.option(STARTTLS), [{ type: 1 }]);
	client.socket.removeAllListeners("data");
	const tls = connect({ socket: client.socket, ca: readFileSync(join(it.pki, "ca-cert.pem")), host: "localhost" });
	t.teardown(() => tls.destroy());
	await new Promise((resolve, reject) => tls.once("secureConnect", resolve).once("error", reject));
	let bytes = Buffer.alloc(0);
	tls.on("data", (data: Buffer) => {
		bytes = Buffer.concat([bytes, data]);
	});
	const take = async (length: number): Promise<Buffer> => {
		for (let n = 0; n < 1000 && bytes.length < length; n++) await new Promise((resolve) => setTimeout(resolve, 5));
		const piece = bytes.subarray(0, length);
		bytes = bytes.subarray(length);
		return piece;
	};
	tls.write(option(STARTTLS));
	t.equal((await take(20)).readUInt32BE(12), 0x80000003, "not twice");
	await take(bytes.length);
	tls.write(option(GO, infoRequest("disk")));
	const reply = await take(32);
	t.equal(reply.readUInt16BE(30) & 128, 0, "structured replies were agreed on before TLS: they are off");
	await take(20);
	tls.write(request({ command: 0, length: 4096 }));
	t.equal((await take(16 + 4096)).readUInt32BE(0), 0x67446698);
});

t.test("what is sent behind STARTTLS, before TLS, is not taken for sent in TLS", async (t) => {
	const it = await secured(t);
	const client = await RawClient.connect(t, it.port);
	await client.take(18);
	client.send(u32(3), option(STARTTLS), option(GO, infoRequest("disk")));
	await client.closed;
	t.match(it.logs, [/between STARTTLS and its answer/]);
	t.equal(it.open(), 0);
});
