/** Disks in the places that their configuration says, whatever order they boot in: as a guest sees them. */
import { readFileSync, writeFileSync } from "node:fs";
import t from "tap";
import { Qmp } from "../../src/hypervisor/qemu/qmp.js";
import { MIB } from "./content.js";
import { QemuLab } from "./qemu-lab.js";

const lab = new QemuLab();
t.teardown(() => lab.close());

const place = (name: string, bus: string, controller: number, unit: number) => ({ name, bus, controller, unit });

t.test("namespaces of NVMe, ports beyond one AHCI controller, virtio by unit", async (t) => {
	const disks = [
		place("disk0", "virtio", 0, 1),
		place("disk1", "nvme", 1, 0),
		place("disk2", "nvme", 0, 2),
		place("disk3", "virtio", 0, 0),
		place("disk4", "nvme", 0, 0),
		place("disk5", "sata", 0, 7),
		place("disk6", "sata", 0, 1),
	];
	lab.tiny("vm", Array(disks.length).fill({ format: "raw", size: MIB }), "44444444-5555-6666-7777-888888888888");
	for (const { name } of disks) writeFileSync(lab.path("vm", `${name}.raw`), Buffer.alloc(MIB, `${name}\n`));
	const file = lab.path("vm/vm.json");
	const definition = JSON.parse(readFileSync(file, "utf8"));
	writeFileSync(file, JSON.stringify({ ...definition, config: { ...definition.config, disks } }));
	const host = lab.host();
	await host.power("vm", "on");
	const lines = await lab.shell(
		"vm",
		'for d in /sys/block/nvme* /sys/block/vd*; do echo "$(readlink -f $d | grep -o "0000:00:[0-9a-f.]*") $(cat $d/nsid 2>/dev/null) $(head -n 1 /dev/$(basename $d))"; done | sort',
		120_000,
	);
	t.strictSame(
		lines
			.trim()
			.split("\n")
			.map((line) => line.replace(/^\S+ /, "")),
		["1 disk4", "3 disk2", "1 disk1", " disk3", " disk0"],
		"in the order of the bus",
	);
	const qmp = (await Qmp.connect(lab.path("vm/qmp.sock")))!;
	const bus = async (disk: number) =>
		(await qmp.execute<string>("qom-get", { path: `/machine/peripheral/disk-${disk}-device`, property: "parent_bus" }))
			.split("/")
			.slice(-2)
			.join("/");
	t.strictSame(await Promise.all([bus(5), bus(6)]), ["sata-0-1/sata-0-1.1", "sata-0/sata-0.1"]);
	qmp.close();
	await host.power("vm", "off");
});
