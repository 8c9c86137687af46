/** Published disks over NBD, with the tools that people use: libnbd's, QEMU's, fio; beside NFS, and through kill -9. */
import { chmodSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import t, { type Test } from "tap";
import { enterNamespace } from "../../scripts/lab/namespace.js";
import { connectNbd } from "../../src/nbd/index.js";
import { certificates } from "../nbd/server/certificates.js";
import { NfsClient } from "../nfs/nfs-client.js";
import { bytesOf, random, writeDisk } from "./content.js";
import { must, type Published, run, Workspace } from "./workspace.js";

await enterNamespace(import.meta.url);

const MIB = 2 ** 20;
const SIZE = 24 * MIB;
const FREE = ["--nfs-port", "0", "--mount-port", "0", "--no-portmap"];
/** a user who owns nothing */
const AS_NOBODY = ["--reuid=65534", "--regid=65534", "--clear-groups"];

t.setTimeout(240_000);

async function prepared(t: Test, size = SIZE): Promise<Workspace> {
	const work = new Workspace();
	t.teardown(() => work.close());
	await work.init();
	writeDisk(work.path("source.raw"), 5, size);
	await work.backup("vm", work.path("source.raw"));
	return work;
}

/** URIs of the first disk. */
function uris({ ready }: Published): { unix: string; tcp: string } {
	const [{ disk, uris }] = ready.nbd;
	if (disk !== "disk0") throw new Error(`the disk is called ${disk}`);
	return { unix: uris[0], tcp: uris[1] };
}

const view = (uri: string, name: string): string => uri.replace("disk0", `disk0@${name}`);

/** [offset, length, flags] of a context, from nbdinfo */
async function map(uri: string, context = "base:allocation"): Promise<[number, number, number][]> {
	const json = JSON.parse(await must("nbdinfo", ["--json", `--map=${context}`, uri]));
	return json.map(({ offset, length, type }: Record<string, number>) => [offset, length, type]);
}

t.test("nbdinfo, nbdcopy and qemu-img", async (t) => {
	const work = await prepared(t);
	const source = work.path("source.raw");
	const published = await work.publish(["vm", "--session", "s", ...FREE, "--nbd-port", "0"]);
	const { unix, tcp } = uris(published);
	t.match(unix, /^nbd\+unix:\/\/\/s\/disk0\?socket=.*\/state\/mountd-127\.0\.0\.1\.nbd$/);
	t.match(tcp, /^nbd:\/\/127\.0\.0\.1:\d+\/s\/disk0$/);
	for (const uri of [unix, tcp]) {
		t.match(JSON.parse(await must("nbdinfo", ["--json", uri])), {
			structured: true,
			exports: [
				{
					"export-name": "s/disk0",
					"export-size": SIZE,
					...{ is_read_only: false, can_flush: true, can_fua: true, can_trim: true, can_zero: true },
					...{ can_fast_zero: true, can_cache: true, can_df: true, can_multi_conn: true },
					...{ block_size_minimum: 1, block_size_maximum: 32 * MIB },
					contexts: ["base:allocation", "springback:changed", "qemu:dirty-bitmap:changed"],
				},
			],
		});
		const out = work.path("out.raw");
		await must("nbdcopy", [uri, out]);
		t.ok(readFileSync(out).equals(readFileSync(source)), "nbdcopy");
		await must("qemu-img", ["compare", "-f", "raw", "-F", "raw", uri, source]);
	}
	const list = JSON.parse(await must("nbdinfo", ["--json", "--list", tcp.replace("s/disk0", "")]));
	t.same(
		list.exports.map((one: Record<string, string>) => one["export-name"]),
		["s/disk0"],
	);
	t.ok(
		(await map(unix)).some(([, , type]) => (type & 2) !== 0),
		"what the point has no data for is known to be zeros",
	);
	t.same(await map(unix, "springback:changed"), [[0, SIZE, 0]], "nothing has changed yet");

	const other = work.path("other.raw");
	writeDisk(other, 99, SIZE);
	await must("nbdcopy", ["--flush", other, tcp]);
	await must("qemu-img", ["compare", "-f", "raw", "-F", "raw", unix, other]);
	await must("qemu-img", ["convert", "-n", "-f", "raw", "-O", "raw", source, unix]);
	await must("qemu-img", ["compare", "-f", "raw", "-F", "raw", tcp, source]);
	const fixed = JSON.parse(await must("nbdinfo", ["--json", view(tcp, "point")]));
	t.equal(fixed.exports[0].is_read_only, true, "the restore point itself is there, too");
	await must("qemu-img", ["compare", "-f", "raw", "-F", "raw", view(tcp, "point"), source]);
	t.equal(await work.stop(published), 0);
	const socket = () => statSync(work.path("state", "mountd-127.0.0.1.nbd"), { throwIfNoEntry: false });
	for (let n = 0; n < 100 && socket(); n++) await sleep(50);
	t.notOk(socket(), "the socket goes with the mount process");
});

t.test("fio writes and verifies", async (t) => {
	const work = await prepared(t);
	const { unix, tcp } = uris(await work.publish(["vm", "--session", "s", ...FREE, "--nbd-port", "0"]));
	for (const [uri, how] of [
		[unix, ["--rw=randwrite", "--bsrange=512-128k", "--iodepth=32"]],
		[tcp, ["--rw=randrw", "--bs=4k", "--iodepth=16", "--fsync=50"]],
		[tcp, ["--rw=randtrim", "--bs=64k", "--iodepth=4", "--verify=0"]],
	] as const) {
		const args = ["--name=job", "--ioengine=nbd", `--uri=${uri}`, "--size=16m", "--verify=crc32c", "--verify_fatal=1"];
		const output = await must("fio", [...args, "--output-format=json", ...how]);
		const [job] = JSON.parse(output.slice(output.indexOf("{"))).jobs;
		t.equal(job.error, 0, how.join(" "));
		t.ok(job.write.total_ios + job.trim.total_ios > 50);
	}
	t.equal(work.log().includes("internal error"), false);
});

t.test("NBD and NFS see one disk", async (t) => {
	const work = await prepared(t);
	const { ready } = await work.publish(["vm", "--session", "s", ...FREE]);
	const image = await connectNbd(ready.nbd[0].uris[0]);
	const mount = await NfsClient.connect(ready.mountPort);
	const nfs = await NfsClient.connect(ready.nfsPort);
	t.teardown(() => {
		mount.close();
		nfs.close();
		return image.close();
	});
	const { handle } = await nfs.lookup(await mount.root("/springback/s"), "disk0-flat.vmdk");
	const data = bytesOf(3, 10_000);
	await image.write(5 * MIB + 1, data);
	t.ok((await nfs.read(handle, 5 * MIB + 1, 10_000)).data.equals(data), "NFS reads what NBD wrote");
	const more = bytesOf(4, 10_000);
	t.equal((await nfs.write(handle, 7 * MIB, more)).status, 0);
	const target = Buffer.alloc(10_000);
	await image.read(7 * MIB, target);
	t.ok(target.equals(more), "NBD reads what NFS wrote");
	await image.writeZeroes(5 * MIB, MIB);
	t.ok(
		(await nfs.read(handle, 5 * MIB + 1, 10_000)).data.every((byte) => byte === 0),
		"zeros, too",
	);
});

t.test("kill -9: what was answered is there, and QEMU goes on", async (t) => {
	const work = await prepared(t);
	const published = await work.publish(["vm", "--session", "s", ...FREE, "--nbd-port", "0"]);
	const { unix, tcp } = uris(published);
	const port = new URL(tcp).port;
	const shadow = readFileSync(work.path("source.raw"));
	const next = random(77);
	for (let round = 0; round < 3; round++) {
		const uri = round % 2 === 0 ? unix : tcp;
		const image = await connectNbd(uri);
		let killed = false;
		const writer = async (lane: number): Promise<void> => {
			const base = lane * 3 * MIB;
			for (let n = 0; !killed; n++) {
				const length = 1 + Math.floor(next() * 60_000);
				const at = base + Math.floor(next() * (3 * MIB - length));
				const data = bytesOf(round * 1e6 + lane * 1e4 + n, length);
				// What is in flight at the kill may be there or not: both ends of it are not looked at.
				try {
					await image.write(at, data);
					data.copy(shadow, at);
					if (n % 5 === 0) await image.flush();
				} catch {
					unsure.push([at, length]);
					return;
				}
			}
		};
		const unsure: [number, number][] = [];
		const writers = Promise.all([0, 1, 2, 3, 4, 5, 6].map(writer));
		await sleep(300 + 300 * next());
		const dying = work.killMountd("s");
		await sleep(20);
		killed = true;
		await writers;
		await image.close();
		await dying;
		const again = await connectNbd(uri);
		const found = Buffer.alloc(SIZE);
		await again.read(0, found);
		for (const [at, length] of unsure) shadow.copy(found, at, at, at + length);
		t.ok(
			found.equals(shadow),
			`round ${round}, ${uri === unix ? "Unix socket" : "TCP"}: all that was answered is there`,
		);
		// So that both agree again.
		for (const [at, length] of unsure) await again.write(at, shadow.subarray(at, at + length));
		await again.close();
	}

	const options = `driver=nbd,server.type=inet,server.host=127.0.0.1,server.port=${port},export=s/disk0,reconnect-delay=60`;
	const qemu = run("qemu-io", [
		...[
			"-c",
			"write -P 17 1M 2M",
			"-c",
			"sleep 3000",
			"-c",
			"read -P 17 1M 2M",
			"-c",
			"write -P 18 4M 64k",
			"-c",
			"flush",
		],
		...["-c", "read -P 18 4M 64k", "--image-opts", options],
	]);
	await sleep(1000);
	await work.killMountd("s");
	const { code, stdout, stderr } = await qemu;
	t.equal(code, 0, `QEMU connects again: ${stdout}${stderr}`);
	t.notMatch(stdout, /fail|error/i);

	const load = ["-w", "-c", "40000", "-d", "16", "-s", "4096", "--pattern=51", "--flush-interval=500"];
	const busy = run("qemu-img", ["bench", ...load, "--image-opts", options]);
	for (let n = 0; n < 2; n++) {
		await sleep(400);
		await work.killMountd("s");
	}
	const bench = await busy;
	t.equal(bench.code, 0, `with writes in flight, too: ${bench.stderr}`);
	const checked = await must("qemu-io", ["-c", `read -P 51 0 ${SIZE}`, "--image-opts", options]);
	t.notMatch(checked, /verification failed/, "all of them are there");
});

t.test("what a session changed, since its restore point and since a frozen view", async (t) => {
	const work = await prepared(t);
	const published = await work.publish(["vm", "--session", "s", ...FREE, "--nbd-port", "0"]);
	const { unix, tcp } = uris(published);
	const write = (...commands: string[]) =>
		must("qemu-io", ["-f", "raw", ...commands.flatMap((command) => ["-c", command]), unix]);
	await write("write -P 1 1M 64k", "write -z 3M 1M", "discard 10M 1M");
	const first: [number, number, number][] = [
		[0, MIB, 0],
		[MIB, 65536, 1],
		[MIB + 65536, 2 * MIB - 65536, 0],
		[3 * MIB, MIB, 1],
		[4 * MIB, 6 * MIB, 0],
		[10 * MIB, MIB, 1],
		[11 * MIB, SIZE - 11 * MIB, 0],
	];
	t.same(await map(unix, "springback:changed"), first);
	t.same(await map(unix, "qemu:dirty-bitmap:changed"), first, "by the name that QEMU's tools can ask for");

	const frozen = await connectNbd(view(unix, "monday"));
	t.teardown(() => frozen.close());
	const info = JSON.parse(await must("nbdinfo", ["--json", view(tcp, "monday")]));
	const [, epoch] = /frozen at epoch (\d+)/.exec(info.exports[0].description) ?? [];
	t.equal(info.exports[0].is_read_only, true);
	await write("write -P 2 1M 32k", "write -P 2 20M 1M");
	const found = Buffer.alloc(65536);
	await frozen.read(MIB, found);
	t.ok(found.equals(Buffer.alloc(65536, 1)), "a frozen view stays as it was");
	t.same(await map(view(unix, "monday"), "springback:changed"), first, "for all who use it");
	const since = await map(view(unix, "tuesday"), `springback:changed:${epoch}`);
	const second: [number, number, number][] = [
		[0, MIB, 0],
		[MIB, 32768, 1],
		[MIB + 32768, 19 * MIB - 32768, 0],
		[20 * MIB, MIB, 1],
		[21 * MIB, 3 * MIB, 0],
	];
	t.same(since, second);
	const bitmap = `driver=nbd,server.type=inet,server.host=127.0.0.1,server.port=${new URL(tcp).port},export=s/disk0@tuesday`;
	const qemu = JSON.parse(
		await must("qemu-img", [
			...["map", "--output=json", "--image-opts"],
			`${bitmap},x-dirty-bitmap=qemu:dirty-bitmap:changed-${epoch}`,
		]),
	);
	const dirty = qemu.filter(({ data }: { data: boolean }) => !data);
	t.same(
		dirty.map(({ start, length }: Record<string, number>) => [start, length]),
		[
			[MIB, 32768],
			[20 * MIB, MIB],
		],
		"QEMU reads the dirty bitmap",
	);
	const again = work.path("again.raw");
	await work.backup("again", view(unix, "monday"));
	await work.json(["export", "again", "--disk", "0", "-o", again]);
	await must("qemu-img", ["compare", "-f", "raw", "-F", "raw", view(unix, "monday"), again]);
	await work.killMountd("s");
	t.same(await map(view(unix, "wednesday"), `springback:changed:${epoch}`), second, "also after a restart");
});

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
