/** A lab with a real guest of real libvirt, whose QEMU runs outside of the lab's namespace. */
import { mkdirSync, readFileSync } from "node:fs";
import t from "tap";
import { enterNamespace } from "../../scripts/lab/namespace.js";
import { openLab } from "../../src/lab/index.js";
import { LibvirtLab } from "../hypervisor/libvirt-lab.js";
import { ask, eventually, inventory, sh } from "./wire.js";

await enterNamespace(import.meta.url);
const machine = await LibvirtLab.start();
mkdirSync("/run/netns");
t.teardown(() => machine.close());

const MAC = "52:54:00:00:00:01";
/** In the guest: an address by DHCP, and an answer on port 80. */
const SERVE = `ip link set eth0 up; printf '#!/bin/sh\\n[ $1 != bound ] || { ip addr add $ip/24 dev eth0; ip route add default via $router; }\\n' >/dhcp; chmod 755 /dhcp; udhcpc -q -f -n -i eth0 -s /dhcp 2>&1; hostname web; (nc -ll -p 80 -e hostname >/dev/null 2>&1 &) ; ip -4 -o addr show eth0`;

t.test("a registered guest asks by DHCP, is reached, and does not reach this machine", async (t) => {
	const directory = machine.path("labs");
	mkdirSync(directory);
	const host = machine.host();
	const card = `<interface type="bridge"><mac address="${MAC}"/><source bridge="production"/><model type="virtio"/></interface>`;
	machine.tiny("web", "00000000-0000-0000-0000-000000000001", [], { devices: card });
	const { config, files } = await host.readConfig("web");
	const before = inventory(directory);
	const lab = await openLab({
		...{ id: "0000002a", directory, host: "libvirt" },
		networks: [{ name: "production", gateway: "192.168.7.1/24" }],
		guests: [{ name: "web", nics: [{ mac: MAC, network: "production" }], ports: [{ protocol: "tcp", port: 80 }] }],
	});
	t.same(lab.networks("web"), { production: "bridge:sbb0-0000002a" });
	const id = await host.register({
		...{ name: "web-lab", session: "", disks: [], networks: lab.networks("web"), files },
		config: { ...config, uuid: "00000000-0000-0000-0000-000000000002" },
	});
	await host.power(id, "on");
	// This machine has an address in the guest's network.
	sh("ip", "addr", "add", "192.168.7.5/24", "dev", "lo");
	t.match(await machine.shell("web", SERVE), /192\.168\.7\.(12[89]|1[3-9]\d|2\d\d)\/24/);
	const [address] = await lab.addresses("web");
	t.match(address, /^192\.168\.7\./);
	const way = (await lab.endpoint("web", { protocol: "tcp", port: 80 }))!;
	t.equal((await eventually(async () => (await ask(way.host, way.port).catch(() => "")) || undefined)).trim(), "web");
	const targets = ["192.168.7.5", way.host.replace(/\d+$/, "1"), "192.168.7.1"];
	t.notMatch(
		await machine.shell(
			"web",
			`for one in ${targets.join(" ")}; do ping -c 1 -W 1 $one && echo REACHED; arping -c 1 -w 1 -I eth0 192.168.7.5; done; cat /proc/net/arp`,
		),
		/REACHED|eply from/,
	);
	t.notMatch(readFileSync("/proc/net/arp", "utf8"), address);
	sh("ip", "addr", "del", "192.168.7.5/24", "dev", "lo");
	await host.power(id, "off");
	await host.unregister(id);
	await lab.close();
	t.same(inventory(directory), before);
});
