/** Snapshots of running and stopped VMs: what is read, what is known to have changed, and what is left behind. */
import { readdirSync } from "node:fs";
import t from "tap";
import type { Snapshot } from "../../src/hypervisor/index.js";
import type { QemuHost } from "../../src/hypervisor/qemu/host.js";
import { contentOf, MIB } from "./content.js";
import { QemuLab } from "./qemu-lab.js";

const ID = "11111111-2222-3333-4444-555555555555";
const lab = new QemuLab();
t.teardown(() => lab.close());

/** Writes `mib` of pattern `byte` at `at` MiB of a disk, to the disk. */
const write = (disk: string, byte: string, at: number, mib = 1) =>
	lab.shell(
		"one",
		`dd if=/dev/zero bs=1M count=${mib} 2>/dev/null | tr '\\000' '${byte}' | dd of=/dev/${disk} bs=1M seek=${at} conv=fsync 2>/dev/null`,
	);

const read = async (host: QemuHost, snapshot: Snapshot, disk: string, since?: string) => {
	const { image, changed, whyAll } = await host.openDisk(snapshot, disk, since);
	try {
		return { content: await contentOf(image), changed, whyAll };
	} finally {
		await image.close();
	}
};
const marks = (content: Buffer): string =>
	Array.from({ length: content.length / MIB }, (_, n) =>
		content[n * MIB] === 0 ? "." : String.fromCharCode(content[n * MIB]),
	).join("");
const bytesOf = (extents: { length: number }[] | undefined) => extents?.reduce((sum, { length }) => sum + length, 0);

t.test("a guest that writes: a moment is kept, changes are known, nothing is left", async (t) => {
	lab.tiny(
		"one",
		[
			{ format: "qcow2", size: 16 * MIB },
			{ format: "raw", size: 8 * MIB },
		],
		ID,
	);
	const host = lab.host();
	await host.power(ID, "on");
	await write("vda", "a", 0, 4);
	await write("vdb", "r", 0, 2);

	const first = await host.snapshot("one", { quiesce: true });
	t.match(first, {
		vm: ID,
		consistency: "crash",
		why: /agent does not answer/,
		disks: [{ name: "disk0", size: 16 * MIB }, { name: "disk1" }],
	});
	await write("vda", "b", 2, 4);
	await write("vdb", "s", 1, 2);
	const full = await read(host, first, "disk0", "00000009-00000000");
	t.equal(marks(full.content), "aaaa............", "as it was at the moment, not as it is now");
	t.match(full, { changed: undefined, whyAll: /no record of what changed/ });
	t.equal(marks((await read(host, first, "disk1")).content), "rr......", "a raw disk, too");
	await t.rejects(host.snapshot("one"), { code: "BUSY" });
	await t.rejects(lab.host().snapshot("one"), { code: "BUSY" });
	await host.removeSnapshot(first);
	await host.removeSnapshot(first);
	t.strictSame(readdirSync(lab.path("one", ".springback")).sort(), ["lock", "starting"]);

	const second = await host.snapshot("one");
	const changes = await read(host, second, "disk0", first.changeId);
	t.equal(marks(changes.content), "aabbbb..........");
	t.strictSame(changes.changed, [{ offset: 2 * MIB, length: 4 * MIB }]);
	t.strictSame(
		(await read(host, second, "disk1", first.changeId)).changed,
		[{ offset: MIB, length: 2 * MIB }],
		"raw, while it runs",
	);
	await host.removeSnapshot(second);

	await write("vda", "c", 9);
	const third = await host.snapshot("one");
	t.equal(bytesOf((await read(host, third, "disk0", second.changeId)).changed), MIB, "since the last one");
	await host.removeSnapshot(third);
	const fourth = await host.snapshot("one");
	t.strictSame(
		(await read(host, fourth, "disk0", first.changeId)).changed,
		[
			{ offset: 2 * MIB, length: 4 * MIB },
			{ offset: 9 * MIB, length: MIB },
		],
		"since an older one: the union",
	);
	await host.removeSnapshot(fourth);
	for (let n = 0; n < 4; n++) await host.removeSnapshot(await host.snapshot("one"));
	const late = await host.snapshot("one");
	t.match(await read(host, late, "disk0", first.changeId), { changed: undefined, whyAll: /no record/ }, "too long ago");
	await host.removeSnapshot(late);
});

t.test("off and on again: qcow2 keeps its record, raw does not and says so", async (t) => {
	const host = lab.host();
	const before = await host.snapshot("one");
	await host.removeSnapshot(before);
	await write("vda", "d", 12);
	await host.power("one", "off");
	t.match(await host.list(), [{ name: "one", id: ID, state: "off", problem: null }]);

	const off = await host.snapshot("one", { quiesce: true });
	t.match(off, { consistency: "crash", why: null }, "a VM that is off");
	const { content, changed } = await read(host, off, "disk0", before.changeId);
	t.match(marks(content), /^aabbbb...c..d/);
	t.strictSame(changed, [{ offset: 12 * MIB, length: MIB }]);
	t.match(await read(host, off, "disk1", before.changeId), { changed: undefined, whyAll: /powered off/ });
	await t.rejects(host.power("one", "on"), { code: "FAILED", message: /another process uses .*disk0\.qcow2/ });
	await host.removeSnapshot(off);

	await host.power("one", "on");
	await write("vda", "e", 13);
	const on = await host.snapshot("one");
	t.strictSame((await read(host, on, "disk0", off.changeId)).changed, [{ offset: 13 * MIB, length: MIB }]);
	await host.removeSnapshot(on);
	t.match((await host.list())[0].disks, [
		{ name: "disk0", size: 16 * MIB, protected: true, tracking: "persistent", why: null },
		{ name: "disk1", size: 8 * MIB, protected: true, tracking: "running", why: /raw/ },
	]);
});

t.test("QEMU killed: the record is not trusted", async (t) => {
	const host = lab.host();
	const before = await host.snapshot("one");
	await host.removeSnapshot(before);
	await write("vda", "f", 14);
	process.kill(lab.pid("one")!, "SIGKILL");
	while ((await host.list())[0].state !== "off");
	await host.power("one", "on");
	const after = await host.snapshot("one");
	const { content, changed, whyAll } = await read(host, after, "disk0", before.changeId);
	t.equal(changed, undefined);
	t.match(whyAll, /no record|not closed/);
	t.equal(marks(content)[14], "f");
	await host.removeSnapshot(after);
	const next = await host.snapshot("one");
	t.strictSame((await read(host, next, "disk0", after.changeId)).changed, [], "the next is tracked again");
	await host.removeSnapshot(next);
});
