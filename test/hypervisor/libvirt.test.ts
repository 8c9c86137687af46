/** The driver `libvirt` against a real libvirtd, with a Debian guest and its agent. */
import { chmodSync, mkdirSync } from "node:fs";
import t from "tap";
import { debianImage } from "../../scripts/lab/guests.js";
import { enterNamespace } from "../../scripts/lab/namespace.js";
import { compliance } from "./compliance.js";
import { MIB } from "./content.js";
import { LibvirtLab } from "./libvirt-lab.js";
import { qemuImg } from "./qemu-lab.js";

const image = debianImage();
await enterNamespace(import.meta.url);
const lab = await LibvirtLab.start();
t.teardown(() => lab.close());
const id = "22222222-3333-4444-5555-666666666666";

mkdirSync(lab.path("storage"));
chmodSync(lab.path("storage"), 0o755);
qemuImg("convert", "-O", "qcow2", image, lab.path("root.qcow2"));
lab.define(
	"deb",
	id,
	[
		{ target: "vda", format: "qcow2", file: lab.path("root.qcow2") },
		{ target: "vdb", format: "qcow2", file: lab.image("data.qcow2", "qcow2", 32 * MIB) },
	],
	{ devices: '<interface type="user"><mac address="52:54:00:12:34:56"/><model type="virtio"/></interface>' },
);

await compliance(t, {
	type: "libvirt",
	uri: lab.uri,
	host: () => lab.host(),
	vm: { id, name: "deb" },
	data: { disk: "vdb", device: "/dev/vdb", size: 32 * MIB },
	storage: lab.path("storage"),
	spare: { source: lab.image("spare.raw", "raw", MIB), format: "raw" },
	bootMs: 300_000,
});
