import { spawn } from "node:child_process";
import { readdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import t, { type Test } from "tap";
import { checkRange, type Image, ImageError, openRaw } from "../../../src/image/index.js";
import { logicalVolumes } from "../../../src/verify/tests/filesystem/lvm.js";
import { inSandbox } from "../../../src/verify/tests/filesystem/sandbox.js";
import { Scratch } from "../../../src/verify/tests/filesystem/scratch.js";
import { contextOf, judge } from "./context.js";
import { PHYSICAL_VOLUMES } from "./lvm-volumes.js";
import { bytesOf, copyOf, debugfs, disk, disksOf, ext4, hashOf, MIB, made, overwrite, run } from "./volumes.js";

const check = (t: Test, paths: string[], options = {}) =>
	judge("filesystem", options, contextOf(t, disksOf(...paths)), { timeoutMs: 60_000 });

t.test(
	"a disk with partitions: each file system is checked, what has none is passed over, nothing is changed",
	async (t) => {
		const root = ext4(t);
		const fat = made(t, "mkfs.fat", ["--invariant"], 8 * MIB);
		const luks = Buffer.from("LUKS\xba\xbe", "latin1");
		const table =
			"label: gpt\nstart=2048, size=8MiB, type=U\nsize=64MiB, type=L\nsize=1MiB, type=21686148-6449-6E6F-744E-656564454649\nsize=1MiB, type=L\nsize=1MiB, type=L\n";
		const path = disk(
			t,
			table,
			[
				[1, fat],
				[9, root],
				[73, Buffer.alloc(512, 0x90)],
				[75, luks],
			],
			80 * MIB,
		);
		const before = hashOf(path);
		const report = await check(t, [path]);
		t.match(report, {
			result: "passed",
			message: "disk0/p1 FAT, clean; disk0/p2 ext2/3/4, clean; not checked: disk0/p5 (encrypted (LUKS))",
			output: /disk0\/p2: 83\/\d+ files/,
		});
		t.equal(hashOf(path), before);
		t.ok(report.value!.amount > 100_000 && report.value!.amount < 32 * MIB, `${report.value!.amount} bytes read`);
		overwrite(path, 75 * MIB, Buffer.alloc(4096, 0x5a));
		t.match(await check(t, [path]), {
			result: "failed",
			fault: "file-system",
			message: /^disk0\/p5: holds data, but no file system/,
		});
		t.match(await check(t, [path], { ignore: ["disk0/p5"] }), { result: "passed" });
		overwrite(path, 512, Buffer.alloc(512));
		t.match(await check(t, [path], { ignore: ["disk0/p5"] }), { result: "passed" }, "the other header is used");
		overwrite(path, 80 * MIB - 512, Buffer.alloc(512));
		t.match(await check(t, [path]), {
			result: "failed",
			fault: "file-system",
			message: /^disk0: the partition table is damaged/,
		});
	},
);

t.test("MBR with logical partitions", async (t) => {
	const root = ext4(t, 16 * MIB);
	const table =
		"label: dos\n1: start=2048, size=1MiB, type=82\n2: start=4096, size=40MiB, type=5\n5: start=6144, size=16MiB, type=83\n6: start=40960, size=16MiB, type=83\n";
	const swap = Buffer.alloc(8192);
	swap.write("SWAPSPACE2", 4086);
	const path = disk(
		t,
		table,
		[
			[1, swap],
			[3, root],
			[20, root],
		],
		48 * MIB,
	);
	t.match(await check(t, [path]), { result: "passed", message: "disk0/p5 ext2/3/4, clean; disk0/p6 ext2/3/4, clean" });
	// The link of the first table to the second leads back to the first.
	overwrite(path, 2 * MIB + 462 + 8, Buffer.alloc(4));
	t.match(await check(t, [path]), { result: "passed", message: "disk0/p5 ext2/3/4, clean" });
	overwrite(path, 446 + 8, Buffer.from([0, 0, 0, 0x7f]));
	t.match(await check(t, [path]), { result: "failed", message: /partition 1 lies beyond the end of the disk/ });
});

t.test("LVM: linear volumes over several disks; what else there is is named", async (t) => {
	const [root, data] = [ext4(t, 32 * MIB), ext4(t, 16 * MIB)].map((path) => readFileSync(path));
	const paths = PHYSICAL_VOLUMES.map((head, i) => {
		const path = join(t.testdirName, `pv${i}.img`);
		writeFileSync(path, head);
		truncateSync(path, 64 * MIB);
		return path;
	});
	overwrite(paths[0], MIB, root.subarray(0, 20 * MIB));
	overwrite(paths[1], 17 * MIB, root.subarray(20 * MIB));
	overwrite(paths[1], MIB, data);
	t.match(await check(t, paths), {
		result: "passed",
		message:
			"sys-vg/root ext2/3/4, clean; sys-vg/data ext2/3/4, clean; not checked: sys-vg/striped (LVM, several stripes)",
	});
	t.match(await check(t, paths, { ignore: ["disk0"] }), {
		result: "passed",
		message:
			/^sys-vg\/data ext2\/3\/4, clean; not checked: sys-vg\/root \(LVM, parts of it are not in the restore point\)/,
	});
	overwrite(paths[1], MIB + 4096, Buffer.alloc(8192, 0xff));
	t.match(await check(t, paths), { fault: "file-system", message: /^sys-vg\/data: ext2\/3\/4 is corrupt/ });
	// The header of the metadata; then its text.
	overwrite(paths[1], 4096, Buffer.alloc(64));
	t.match(await check(t, paths), {
		fault: "file-system",
		message: "disk1: the LVM metadata is damaged: an area has no header",
	});
	overwrite(paths[1], 4096, PHYSICAL_VOLUMES[1].subarray(4096, 4096 + 512));
	const at = 4096 + Number(PHYSICAL_VOLUMES[1].readBigUInt64LE(4096 + 40));
	overwrite(paths[1], at + 900, Buffer.alloc(40, 1));
	t.match(await check(t, paths), { fault: "file-system", message: /^disk1: the LVM metadata is damaged: / });
});

t.test("LVM: noise in the metadata is a sentence or another map, never a fault of ours", async (t) => {
	const base = PHYSICAL_VOLUMES[0];
	for (let i = 0; i < 400; i++) {
		const bytes = Buffer.concat([base, Buffer.alloc(MIB)]);
		for (let n = 0; n < 3; n++)
			bytes[[512, 4096, 10752][n] + ((i * 37 + n * 211) % [128, 80, 1897][n])] = (i * 29 + n * 83) & 255;
		const image: Image = {
			size: bytes.length,
			read: (offset, target) => {
				checkRange(bytes.length, offset, target.length);
				bytes.copy(target, 0, offset);
			},
			extents: (offset, length) => [{ offset, length, kind: "data" }],
			close: async () => {},
		};
		const { volumes, problems } = await logicalVolumes([{ name: "a", image }]);
		t.ok(volumes.length + problems.length <= 4);
	}
});

t.test("ext4: damage beyond the journal fails and is named", async (t) => {
	const path = ext4(t);
	const broken = async (change: (copy: string) => unknown, words: RegExp) => {
		const copy = copyOf(path);
		change(copy);
		t.match(await check(t, [copy]), { result: "failed", fault: "file-system", message: words });
	};
	await broken(
		(copy) => debugfs(copy, ["clri d3"]),
		/^disk0: ext2\/3\/4 is corrupt: Entry 'd3' in \/ \(2\) has deleted\/unused inode/,
	);
	await broken(
		(copy) => debugfs(copy, ["sif d1/f1 block[IND] 7", "sif d1/f1 flags 0", "sif d1/f1 block[0] 99999999"]),
		/is corrupt: /,
	);
	await broken((copy) => debugfs(copy, ["freeb 5 40"]), /is corrupt: /);
	await broken((copy) => overwrite(copy, 4096, Buffer.alloc(4096, 0xff)), /is corrupt: /);
	await broken((copy) => overwrite(copy, 1024, Buffer.alloc(1024, 0xff)), /holds data, but no file system/);
});

t.test("ext4: a journal, deleted files that were open, and stale sums are no damage", async (t) => {
	const path = ext4(t);
	// A transaction that makes block 2 of a folder what it is, of one that was lost: only replayed it is whole.
	const block = Number(/\d+/.exec(debugfs(path, ["bmap d3 0"]).split("\n")[1])![0]);
	const content = join(t.testdirName, "block");
	writeFileSync(content, bytesOf(path, block * 4096, 4096));
	debugfs(path, ["jo", `jw -b ${block} ${content}`, "jc"]);
	overwrite(path, block * 4096, Buffer.alloc(4096));
	const before = hashOf(path);
	t.match(await check(t, [path]), { result: "passed", message: "disk0 ext2/3/4, clean", output: /recovering journal/ });
	t.equal(hashOf(path), before, "replayed on a copy");
	const other = ext4(t);
	run("tune2fs", ["-L", "my root", other]);
	const inode = Number(
		/<(\d+)>|^Inode: (\d+)/m
			.exec(debugfs(other, ["stat d2/f2"]))!
			.slice(1)
			.find(Boolean),
	);
	debugfs(other, ["ssv free_blocks_count 77", "ssv free_inodes_count 7"]);
	debugfs(other, ["unlink d2/f2", `sif <${inode}> links_count 0`, `ssv last_orphan ${inode}`]);
	t.match(await check(t, [other]), { result: "passed", output: new RegExp(`Clearing orphaned inode ${inode} `) });
});

t.test("XFS, FAT, Btrfs, NTFS: clean ones pass, damaged ones fail", async (t) => {
	t.testdir();
	const xfs = made(t, "mkfs.xfs", ["-q", "-f"], 320 * MIB);
	const fat = made(t, "mkfs.fat", ["--invariant"], 16 * MIB);
	const btrfs = made(t, "mkfs.btrfs", ["-q", "-f"], 128 * MIB);
	const ntfs = made(t, "mkfs.ntfs", ["-q", "-F", "-Q"], 16 * MIB);
	const report = await check(t, [xfs, fat, btrfs, ntfs]);
	t.match(report, {
		result: "passed",
		message: "disk0 XFS, clean; disk1 FAT, clean; disk2 Btrfs, clean; disk3 NTFS, clean",
	});
	// The inode tree's root of the first allocation group.
	overwrite(xfs, 1024 + 16, Buffer.alloc(64, 0xff));
	t.match(await check(t, [xfs]), { fault: "file-system", message: /^disk0: XFS is corrupt: Metadata CRC error/ });
	overwrite(fat, 2048 + 512, Buffer.alloc(3000, 0x55));
	t.match(await check(t, [fat]), { fault: "file-system", message: /^disk0: FAT is corrupt: FATs differ/ });
	// Both copies of the leaf of tree 5: a node begins with a checksum and the file system's id; its owner is at 88.
	const bytes = readFileSync(btrfs);
	const id = bytes.subarray(0x10000 + 32, 0x10000 + 48);
	for (let at = 0x20000; at < bytes.length; at += 4096)
		if (bytes.subarray(at + 32, at + 48).equals(id) && bytes[at + 88] === 5)
			overwrite(btrfs, at + 101, Buffer.alloc(64, 0xff));
	t.match(await check(t, [btrfs]), { fault: "file-system", message: /^disk0: Btrfs is corrupt/ });
	overwrite(ntfs, readFileSync(ntfs).indexOf("FILE0"), Buffer.alloc(2048));
	t.match(await check(t, [ntfs]), { fault: "file-system", message: /^disk0: NTFS is corrupt/ });
	t.match(await check(t, [ntfs], { disks: ["vda"] }), { fault: "infrastructure", message: /no disk vda: disk0/ });
});

t.test("a block that cannot be read is damaged data, not a corrupt file system", async (t) => {
	const path = ext4(t);
	const context = contextOf(t, {
		disks: [
			{
				name: "disk0",
				size: 64 * MIB,
				open: async () => {
					const image = openRaw(path);
					const read = image.read.bind(image);
					image.read = async (offset, target) => {
						if (offset >= MIB / 4) throw new ImageError("ECORRUPT", "block 2 is damaged", offset, 1);
						return read(offset, target);
					};
					return image;
				},
			},
		],
	});
	t.match(await judge("filesystem", {}, context, { timeoutMs: 60_000 }), {
		result: "failed",
		fault: "damaged-data",
		message: "disk0: block 2 is damaged",
	});
});

t.test("a disk that hangs: the check ends with its time, and leaves no process, file or mount", async (t) => {
	const path = ext4(t);
	const context = contextOf(t, {
		disks: [
			{
				name: "disk0",
				size: 64 * MIB,
				open: async () => {
					const image = openRaw(path);
					const read = image.read.bind(image);
					image.read = (offset, target) => (offset > MIB ? new Promise(() => {}) : read(offset, target));
					return image;
				},
			},
		],
	});
	const before = sandboxes();
	const report = await judge("filesystem", {}, context, { timeoutMs: 1500 });
	t.match(report, { result: "failed", fault: "infrastructure" });
	t.ok(report.tookMs < 7000, `${report.tookMs} ms`);
	for (let i = 0; i < 100 && sandboxes().length > before.length; i++) await sleep(50);
	t.same(sandboxes(), before);
	t.same(readdirSync(context.directory), []);
});

t.test("the sandbox: no rights, no network, no files of the machine, no way to the disk itself", async (t) => {
	const path = ext4(t);
	const image = openRaw(path);
	t.teardown(() => image.close());
	const { directory, signal } = contextOf(t);
	const before = hashOf(path);
	const scratch = new Scratch(image, join(directory, "scratch"), 8 * MIB);
	const script = `grep -E '^(CapEff|CapBnd|NoNewPrivs)' /proc/self/status; echo root: $(ls -A /); echo etc: $(ls -A /etc)
		grep -c : /proc/net/dev; ls /proc | grep -c '^[0-9]'; [ -e /proc/$$/fd/3 ] || echo no connection
		touch /usr/x 2>/dev/null || echo usr is read only
		mount -t tmpfs tmpfs /tmp 2>/dev/null || echo no mounts; mknod /tmp/m c 1 1 2>/dev/null || echo no devices
		printf changed | dd of=/volume bs=1 seek=10000 conv=notrunc 2>/dev/null && dd if=/volume bs=1 skip=10000 count=7 2>/dev/null`;
	const { output, code } = await inSandbox(scratch, ["sh", "-c", script], directory, signal);
	t.equal(code, 0, output);
	t.match(output, /CapEff:\t0{16}/);
	t.match(output, /CapBnd:\t0{16}/);
	t.match(output, /NoNewPrivs:\t1/);
	t.match(output, /^etc: e2fsck\.conf$/m);
	t.match(output, /^root: (?:bin |dev |etc |lib\w* |proc |sbin |tmp |usr )*volume$/m);
	// Loopback only, and down; itself, the script above it, and qemu-storage-daemon.
	t.match(output, /^1\n[3-7]\nno connection\nusr is read only\n/m);
	t.match(output, /no mounts\nno devices\nchanged$/);
	await scratch.close();
	t.equal(hashOf(path), before);
});

t.test("killed in the middle, nothing of a check goes on", async (t) => {
	const path = ext4(t);
	const { directory } = contextOf(t);
	const mark = `${31_000 + (process.pid % 1000)}`;
	const [scratch, sandbox, image] = [
		"verify/tests/filesystem/scratch",
		"verify/tests/filesystem/sandbox",
		"image/index",
	].map((name) => fileURLToPath(new URL(`../../../src/${name}.js`, import.meta.url)));
	const program = `
		const { Scratch } = await import("${scratch}"); const { inSandbox } = await import("${sandbox}"); const { openRaw } = await import("${image}");
		const volume = new Scratch(openRaw("${path}"), "${directory}/scratch", 1e6);
		await inSandbox(volume, ["sleep", "${mark}"], "${directory}", new AbortController().signal);`;
	const child = spawn(process.execPath, ["--input-type=module", "-e", program], { stdio: "inherit" });
	for (let i = 0; i < 200 && running(mark).length === 0; i++) await sleep(50);
	t.not(running(mark).length, 0, "it runs");
	child.kill("SIGKILL");
	for (let i = 0; i < 100 && running(mark).length > 0; i++) await sleep(50);
	t.same(running(mark), []);
});

/** Command lines of all sandboxes, and of what runs in them. */
const sandboxes = (): string[] => running("sandbox").concat(running("qemu-storage-daemon"));

const running = (word: string): string[] =>
	readdirSync("/proc").flatMap((pid) => {
		try {
			const line = /^\d+$/.test(pid) ? readFileSync(`/proc/${pid}/cmdline`, "latin1").split("\0") : [];
			return line.includes(word) ? [line.join(" ").slice(0, 80)] : [];
		} catch {
			return [];
		}
	});
