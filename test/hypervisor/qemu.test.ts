/** The driver `qemu` against real QEMU, with a Debian guest and its agent. */
import { mkdirSync } from "node:fs";
import t from "tap";
import { debianImage } from "../../scripts/lab/guests.js";
import { compliance } from "./compliance.js";
import { MIB } from "./content.js";
import { QemuLab, qemuImg } from "./qemu-lab.js";

const lab = new QemuLab();
t.teardown(() => lab.close());
const id = "22222222-3333-4444-5555-666666666666";

mkdirSync(lab.path("deb"));
mkdirSync(lab.path("storage"));
qemuImg("create", "-q", "-f", "qcow2", "-F", "raw", "-b", debianImage(), lab.path("deb/root.qcow2"));
qemuImg("create", "-q", "-f", "qcow2", lab.path("deb/data.qcow2"), String(32 * MIB));
qemuImg("create", "-q", "-f", "raw", lab.path("spare.raw"), String(MIB));
lab.define(
	"deb",
	id,
	{ disk0: { source: "root.qcow2", format: "qcow2" }, data: { source: "data.qcow2", format: "qcow2" } },
	{},
	{ memoryMiB: 384, nics: [{ mac: "52:54:00:12:34:56", model: "virtio", network: "user", connected: true }] },
);

await compliance(t, {
	type: "qemu",
	uri: lab.uri,
	host: () => lab.host(),
	vm: { id, name: "deb" },
	data: { disk: "data", device: "/dev/vdb", size: 32 * MIB },
	storage: lab.path("storage"),
	spare: { source: lab.path("spare.raw"), format: "raw" },
	bootMs: 300_000,
});
