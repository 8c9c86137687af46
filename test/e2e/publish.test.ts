/** What is published is what was backed up, byte for byte, for every kind of source; and publishing is quick. */
import { statSync } from "node:fs";
import t from "tap";
import { enterNamespace } from "../../scripts/lab/namespace.js";
import { digest, writeDisk } from "./content.js";
import { must, Workspace } from "./workspace.js";

await enterNamespace(import.meta.url);

const KINDS = [
	{ kind: "raw", extension: "raw", options: [] },
	{ kind: "qcow2", extension: "qcow2", options: ["-o", "compression_type=zstd", "-c"] },
	{ kind: "vmdk", extension: "vmdk", options: ["-o", "subformat=monolithicSparse"] },
	{ kind: "stream-optimized vmdk", extension: "vmdk", options: ["-o", "subformat=streamOptimized"] },
];
/** no multiple of 64 KiB; one no multiple of 512 (a raw file only: the others count in sectors) */
const SIZES = [5 * 1024 * 1024 + 3 * 512, 3 * 1024 * 1024 + 77];

for (const { kind, extension, options } of KINDS) {
	for (const size of extension === "raw" ? SIZES : SIZES.slice(0, 1)) {
		t.test(`${kind}, ${size} bytes`, async (t) => {
			const work = new Workspace();
			t.teardown(() => work.close());
			const raw = work.path("content.raw");
			writeDisk(raw, size, size);
			const format = extension === "raw" ? "raw" : extension;
			const source = format === "raw" ? raw : work.path(`source.${extension}`);
			if (format !== "raw") await must("qemu-img", ["convert", "-f", "raw", "-O", format, ...options, raw, source]);
			await work.init();
			await work.backup("vm one", source);
			const exact = format === "raw" ? size : Math.ceil(size / 512) * 512;

			const published = await work.publish(["vm one", "--session", "s"]);
			t.ok(published.ready.files.includes("vm one.vmx"), "the folder has a .vmx");
			t.ok(published.ready.files.includes("disk0.vmdk"), "and a descriptor");
			const out = work.path("out.raw");
			await must("qemu-img", ["convert", "-f", "raw", "-O", "raw", `${published.ready.url}/disk0-flat.vmdk`, out]);
			t.equal(statSync(out).size, Math.ceil(size / 512) * 512, "the flat extent is padded to 512 bytes");
			t.equal(await digest(out, size), await digest(raw), "and equals the source");
			t.equal(await work.stop(published), 0, "ends cleanly");

			const exported = work.path("exported.raw");
			await work.json(["export", "vm one", "--disk", "0", "-o", exported]);
			t.equal(statSync(exported).size, exact, "export has the exact size");
			t.equal(await digest(exported, size), await digest(raw), "and equals the source");
		});
	}
}

t.test("a 64 TiB mostly empty disk", async (t) => {
	const work = new Workspace();
	t.teardown(() => work.close());
	const { spawn } = await import("node:child_process");
	const socket = work.path("nbd.sock");
	// nbdkit's own sparse memory takes 18 s to map 64 TiB; its truncate filter says at once that the rest is a hole.
	const data = ["data", "data=1 2 3 @0x100000000 0x55*70000", "size=8G"];
	const server = spawn("nbdkit", ["-f", "-U", socket, "--filter=truncate", ...data, "truncate=64T"]);
	t.teardown(() => void server.kill());
	const { existsSync } = await import("node:fs");
	while (!existsSync(socket)) await new Promise((resolve) => setTimeout(resolve, 50));
	await work.init();
	const { disks } = await work.backup("huge", `nbd+unix:///?socket=${socket}`);
	t.equal(disks[0].size, 64 * 2 ** 40, "is backed up whole");
	t.ok(disks[0].read < 64 * 2 ** 20, "and only what is there was read");
	writeDisk(work.path("small.raw"), 1, 4 * 2 ** 20);
	await work.backup("small", work.path("small.raw"));
	const published = await work.publish(["huge"]);
	const small = await work.publish(["small"]);
	t.comment(
		`control request to ready: 64 TiB ${published.ready.milliseconds} ms, 4 MiB ${small.ready.milliseconds} ms`,
	);
	const out = await must("qemu-io", [
		"-r",
		"-f",
		"raw",
		"-c",
		"read -P 0x55 4294967296 70000",
		"-c",
		"read -P 0 70000000000000 4096",
		`${published.ready.url}/disk0-flat.vmdk`,
	]);
	t.notMatch(out, /verification failed|error/i, "its data reads back");
});
