/** `springback verify` on a libvirt host: the guest is a VM of the host's, in a lab that is joined to the host by a bridge. */
import { readFileSync } from "node:fs";
import t from "tap";
import { smallImage } from "../../scripts/lab/guests.js";
import { enterNamespace } from "../../scripts/lab/namespace.js";
import { LibvirtLab } from "../hypervisor/libvirt-lab.js";
import { must, Workspace } from "./workspace.js";

await enterNamespace(import.meta.url);
const lab = await LibvirtLab.start();
const work = new Workspace();
t.teardown(async () => {
	await work.close();
	await lab.close();
});
const ID = "00000000-0000-0000-0000-0000000000dd";

interface Outcome {
	result: string;
	labMode: string;
	host: { type: string; versions: Record<string, string> };
	vms: {
		result: string;
		summary: string;
		addresses: string[];
		console: number;
		screenshots: number;
		readToBoot: number;
		generationId: string | null;
		timeline: { what: string }[];
		tests: { name: string; result: string; message: string }[];
	}[];
}

t.test("boots from its backup beside the original, which goes on", { timeout: 280_000 }, async (t) => {
	await work.init();
	await work.json(["hosts", "add", "kvm", "libvirt", lab.uri]);
	const disk = lab.path("web.qcow2");
	await must("qemu-img", ["convert", "-O", "qcow2", smallImage(), disk]);
	lab.define("web", ID, [{ target: "vda", format: "qcow2", file: disk }], {
		devices:
			'<serial type="pty"/><interface type="user"><mac address="52:54:00:aa:00:01"/><model type="virtio"/></interface>',
		memory: 128,
	});
	await work.json(["backup", "web", "--host", "kvm"]);
	const original = lab.virsh("dumpxml", ID);
	const { code, stdout, stderr } = await work.cli([...["verify", "web", "--host", "kvm", "--role", "web", "--json"]]);
	t.equal(code, 0, stderr);
	const report = JSON.parse(stdout) as Outcome;
	t.match(report, {
		result: "passed",
		labMode: "namespace",
		host: { type: "libvirt", versions: { qemu: /./, libvirt: /./ } },
	});
	const [vm] = report.vms;
	t.match(vm.generationId, /^[0-9a-f-]{36}$/);
	t.ok(vm.console > 0, "its serial console was kept");
	t.ok(vm.screenshots > 0 && vm.readToBoot > 2 ** 20 && vm.addresses.length > 0);
	for (const what of ["publish", "power-on", "first-read", "kernel", "address", "stable"])
		t.ok(
			vm.timeline.some((entry) => entry.what === what),
			what,
		);
	t.equal(lab.virsh("list", "--all", "--name").trim(), "web", "only the original is there");
	t.equal(lab.virsh("dumpxml", ID), original);
	t.same(JSON.parse((await work.cli(["sessions", "--json"])).stdout), []);
	t.notMatch(readFileSync("/proc/net/dev", "utf8"), /sbl|sb-/);
});
