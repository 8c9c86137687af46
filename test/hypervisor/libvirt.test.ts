/** The driver `libvirt` against a real libvirtd, with a Debian guest and its agent. */
import { chmodSync, mkdirSync } from "node:fs";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { debianImage } from "../../scripts/lab/guests.js";
import { enterNamespace } from "../../scripts/lab/namespace.js";
import { compliance } from "./compliance.js";
import { MIB } from "./content.js";
import { LibvirtLab } from "./libvirt-lab.js";
import { qemuImg } from "./qemu-lab.js";
import { WindowsAgent } from "./windows-agent.js";

const image = debianImage();
await enterNamespace(import.meta.url);
const lab = await LibvirtLab.start();
t.teardown(() => lab.close());
const id = "22222222-3333-4444-5555-666666666666";

mkdirSync(lab.path("storage"));
mkdirSync(lab.path("bridge"));
// For QEMU's user, who makes a socket there.
chmodSync(lab.path("bridge"), 0o777);
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
		devices: `<interface type="user"><mac address="52:54:00:12:34:56"/><model type="virtio"/></interface>
		<serial type="null"><target port="0"/></serial>
		<serial type="unix"><source mode="bind" path="${lab.path("bridge", "bridge.sock")}"/><target port="1"/></serial>`,
	},
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
	more: async (t, host, guest) => {
		await t.test("Windows: application, when all VSS writers are stable; Linux: file systems", async (t) => {
			const linux = await host.snapshot(id, { quiesce: true });
			t.match(linux, { consistency: "filesystem", why: null });
			await host.removeSnapshot(linux);
			// The agent's port leads through the guest to a stand-in for the agent of Windows, until it says "bye".
			await guest(
				`systemd-run -q sh -c 'sleep 1; systemctl stop qemu-guest-agent; exec 3<>/dev/virtio-ports/org.qemu.guest_agent.0 4<>/dev/ttyS1
				stty raw -echo <&4; cat <&3 >&4 & while IFS= read -r line <&4 && [ "$line" != bye ]; do echo "$line" >&3; done
				kill $!; exec 3>&- 4>&-; systemctl start qemu-guest-agent'`,
			);
			await sleep(3_000);
			const windows = new WindowsAgent();
			const socket = connect(lab.path("bridge", "bridge.sock"));
			windows.serve(socket);
			while (!(await host.heartbeat(id))) await sleep(200);
			const good = await host.snapshot(id, { quiesce: true });
			t.match(good, { consistency: "application", why: null });
			t.strictSame([windows.typeAtFreeze, windows.type, windows.frozen], [5, 1, false]);
			await host.removeSnapshot(good);
			windows.writersAfter = [{ name: "SqlServerWriter", states: [8], error: "Non-retryable error" }];
			const bad = await host.snapshot(id, { quiesce: true });
			t.match(bad, { consistency: "filesystem", why: /SqlServerWriter is in state 8 \(Non-retryable error\)/ });
			await host.removeSnapshot(bad);
			socket.write("bye\n");
			for (let waited = 0; !(await guest("echo linux").catch(() => "")); waited++) {
				if (waited > 100) throw new Error("the guest's own agent does not come back");
				await sleep(300);
			}
			windows.close();
		});
		await t.test("an agent that hangs while it freezes: bounded, and undone when it wakes up", async (t) => {
			await guest(
				`printf '#!/bin/sh\n[ "$1" = freeze ] && sleep 8\nexit 0\n' >/root/hook && chmod +x /root/hook
				systemd-run -q sh -c 'sleep 1; systemctl stop qemu-guest-agent; exec qemu-ga -F/root/hook'`,
			);
			await sleep(3_000);
			while (!(await host.heartbeat(id))) await sleep(200);
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
