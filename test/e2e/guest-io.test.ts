/**
 * A real Linux guest does verified random I/O while the mount process is killed: on ext4 and XFS (disks over QEMU's
 * nfs:// driver) and with the kernel's own NFS client, hard and soft. Then its power is cut: everything that it had
 * synced must be there and the file systems whole. 20 seconds; 5 minutes with SPRINGBACK_LONG.
 */
import { closeSync, ftruncateSync, openSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import t from "tap";
import { enterNamespace } from "../../scripts/lab/namespace.js";
import { runTiny } from "../../scripts/lab/tiny.js";
import { killMountdOf, processes, untilListening } from "./client/processes.js";
import { random } from "./content.js";
import { must, run, Workspace } from "./workspace.js";

await enterNamespace(import.meta.url);

const LONG = Boolean(process.env.SPRINGBACK_LONG);
const SECONDS = LONG ? 300 : 20;
const KILLS = LONG ? 20 : 3;
const SEED = Number(process.env.SPRINGBACK_SEED ?? 1);
const MIB = 2 ** 20;
const SOURCE = fileURLToPath(new URL("../../../test/e2e/client/verified-io.c", import.meta.url));
/**
 * What e2fsck may say of a file system whose journal was not replayed yet; anything else is damage. The totals in the
 * superblock are not kept in the journal (those of the groups are).
 */
const REPLAY_ONLY = [
	/^$|^e2fsck |: recovering journal$|^Pass [1-5]|^(Clearing|Truncating) orphaned inode /,
	/^Free (blocks|inodes) count wrong \(|^Fix\? yes$|FILE SYSTEM WAS MODIFIED|: \d+\/\d+ files /,
	// Tidying of a sound tree, offered to any file system that was not unmounted.
	/^Inode \d+ extent tree \(at level \d+\) could be (shorter|narrower)\.|^Optimi[sz]e\? yes$|^Pass 1E: Optimizing extent trees$/,
];

t.setTimeout((SECONDS + 480) * 1000);

t.test("verified I/O while the mount process is killed, then a power cut", async (t) => {
	const work = new Workspace();
	t.teardown(() => work.close());
	t.comment(`seed ${SEED}`);
	const chance = random(SEED);
	const program = work.path("verified-io");
	await must("cc", ["-static", "-O2", "-o", program, SOURCE]);
	const files = [{ name: "bin/verified-io", content: readFileSync(program), mode: 0o755 }];
	const disks = [empty(work.path("ext4.raw"), 64), empty(work.path("xfs.raw"), 320)];
	await must("mkfs.ext4", ["-q", disks[0]]);
	await must("mkfs.xfs", ["-q", disks[1]]);
	await work.init();
	await work.backup("vm", ...disks);
	const published = await work.publish(["vm", "--session", "s"]);
	const { nfsPort, mountPort, url } = published.ready;
	const remote = ["disk0-flat.vmdk", "disk1-flat.vmdk"].map((name) => ({ source: `${url}/${name}` }));
	const nfs = `nolock,vers=3,proto=tcp,port=${nfsPort},mountport=${mountPort},mountproto=tcp,nosharecache`;

	const back: number[] = [];
	let killing = Promise.resolve();
	const killNow = async () => {
		await killMountdOf(work.state);
		back.push(await untilListening(nfsPort));
	};
	const first = await runTiny({
		files,
		disks: remote,
		timeout: (SECONDS + 240) * 1000,
		calls: {
			// At random moments, one in each part of the time that the guest works.
			started: () => {
				killing = (async () => {
					for (let i = 0; i < KILLS; i++) {
						const part = (SECONDS * 1000) / (KILLS + 0.5);
						const at = (0.2 + 0.6 * chance()) * part;
						await sleep(at);
						const begin = Date.now();
						await killNow();
						await sleep(Math.max(0, part - at - (Date.now() - begin)));
					}
				})();
				killing.catch(() => {});
			},
			// The server is killed as well, so that the guest dies with its writes on their way.
			cut: async () => {
				await sleep(2_000 + 2_000 * chance());
				await killMountdOf(work.state);
				await sleep(400 * chance());
				for (const pid of processes("qemu-system-x86_64")) process.kill(pid, "SIGKILL");
			},
		},
		script: `load ext4; load xfs
mkdir -p /ext4 /xfs /hard /soft
mount -t ext4 /dev/vda /ext4 && mount -t xfs /dev/vdb /xfs || exit 1
mount -t nfs -o ${nfs},hard 10.0.2.2:/springback/s /hard || exit 1
mount -t nfs -o ${nfs},soft 10.0.2.2:/springback/s /soft || exit 1
host started
seed=${SEED}
for file in /ext4/f /xfs/f /hard/hard /soft/soft; do
	seed=$((seed + 1))
	verified-io run $file 4000000 ${SECONDS} $seed &
done
wait
umount /hard; umount /soft
dmesg | grep -i -E "i/o error|corrupt|not responding"
echo all ended
for file in /ext4/g /xfs/g; do verified-io run $file 4000000 100000 $seed & done
host cut
`,
	});
	await killing;
	if (!t.match(first.output, /^all ended$/m, "the guest came to the end")) t.comment(first.console);
	t.notMatch(first.output, /^failed/m, "no I/O error, no wrong byte");
	t.notMatch(first.output, /i\/o error|corrupt/i, "the guest's kernel saw none either");
	for (const file of ["/ext4/f", "/xfs/f", "/hard/hard", "/soft/soft"]) {
		const line = new RegExp(`^verified ${file} .*$`, "m").exec(first.output);
		t.ok(line, `${file} was verified to its end`);
		t.comment(line?.[0]);
	}
	t.equal(back.length, KILLS, "killed as often as planned");
	t.comment(`the mount process listened again after ${back.join(", ")} ms`);
	t.equal(first.status, null, "the power was cut");
	await untilListening(nfsPort);

	const copies = await copy(work, remote);
	const journal = await run("e2fsck", ["-fy", copies[0]]);
	t.ok((journal.code ?? 99) <= 1, "e2fsck replays the journal");
	for (const line of `${journal.stdout}${journal.stderr}`.split("\n"))
		if (!REPLAY_ONLY.some((pattern) => pattern.test(line))) t.fail(`e2fsck repaired something: ${line}`);
	t.equal((await run("e2fsck", ["-fn", copies[0]])).code, 0, "and then ext4 is clean");

	const synced = ["/ext4/f", "/xfs/f", "/ext4/g", "/xfs/g"].map(
		(file) => [file, syncedOf(first.output, file)] as const,
	);
	const second = await runTiny({
		files,
		disks: remote,
		timeout: 240_000,
		script: `load ext4; load xfs
mkdir -p /ext4 /xfs
mount -t ext4 /dev/vda /ext4 && mount -t xfs /dev/vdb /xfs || exit 1
${synced.map(([file, count]) => `verified-io check ${file} ${count}`).join("\n")}
umount /ext4 && umount /xfs && echo unmounted
`,
	});
	if (!t.match(second.output, /^unmounted$/m, "the guest's kernel replays both journals")) t.comment(second.console);
	for (const [file] of synced)
		t.match(second.output, new RegExp(`^checked ${file} `, "m"), `what was synced to ${file} is there`);
	const clean = await copy(work, remote);
	const repair = await run("xfs_repair", ["-n", clean[1]]);
	if (!t.equal(repair.code, 0, "XFS is clean")) t.comment(repair.stderr);
	t.equal((await run("e2fsck", ["-fn", clean[0]])).code, 0, "and so is ext4");
	t.equal(await work.stop(published), 0);
});

function empty(path: string, mebibytes: number): string {
	const fd = openSync(path, "w");
	ftruncateSync(fd, mebibytes * MIB);
	closeSync(fd);
	return path;
}

/** Copies of the session's disks, over NFS. */
function copy(work: Workspace, disks: { source: string }[]): Promise<string[]> {
	return Promise.all(
		disks.map(async ({ source }, index) => {
			const path = work.path(`copy${index}.raw`);
			await must("qemu-img", ["convert", "-f", "raw", "-O", "raw", source, path]);
			return path;
		}),
	);
}

/** How many records the guest said it had synced. */
function syncedOf(output: string, file: string): number {
	const numbers = [...output.matchAll(new RegExp(`^synced ${file} (\\d+)$`, "gm"))].map((match) => Number(match[1]));
	return Math.max(-1, ...numbers) + 1;
}
