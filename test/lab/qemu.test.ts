/** Labs with real guests on the driver `qemu`: in a network namespace, and without privileges. */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import t from "tap";
import { tinyGuest } from "../../scripts/lab/guests.js";
import { enterNamespace } from "../../scripts/lab/namespace.js";
import { type Endpoint, type Lab, openLab } from "../../src/lab/index.js";
import { QemuLab, TINY_APPEND, tinyInitrd } from "../hypervisor/qemu-lab.js";
import { ask, eventually, inventory, ownMachine, sh } from "./wire.js";

await enterNamespace(import.meta.url);
const directory = ownMachine();
const machine = new QemuLab();
t.teardown(async () => {
	await machine.close();
	rmSync(directory, { recursive: true, force: true });
});

const MACS = { one: "52:54:00:00:00:01", two: "52:54:00:00:00:02" };
const IDS = { one: "11111111-0000-4000-8000-000000000001", two: "11111111-0000-4000-8000-000000000002" };
type Name = keyof typeof MACS;

/** A tiny VM with a card in the lab, as `register` would have made it. */
const vm = (lab: Lab, name: Name): void => {
	mkdirSync(machine.path(name), { recursive: true });
	writeFileSync(machine.path(name, "initrd"), tinyInitrd());
	const network = lab.networks(name)["VM Network"];
	machine.define(
		name,
		IDS[name],
		{},
		{ kernel: { image: tinyGuest().kernel, initrd: "initrd", append: TINY_APPEND } },
		{ memoryMiB: 160, nics: [{ mac: MACS[name], model: "virtio", network, connected: true }] },
	);
};

const request = (id: string, mode: "namespace" | "user") => ({
	...{ id, directory, host: "qemu" as const, mode },
	networks: [{ name: "VM Network", gateway: "192.168.7.1/24" }],
	guests: (["one", "two"] as const).map((name) => ({
		name,
		nics: [{ mac: MACS[name], network: "VM Network" }],
		addresses: name === "one" ? { [MACS.one]: "192.168.7.40" } : undefined,
		ports: [
			{ protocol: "tcp" as const, port: 80 },
			{ protocol: "udp" as const, port: 53 },
		],
	})),
});

/** In the guest: an address by DHCP, and an answer on port 80. */
const SERVE = `ip link set eth0 up; printf '#!/bin/sh\\n[ $1 != bound ] || ip addr add $ip/24 dev eth0\\n' >/dhcp; chmod 755 /dhcp; udhcpc -q -f -n -i eth0 -s /dhcp 2>&1; (nc -ll -p 80 -e hostname >/dev/null 2>&1 &) ; ip -4 -o addr show eth0`;

/** Its server may still be starting. */
const answer = ({ host, port }: Endpoint): Promise<string> =>
	eventually(async () => (await ask(host, port).catch(() => "")) || undefined);

t.test("two guests in a namespace: DHCP, each other, the tester; their cards go with the lab", async (t) => {
	const before = inventory(directory);
	const lab = await openLab(request("0000001a", "namespace"));
	const host = machine.host();
	for (const name of ["one", "two"] as const) {
		vm(lab, name);
		await host.power(name, "on");
	}
	for (const name of ["one", "two"] as const) await machine.shell(name, `hostname ${name}`);
	t.match(await machine.shell("one", SERVE), "192.168.7.40/24", "the declared address");
	t.match(await machine.shell("two", SERVE), /192\.168\.7\.(12[89]|1[3-9]\d|2\d\d)\/24/);
	t.same(await lab.addresses("one"), ["192.168.7.40"]);
	for (const name of ["one", "two"] as const) {
		const way = (await lab.endpoint(name, { protocol: "tcp", port: 80 }))!;
		t.equal((await answer(way)).trim(), name);
	}
	t.match(await machine.shell("two", "nc -w 3 192.168.7.40 80 </dev/null"), "one");
	const route = "ip route add 198.18.0.0/15 via 192.168.7.1; ip route add default via 192.168.7.1";
	t.notMatch(
		await machine.shell(
			"two",
			`${route}; for one in 192.168.7.1 ${(await lab.reach("two"))!.replace(/\d+$/, "1")} 203.0.113.1; do ping -c 1 -W 1 $one && echo REACHED; done; true`,
		),
		/REACHED/,
	);

	await host.power("one", "off");
	await host.power("one", "on");
	await machine.shell("one", `hostname again; ${SERVE}`);
	const way = (await lab.endpoint("one", { protocol: "tcp", port: 80 }))!;
	t.equal((await answer(way)).trim(), "again", "after it was off");
	for (const name of ["one", "two"] as const) await host.power(name, "off");
	await lab.close();
	t.same({ ...inventory(directory), processes: 0 }, { ...before, processes: 0 });
	t.same(inventory(directory).processes, before.processes);
	await t.rejects(host.power("one", "on"), { code: "FAILED", message: /^VM one: no card in lab sb-lab-0000001a: / });
});

