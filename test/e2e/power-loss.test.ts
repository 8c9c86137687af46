/**
 * Power loss: the mount process runs in a guest, clients write to it over NFS, and QEMU records every write and flush
 * of the guest's disk. Afterwards the record is replayed up to chosen moments, with what was not flushed yet gone,
 * there, or there in part. Each time the guest's file system must come back by its journal, the session must open, and
 * hold what was acknowledged as stable until then: for each client the state after exactly its first k operations. At
 * last a second guest mounts what the first one left and serves it.
 */
import { closeSync, existsSync, ftruncateSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { enterNamespace } from "../../scripts/lab/namespace.js";
import { runTiny } from "../../scripts/lab/tiny.js";
import { NfsClient } from "../nfs/nfs-client.js";
import { PatternBase, pattern } from "../overlay/lab.js";
import { processes } from "./client/processes.js";
import { random } from "./content.js";
import { Crashes } from "./power/crashes.js";
import { PREPARE, programDisk } from "./power/program-disk.js";
import { WriteLog } from "./power/write-log.js";
import { type Part, REGION, samePart, Writer } from "./power/writers.js";
import { must, Workspace } from "./workspace.js";

await enterNamespace(import.meta.url);

const LONG = Boolean(process.env.SPRINGBACK_LONG);
/** of each writer, before the power is cut; on a busy machine fewer */
const OPERATIONS = LONG ? 1500 : 100;
const SECONDS_MAX = LONG ? 300 : 40;
const MOMENTS = LONG ? 500 : 20;
const SEED = Number(process.env.SPRINGBACK_SEED ?? 1);
const WRITERS = 6;
const SALT = 7;
const DISK = WRITERS * REGION;
const DATA_MIB = 768;
const [NFS_PORT, MOUNT_PORT] = [2049, 20048];
/** MNT3ERR_NOENT */
const NOENT = 2;
/** of the guest, as QEMU's network gives it */
const ADDRESS = "10.0.2.15";
const MOUNT = `${PREPARE}mkdir -p /data
mount -t ext4 /dev/vdb /data || exit 1
`;
const PUBLISH = `SPRINGBACK_STATE=/data/state SPRINGBACK_REPO=/program/repo springback publish vm --session s --detach \\
	--listen ${ADDRESS} --client 10.0.2.2 --no-portmap || exit 1
tail -n +1 -f /data/state/*.log &
`;
/** As its supervisor starts it again. */
const AGAIN = {
	...{ state: "/data/state", listen: ADDRESS, nfsPort: NFS_PORT, mountPort: MOUNT_PORT, portmap: "off" },
	...{ clients: ["10.0.2.2"], cacheBytes: 64 * 2 ** 20, restart: true },
};
const RESUME = `/program/node /program/app/build/src/mountd/main.js '${JSON.stringify(AGAIN)}' 3>/started &
until [ -s /started ]; do sleep 0.1; done
`;

t.setTimeout(LONG ? 1_800_000 : 300_000);

t.test("what was acknowledged as stable outlives a power loss", async (t) => {
	const work = new Workspace();
	t.teardown(() => work.close());
	const memory = mkdtempSync(join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "springback-power-"));
	t.teardown(() => rmSync(memory, { recursive: true, force: true }));
	t.comment(`seed ${SEED}`);
	const chance = random(SEED);
	writeFileSync(work.path("disk.raw"), pattern(0, DISK, SALT));
	await work.init();
	await work.backup("vm", work.path("disk.raw"));
	const program = await programDisk(work.directory, work.repository);
	const [data, initial, log] = [work.path("data.raw"), join(memory, "initial.raw"), work.path("data.log")];
	await emptyDisk(data);
	await must("cp", ["--sparse=always", data, initial]);
	writeFileSync(log, "");

	const writers = Array.from({ length: WRITERS }, (_, index) => {
		const region = pattern(index * REGION, REGION, SALT);
		return new Writer(index, region, log, random(SEED * 100 + index));
	});
	const guest = {
		memory: 512,
		timeout: (SECONDS_MAX + 200) * 1000,
		forwards: [NFS_PORT, MOUNT_PORT].map((port) => ({ host: port, guest: port })),
	};
	let failure: unknown;
	const first = await runTiny({
		...guest,
		script: `${MOUNT}${PUBLISH}host served\n`,
		disks: [
			{ source: program, readOnly: true },
			{ source: data, log },
		],
		calls: {
			served: async () => {
				await write(writers, 300 * chance()).catch((error) => {
					failure = error;
				});
				for (const pid of processes("qemu-system-x86_64")) process.kill(pid, "SIGKILL");
			},
		},
	});
	if (failure) {
		t.comment(first.output, first.console);
		throw failure;
	}
	t.equal(first.status, null, "the power was cut");
	const counts = writers.map((writer) => writer.operations.length);
	if (!t.ok(Math.min(...counts) > 10, `operations: ${counts}`)) t.comment(first.output, first.console);

	const record = new WriteLog(log, DATA_MIB * 2 ** 20);
	t.teardown(() => record.close());
	const { entries } = record;
	const crashes = new Crashes(record, initial, memory, writers, new PatternBase(DISK, SALT), chance);
	for (const moment of crashes.choose(MOMENTS)) await crashes.try(moment);
	const { states, operations } = crashes.checked;
	t.equal(states, MOMENTS * WRITERS, "every writer's state after every power loss");
	const flushes = entries.filter(({ flush }) => flush).length;
	t.comment(`${MOMENTS} of ${entries.length} moments, ${flushes} flushes, ${Math.round(record.end / 2 ** 20)} MiB`);
	t.comment(`writers had done ${counts}; ${operations} operations that had to be there were`);

	let found: Part[] = [];
	const second = await runTiny({
		...guest,
		script: `${MOUNT}${RESUME}host served\n`,
		disks: [{ source: program, readOnly: true }, { source: data }],
		calls: {
			served: async () => {
				found = await readParts(writers);
			},
		},
	});
	if (!t.equal(second.status, 0, "the second guest's kernel mounts the disk, and serves it")) t.comment(second.output);
	for (const [index, writer] of writers.entries()) {
		const { least, most } = writer.bounds(record.end);
		const count = writer.find(least, most, (part) => samePart(part, found[index]));
		t.ok(count >= least, `writer ${index}: the state after ${count} of ${least}…${most} operations`);
	}
});

