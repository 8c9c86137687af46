/** Places that fill up while a guest writes: the backup or the move fails and says so, the guest does not notice. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync } from "node:fs";
import t from "tap";
import { enterNamespace } from "../../scripts/lab/namespace.js";
import { contentOf, MIB } from "./content.js";
import { QemuLab } from "./qemu-lab.js";

await enterNamespace(import.meta.url);

const lab = new QemuLab();
t.teardown(() => lab.close());
const small = lab.path("small");
const fill = (letter: string, mib = 24) =>
	`head -c ${mib * MIB} /dev/zero | tr '\\000' ${letter} | dd of=/dev/vda bs=1M conv=fsync 2>&1`;

t.before(async () => {
	lab.tiny("one", [{ format: "qcow2", size: 32 * MIB }], "44444444-2222-3333-4444-555555555555");
	mkdirSync(small);
	const { status, stderr } = spawnSync("mount", ["-t", "tmpfs", "-o", "size=4m", "none", small], { encoding: "utf8" });
	if (status !== 0) throw new Error(stderr);
	await lab.host().power("one", "on");
	await lab.shell("one", fill("a"));
});
t.teardown(() => spawnSync("umount", [small]));

t.test("the scratch file's place is full", async (t) => {
	const host = lab.host();
	const snapshot = await host.snapshot("one", { scratch: small });
	const { image } = await host.openDisk(snapshot, "disk0");
	const start = Buffer.alloc(MIB);
	await image.read(0, start);
	t.equal(start[0], "a".charCodeAt(0));
	await t.resolves(lab.shell("one", fill("b")), "the guest writes on");
	await t.rejects(contentOf(image), { name: "ImageError" }, "the moment is lost, and no wrong byte is given out");
	await image.close();
	await host.removeSnapshot(snapshot);
	t.strictSame(readdirSync(small), []);

	const next = await host.snapshot("one");
	const { image: whole, changed } = await host.openDisk(next, "disk0", snapshot.changeId);
	t.strictSame(changed, [{ offset: 0, length: 24 * MIB }], "tracking goes on");
	t.ok((await contentOf(whole)).subarray(0, 24 * MIB).every((byte) => byte === "b".charCodeAt(0)));
	await whole.close();
	await host.removeSnapshot(next);
});

t.test("the target of a move is full", async (t) => {
	const host = lab.host();
	await t.rejects(host.migrateStorage("one", { to: small }), { code: "NO_SPACE", message: /goes on where it was/ });
	t.strictSame(readdirSync(small), []);
	await t.resolves(lab.shell("one", fill("c")));
	t.notOk(existsSync(lab.path("one/.springback/move.json")));
	const snapshot = await host.snapshot("one");
	const { image } = await host.openDisk(snapshot, "disk0");
	t.equal((await contentOf(image))[5 * MIB], "c".charCodeAt(0));
	await image.close();
	await host.removeSnapshot(snapshot);
});
