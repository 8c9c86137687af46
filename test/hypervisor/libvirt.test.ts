/** The driver `libvirt` against a real libvirtd, with a Debian guest and its agent. */
import { chmodSync, mkdirSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { debianImage } from "../../scripts/lab/guests.js";
import { enterNamespace } from "../../scripts/lab/namespace.js";
import type { Hypervisor } from "../../src/hypervisor/index.js";
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
	{
		devices: '<interface type="user"><mac address="52:54:00:12:34:56"/><model type="virtio"/></interface>',
	},
);

const answers = async (host: Hypervisor, ms: number): Promise<boolean> => {
	for (const until = Date.now() + ms; Date.now() < until; await sleep(200)) if (await host.heartbeat(id)) return true;
	return false;
};

await compliance(t, {
	type: "libvirt",
	uri: lab.uri,
	host: () => lab.host(),
	vm: { id, name: "deb" },
	data: { disk: "vdb", device: "/dev/vdb", size: 32 * MIB },
	storage: lab.path("storage"),
	spare: { source: lab.image("spare.raw", "raw", MIB), format: "raw" },
	bootMs: 300_000,
	more: async (t, host, guest) => {
		await t.test("an agent that hangs while it freezes: bounded, and undone when it wakes up", async (t) => {
			await guest(
				`printf '#!/bin/sh\n[ "$1" = freeze ] && sleep 8\nexit 0\n' >/root/hook && chmod +x /root/hook
				systemd-run -q sh -c 'sleep 1; systemctl stop qemu-guest-agent; exec qemu-ga -F/root/hook'`,
			);
			await sleep(3_000);
			t.ok(await answers(host, 120_000), "it is back, with its hook");
			const began = Date.now();
			const snapshot = await host.snapshot(id, { quiesce: true, freezeMs: 2_000 });
			t.match(snapshot, { consistency: "crash", why: /could not be frozen within 2000 ms/, frozenMs: 0 });
			t.ok(Date.now() - began < 60_000);
			for (let waited = 0; !(await host.heartbeat(id)); waited++) {
				if (waited > 60) throw new Error("the agent does not wake up");
				await sleep(500);
			}
			await host.removeSnapshot(snapshot);
			t.equal(await guest("touch /root/thawed && sync && echo written"), "written");
			t.strictSame(await host.cleanUp(), []);
		});
	},
});
