/** The Linux kernel's own NFS client, in a tiny guest, uses a session as a file system. */
import { readFileSync, statSync } from "node:fs";
import t from "tap";
import { enterNamespace } from "../../scripts/lab/namespace.js";
import { runTiny } from "../../scripts/lab/tiny.js";
import { digest, writeDisk } from "./content.js";
import { Workspace } from "./workspace.js";

await enterNamespace(import.meta.url);

const SIZE = 9 * 2 ** 20 + 512 * 3;

t.test("mount, read, change, restart", async (t) => {
	const work = new Workspace();
	t.teardown(() => work.close());
	writeDisk(work.path("disk.raw"), 5, SIZE);
	await work.init();
	await work.backup("vm", work.path("disk.raw"));
	const published = await work.publish(["vm", "--session", "s"]);
	const { nfsPort, mountPort } = published.ready;
	const options = `nolock,vers=3,proto=tcp,port=${nfsPort},mountport=${mountPort},mountproto=tcp,hard`;
	const { output, status } = await runTiny({
		timeout: 240_000,
		calls: { restart: () => work.killMountd("s") },
		script: `set -e
mkdir -p /a /b
mount -t nfs -o ${options} 10.0.2.2:/springback/s /a
mount -t nfs -o ${options} 10.0.2.2:/springback /b
ls -la /a
echo root: $(ls /b)
echo hash: $(sha256sum < /a/disk0-flat.vmdk)
cd /a
echo one > new
mkdir dir
mv new dir/moved
ln dir/moved hard
ln -s dir/moved soft
echo through: $(cat soft) links: $(stat -c %h hard)
printf x | dd of=dir/sparse bs=1 seek=100000 conv=notrunc 2>/dev/null
echo sparse: $(stat -c %s dir/sparse) $(sha256sum < dir/sparse)
truncate -s 70000 dir/sparse
echo cut: $(stat -c %s dir/sparse)
rm hard
rmdir dir 2>/dev/null && echo removed a full directory
dd if=/dev/zero bs=1 count=1000 2>/dev/null | tr '\\0' Q > /tmp/q
dd if=/tmp/q of=disk0-flat.vmdk bs=1000 seek=4321 conv=notrunc,fsync 2>/dev/null
dd if=/tmp/q of=disk0-flat.vmdk bs=333 seek=7 conv=notrunc,fsync 2>/dev/null
i=0; while [ $i -lt 300 ]; do : > dir/f$i; i=$((i+1)); done
echo entries: $(ls dir | wc -l)
sync
echo before: $(sha256sum < disk0-flat.vmdk)
host restart
echo 3 > /proc/sys/vm/drop_caches
echo after: $(sha256sum < disk0-flat.vmdk)
echo kept: $(cat dir/moved) $(ls dir | wc -l)
echo again > dir/after
cat dir/after
cd /
umount /a
umount /b
`,
	});
	t.equal(status, 0, `the script ran to its end: ${output}`);
	const value = (name: string) =>
		new RegExp(`^${name}: (.*)$`, "m")
			.exec(output)?.[1]
			?.replace(/ +-$/, "")
			.replace(/ -( |$)/g, "$1")
			.trim();
	t.equal(value("hash"), await digest(work.path("disk.raw")), "the whole disk reads as the source");
	t.equal(value("root"), "s", "the session lies under /springback");
	t.equal(value("through"), "one links: 2", "rename, hard link and symlink");
	t.match(value("sparse"), /^100001 /, "a write far beyond the end");
	t.equal(value("cut"), "70000", "truncated");
	t.notMatch(output, /removed a full directory/);
	t.equal(value("entries"), "302", "a directory that does not fit one reply");
	t.equal(value("before"), value("after"), "the disk is the same after a restart");
	t.not(value("before"), value("hash"), "and holds the writes");
	t.equal(value("kept"), "one 302", "so are the files");
	t.match(output, /^again$/m, "and the mount goes on");
	const model = readFileSync(work.path("disk.raw"));
	model.fill("Q", 4_321_000, 4_322_000);
	model.fill("Q", 333 * 7, 333 * 7 + 1000);
	const { createHash } = await import("node:crypto");
	t.equal(value("after"), createHash("sha256").update(model).digest("hex"), "every byte as the guest wrote it");
	t.equal(statSync(work.path("disk.raw")).size, SIZE);
	await work.stop(published);
});