async function emptyDisk(path: string): Promise<void> {
	const fd = openSync(path, "w");
	ftruncateSync(fd, DATA_MIB * 2 ** 20);
	closeSync(fd);
	// Nothing is left to be initialised in the background.
	await must("mkfs.ext4", ["-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", path]);
}

/** The root of the session and its disk. */
async function enter(): Promise<{ client: NfsClient; root: Buffer; disk: Buffer }> {
	const mount = await NfsClient.connect(MOUNT_PORT);
	let reply = await mount.mount("/springback/s");
	// After a restart a session is served as soon as its repository answers, which takes a slow guest a while.
	for (let tries = 0; reply.status === NOENT && tries < 300; tries++) {
		await sleep(200);
		reply = await mount.mount("/springback/s");
	}
	if (reply.status !== 0) throw new Error(`mount: ${reply.status}`);
	const root = reply.handle;
	mount.close();
	const client = await NfsClient.connect(NFS_PORT);
	const { handle } = await client.lookup(root, "disk0-flat.vmdk");
	return { client, root, disk: Buffer.from(handle) };
}

/** All writers at work. Returns while their last calls are on their way, so many milliseconds after they did enough. */
async function write(writers: Writer[], more: number): Promise<void> {
	const { client, root, disk } = await enter();
	for (const writer of writers) await writer.enter(client, root);
	client.close();
	let ended = false;
	const work = Promise.all(
		writers.map(async (writer) => writer.work(await NfsClient.connect(NFS_PORT), disk, () => ended)),
	);
	const begin = Date.now();
	while (Math.min(...writers.map(({ operations }) => operations.length)) < OPERATIONS) {
		if (Date.now() - begin > SECONDS_MAX * 1000) break;
		await Promise.race([work, sleep(50)]);
	}
	await Promise.race([work, sleep(more)]);
	ended = true;
	work.catch(() => {});
}

/** What a guest serves of the writers' parts. */
async function readParts(writers: Writer[]): Promise<Part[]> {
	const { client, root, disk } = await enter();
	const whole = async (handle: Buffer, from: number, length: number): Promise<Buffer> => {
		const parts: Buffer[] = [];
		for (let at = 0; at < length; at += 65_536) {
			const { status, data } = await client.read(handle, from + at, Math.min(65_536, length - at));
			if (status !== 0) throw new Error(`READ answers ${status}`);
			parts.push(data);
		}
		return Buffer.concat(parts);
	};
	const found: Part[] = [];
	for (const { index, directory } of writers) {
		const { handle } = await client.lookup(root, directory);
		const files = new Map<string, Buffer>();
		for (const entry of (await client.readdirplus(handle, 0n, 65_536, 65_536)).entries)
			if (!/^\.\.?$/.test(entry.name))
				files.set(entry.name, await whole(entry.handle!, 0, Number(entry.attributes!.size)));
		found.push({ region: await whole(disk, index * REGION, REGION), files });
	}
	client.close();
	return found;
}
