/** Published disks over NBD: who may use them, where they are, and how they end. */
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import t from "tap";
import { enterNamespace } from "../../scripts/lab/namespace.js";
import { connectNbd } from "../../src/nbd/index.js";
import { certificates } from "../nbd/server/certificates.js";
import { FREE, MIB, prepared, uris } from "./nbd.js";
import { must, run, Workspace } from "./workspace.js";

await enterNamespace(import.meta.url);

/** a user who owns nothing */
const AS_NOBODY = ["--reuid=65534", "--regid=65534", "--clear-groups"];

t.setTimeout(240_000);

t.test("who may use it", async (t) => {
	const work = await prepared(t, 2 * MIB);
	chmodSync(work.directory, 0o755);
	chmodSync(work.state.replace(/state$/, ""), 0o755);
	const published = await work.publish(["vm", "--session", "s", ...FREE, "--nbd-port", "0"]);
	const { unix, tcp } = uris(published);
	chmodSync(work.state, 0o755);
	const nobody = (uri: string) => run("setpriv", [...AS_NOBODY, "nbdinfo", uri]);
	t.match(
		await nobody(tcp),
		{ code: 1, stderr: /No such file or directory for export/ },
		"another user of this machine over TCP",
	);
	t.match(await nobody(tcp.replace("s/disk0", "")), { code: 1 });
	t.match(await nobody(unix), { code: 1, stderr: /Permission denied/ }, "and over the socket");
	t.equal((await run("nbdinfo", [tcp])).code, 0, "the owner");
	t.match(await run("nbdinfo", [tcp.replace("disk0", "disk9")]), {
		code: 1,
		stderr: /No such file or directory for export/,
	});

	const strict = await work.publish(["vm", "--session", "low", "--require-privileged-port", "--read-only", ...FREE]);
	const [low] = strict.ready.nbd[0].uris;
	t.match(
		await run("nbdinfo", [tcp.replace("s/", "low/")]),
		{ code: 1 },
		"from a high port, where a low one is wanted",
	);
	t.match(JSON.parse(await must("nbdinfo", ["--json", low])), { exports: [{ is_read_only: true }] });
	t.match(await run("qemu-io", ["-f", "raw", "-c", "write 0 512", low]), { code: 1 });

	const elsewhere = await work.publish(["vm", "--session", "far", "--client", "192.0.2.7", ...FREE]);
	t.match(await run("nbdinfo", [tcp.replace("s/", "far/")]), { code: 1 }, "an address that is not listed");
	t.equal((await run("nbdinfo", [elsewhere.ready.nbd[0].uris[0]])).code, 0, "the socket is the owner's");
});

t.test("sessions end, with clients", async (t) => {
	const work = await prepared(t, 2 * MIB);
	await work.json(["publish", "vm", "--session", "s", "--detach", ...FREE, "--nbd-port", "0"]);
	const held = await work.json<{ nbd: { uris: string[] }[] }>(["publish", "vm", "--session", "t", "--detach"]);
	const [uri] = held.nbd[0].uris;
	const image = await connectNbd(uri);
	await image.write(0, Buffer.from("x"));
	const refused = await work.cli(["finish", "t", "--keep"]);
	t.match(refused, { code: 1, stderr: /"t" is in use by a connected client/ });
	await image.close();
	let kept = await work.cli(["finish", "t", "--keep"]);
	for (let n = 0; n < 50 && kept.code !== 0; n++) kept = await work.cli(["finish", "t", "--keep"]);
	t.equal(kept.code, 0, kept.stderr);
	t.match(await run("nbdinfo", [uri]), { code: 1, stderr: /No such file or directory for export/ });

	const published = await work.publish(["vm", "--session", "u"]);
	const late = await connectNbd(published.ready.nbd[0].uris[0]);
	await late.write(0, Buffer.from("y"));
	t.equal(await work.stop(published), 0, "the foreground's end does not ask");
	await t.rejects(late.read(0, Buffer.alloc(512)), /connection/);
	await late.close();
	await work.cli(["finish", "s", "--keep"]);
});

t.test("TLS over TCP", async (t) => {
	const work = await prepared(t, 2 * MIB);
	const pki = work.path("pki");
	mkdirSync(pki);
	await certificates(pki);
	const published = await work.publish(["vm", "--session", "s", ...FREE, "--nbd-port", "0", "--nbd-tls", pki]);
	const { unix, tcp } = uris(published);
	t.match(tcp, /^nbds:/);
	const withCertificates = `${tcp}?tls-certificates=${pki}`;
	t.match(await must("nbdinfo", [withCertificates]), /with TLS/);
	t.match(await run("nbdinfo", [tcp.replace("nbds:", "nbd:")]), { code: 1 }, "nothing without");
	t.match(await must("nbdinfo", [unix]), /without TLS/, "the socket needs none");
	await work.killMountd("s");
	const out = work.path("out.raw");
	await must("nbdcopy", [withCertificates, out]);
	t.ok(readFileSync(out).equals(readFileSync(work.path("source.raw"))), "a restart has the certificate again");
});

t.test("where it listens", async (t) => {
	const work = await prepared(t, 2 * MIB);
	const socket = work.path("my disks.sock");
	writeFileSync(socket, "not a socket");
	const args = ["publish", "vm", "--session", "s", "--detach", ...FREE];
	t.match(await work.cli([...args, "--nbd-socket", socket]), {
		code: 1,
		stderr: /something else is there; choose another path/,
	});
	t.equal(readFileSync(socket, "utf8"), "not a socket", "it is left alone");
	t.match(await work.cli([...args, "--nbd-socket", `/${"a".repeat(120)}`]), {
		code: 2,
		stderr: /longer than 107 bytes/,
	});
	t.match(await work.cli([...args, "--nbd-tls", work.directory]), { code: 2, stderr: /wants --nbd-port/ });
	const tls = ["--nbd-tls", work.directory, "--nbd-port", "0"];
	t.match(await work.cli([...args, ...tls]), { code: 2, stderr: /server-cert.pem cannot be read \(ENOENT\)/ });

	const mine = `${socket}2`;
	const ready = await work.json<{ nbd: { uris: string[] }[] }>([...args, "--nbd-socket", mine, "--nbd-port", "10809"]);
	t.same(ready.nbd[0].uris, [`nbd+unix:///s/disk0?socket=${encodeURI(mine)}`, "nbd://127.0.0.1:10809/s/disk0"]);
	for (const uri of ready.nbd[0].uris) t.equal((await run("nbdinfo", [uri])).code, 0, uri);
	t.match(await work.cli(["publish", "vm", "--detach", "--nbd-port", "10810"]), {
		code: 2,
		stderr: /listens on 10809/,
	});
	const late = await work.cli(["publish", "vm", "--detach", "--nbd-port", "10809", "--nbd-tls", work.directory]);
	t.match(late, { code: 2, stderr: /--nbd-tls .* has none/ }, "what runs without TLS is not taken for TLS");
	const other = new Workspace();
	t.teardown(() => other.close());
	const busy = await other.cli(["publish", "vm", "--repo", work.repository, ...FREE, "--nbd-port", "10809"]);
	t.match(busy, { code: 1, stderr: /port 10809 on 127\.0\.0\.1 \(NBD\) is in use by / });
	await work.killMountd("s");
	for (const uri of ready.nbd[0].uris) t.equal((await run("nbdinfo", [uri])).code, 0, "a restart listens there again");
});
