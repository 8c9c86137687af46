/** Published disks over NBD, with the tools that people use: libnbd's, QEMU's, fio; and beside NFS. */
import { readFileSync, statSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { enterNamespace } from "../../scripts/lab/namespace.js";
import { connectNbd } from "../../src/nbd/index.js";
import { NfsClient } from "../nfs/nfs-client.js";
import { bytesOf, writeDisk } from "./content.js";
import { FREE, MIB, map, prepared, SIZE, uris, view } from "./nbd.js";
import { must } from "./workspace.js";

await enterNamespace(import.meta.url);

t.setTimeout(240_000);

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
		const args = [
			"--name=job",
			"--ioengine=nbd",
			`--uri=${uri}`,
			"--size=16m",
			"--verify=crc32c",
			"--verify_fatal=1",
			"--verify_state_save=0",
		];
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