t.test("without privileges", async (t) => {
	const lab = await openLab(request("0000001b", "user"));
	t.equal(lab.mode, "user");
	const host = machine.host();
	for (const name of ["one", "two"] as const) {
		vm(lab, name);
		await host.power(name, "on");
		await machine.shell(name, `hostname ${name}`);
	}
	t.match(await machine.shell("one", SERVE), "192.168.7.40/24");
	t.match(await machine.shell("two", SERVE), "192.168.7.128/24");
	for (const name of ["one", "two"] as const) {
		const way = (await lab.endpoint(name, { protocol: "tcp", port: 80 }))!;
		t.equal(way.host, "127.0.0.1");
		t.equal((await answer(way)).trim(), name);
		t.equal(await lab.reach(name), undefined);
		t.equal(await lab.endpoint(name, { protocol: "tcp", port: 81 }), undefined, "not asked for");
	}
	sh("ip", "addr", "add", "203.0.113.1/32", "dev", "lo");
	t.notMatch(
		await machine.shell(
			"one",
			"ip route add default via 192.168.7.1; for one in 203.0.113.1 192.168.7.128; do ping -c 1 -W 1 $one && echo REACHED; done; nc -w 2 203.0.113.1 80 </dev/null && echo REACHED; true",
		),
		/REACHED/,
	);
	for (const name of ["one", "two"] as const) await host.power(name, "off");
	await lab.close();
	t.same(inventory(directory).files, []);
});

t.test("a disk that no guest in a lab can reach is refused before it is started", async (t) => {
	const lab = await openLab(request("0000001c", "namespace"));
	const disk = { bus: "virtio" as const, controller: 0, unit: 0, name: "disk0" };
	vm(lab, "one");
	const { config } = await machine.host().readConfig("one");
	await t.rejects(
		machine.host().register({
			...{ name: "three", session: "", networks: lab.networks("one") },
			config: {
				...config,
				uuid: null,
				disks: [{ ...disk, path: null, size: null } as never],
				nics: [{ ...config.nics[0], network: "VM Network" }],
			},
			disks: [{ name: "disk0", source: "nbd://127.0.0.1:10809/x", format: "raw" }],
		}),
		{
			code: "UNSUPPORTED",
			message:
				"disk disk0: nbd://127.0.0.1:10809/x is out of reach in lab sb-lab-0000001c: serve it over a UNIX socket (nbd+unix://)",
		},
	);
	const id = await machine.host().register({
		...{ name: "four", session: "", networks: { "": "lab:x/br0" }, disks: [] },
		config: { ...config, uuid: null, disks: [], nics: [{ ...config.nics[0], network: null }] },
	});
	const [card] = (await machine.host().readConfig(id)).config.nics;
	t.match(card, { network: "lab:x/br0", connected: true }, "a card whose network the source does not tell");
	await lab.close();
});
