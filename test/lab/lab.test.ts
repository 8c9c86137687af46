/** Labs in network namespaces: addresses, names, and the tester's way to guests that are namespaces themselves. */
import { rmSync } from "node:fs";
import t from "tap";
import { enterNamespace } from "../../scripts/lab/namespace.js";
import { type LabRequest, openLab } from "../../src/lab/index.js";
import { ask, eventually, inventory, ownMachine, sh, WireGuest } from "./wire.js";

await enterNamespace(import.meta.url);
const directory = ownMachine();
t.teardown(() => rmSync(directory, { recursive: true, force: true }));

const MACS = ["52:54:00:00:00:01", "52:54:00:00:00:02", "52:54:00:00:00:03"];
const web: LabRequest["guests"][number] = {
	name: "Web 1",
	nics: [{ mac: MACS[0].toUpperCase(), network: "VM Network" }],
	ports: [{ protocol: "tcp", port: 80 }],
};

t.test("a guest that asks by DHCP is found and reached, finds others by name, and nothing is left", async (t) => {
	const before = inventory(directory);
	const lab = await openLab({
		...{ id: "00000001", directory, host: "qemu" },
		networks: [{ name: "VM Network", gateway: "192.168.7.1/24", names: { "db.example.com": "192.168.7.9" } }],
		guests: [
			web,
			{
				name: "db",
				nics: [{ mac: MACS[1], network: "VM Network" }],
				addresses: { [MACS[1]]: "192.168.7.20" },
				ports: [],
			},
		],
	});
	t.equal(lab.mode, "namespace");
	t.same(await lab.addresses("Web 1"), []);
	t.equal(await lab.reach("Web 1"), undefined);
	t.ok(await lab.reach("db"), "a declared address is one");
	const network = lab.networks("Web 1")["VM Network"];
	t.equal(network, "lab:sb-lab-00000001/br0");

	const guest = new WireGuest("web", MACS[0], network);
	const lease = guest.dhcp();
	t.match(lease, { address: /^192\.168\.7\.(12[89]|1[3-9]\d|2\d\d)$/, router: "192.168.7.1", dns: "192.168.7.1" });
	t.same(await lab.addresses("Web 1"), [lease.address]);
	await guest.serve(80, "web");
	const { host, port } = (await lab.endpoint("Web 1", { protocol: "tcp", port: 80 }))!;
	t.match(host, /^198\.1[89]\./);
	t.equal(port, 80);
	t.equal(await ask(host, port), "web for 192.168.7.1", "it comes from the gateway, so the guest need not know a way");
	t.doesNotThrow(() => sh("busybox", "ping", "-c", "1", "-W", "2", host), "ping");

	const db = new WireGuest("db", MACS[1], network);
	t.equal(db.dhcp().address, "192.168.7.20", "what is declared");
	t.same(await lab.addresses("db"), ["192.168.7.20"]);
	const look = (name: string) => guest.run("busybox", "nslookup", "-type=a", name, "192.168.7.1").output;
	t.match(look("db"), /Address: 192\.168\.7\.20/);
	await eventually(async () => look("web-1").includes(lease.address) || undefined);
	t.match(look("db.example.com"), /Address: 192\.168\.7\.9/);
	t.notMatch(look("example.org"), /^Address: /m);
	t.ok(
		guest.run("busybox", "ping", "-c", "1", "-W", "2", "192.168.7.20").ok,
		"guests of a network speak with each other",
	);

	guest.close();
	db.close();
	await lab.close();
	await lab.close();
	t.same(inventory(directory), before);
});

t.test("guests with fixed addresses of any network are found by what they say of themselves", async (t) => {
	const lab = await openLab({
		...{ id: "00000002", directory, host: "qemu" },
		networks: [{ name: "VM Network" }],
		guests: [web, { ...web, name: "other", nics: [{ mac: MACS[1], network: "VM Network" }] }],
	});
	const network = lab.networks("other")["VM Network"];
	const guest = new WireGuest("web", MACS[0], network);
	guest.address("10.20.30.40/28");
	await guest.serve(80, "web");
	// Any ARP will do, such as a guest's search for its gateway.
	guest.run("busybox", "arping", "-c", "1", "-w", "1", "-I", "eth0", "10.20.30.33");
	t.same(await lab.addresses("Web 1"), ["10.20.30.40"]);
	const host = (await lab.reach("Web 1"))!;
	t.equal(await ask(host, 80), "web for 10.20.30.41");

	const other = new WireGuest("other", MACS[1], network);
	const probe = (address: string) =>
		other.run("busybox", "arping", "-D", "-c", "2", "-w", "2", "-I", "eth0", address).output;
	t.match(probe("10.20.30.40"), /eply from 10\.20\.30\.40/, "another guest's is not free");
	t.notMatch(probe("10.20.30.41"), /eply from/, "one that we took meanwhile is");
	other.address("10.20.30.41/28");
	await other.serve(80, "other");
	other.run("busybox", "ping", "-c", "1", "-W", "1", "10.20.30.40");
	t.same(await lab.addresses("other"), ["10.20.30.41"]);
	t.equal(await ask((await lab.reach("other"))!, 80), "other for 10.20.30.43");
	t.equal(await ask(host, 80), "web for 10.20.30.42", "and it is given back");
	guest.close();
	other.close();
	await lab.close();
});

t.test("a guest with a fixed address that never speaks by itself", async (t) => {
	const networks = [{ name: "VM Network", gateway: "192.168.7.1/24" }];
	const lab = await openLab({ id: "00000006", directory, host: "qemu", networks, guests: [web] });
	const guest = new WireGuest("web", MACS[0], lab.networks("Web 1")["VM Network"]);
	guest.address("192.168.7.50/24");
	t.equal(await eventually(async () => (await lab.addresses("Web 1"))[0], 30_000), "192.168.7.50");
	const before = sh("ip", "-n", "sb-lab-00000006", "neigh").split("\n").length;
	t.ok(before < 100, `${before} neighbours`);
	guest.close();
	await lab.close();
});

t.test("addresses that only the agent knows", async (t) => {
	const lab = await openLab({
		id: "00000003",
		directory,
		host: "qemu",
		networks: [{ name: "VM Network" }],
		guests: [web],
	});
	const guest = new WireGuest("web", MACS[0], lab.networks("Web 1")["VM Network"]);
	guest.address("172.16.5.1/16");
	await guest.serve(80, "web");
	for (const address of ["::1", "169.254.3.3", "127.0.0.1"]) lab.learn("Web 1", address);
	t.same(await lab.addresses("Web 1"), []);
	lab.learn("Web 1", "172.16.5.1");
	t.same(await lab.addresses("Web 1"), ["172.16.5.1"]);
	t.match(await ask((await lab.reach("Web 1"))!, 80), /^web for 172\.16\.5\./);
	guest.close();
	await lab.close();
});

t.test("an id is open once; requests that contradict themselves", async (t) => {
	const request: LabRequest = {
		id: "00000004",
		directory,
		host: "qemu",
		networks: [{ name: "VM Network" }],
		guests: [web],
	};
	const lab = await openLab(request);
	await t.rejects(openLab(request), { code: "BUSY", message: "lab 00000004 is open already: use another id" });
	await lab.reach("Web 1");
	await lab.close();
	const nets = (a: string, b: string) => [
		{ name: "a", gateway: a },
		{ name: "b", gateway: b },
	];
	await t.rejects(openLab({ ...request, guests: [], networks: nets("10.0.0.1/16", "10.0.9.1/24") }), {
		code: "INVALID",
		message: 'networks "a" and "b" share addresses (10.0.0.0/16, 10.0.9.0/24): put them into labs of their own',
	});
	await t.rejects(openLab({ ...request, guests: [], networks: nets("10.0.0.1", "10.0.9.1/24") }), { code: "INVALID" });
	await t.rejects(openLab({ ...request, networks: [] }), { message: /network "VM Network" is not one of the lab's/ });
	await t.rejects(openLab({ ...request, id: "x" }), { code: "INVALID" });
	t.same(inventory(directory).files, []);
});

t.test("many guests at once: each has an address of its own outside", async (t) => {
	const guests = Array.from({ length: 40 }, (_, n) => {
		const mac = `52:54:00:00:01:${n.toString(16).padStart(2, "0")}`;
		return {
			...{ name: `g${n}`, nics: [{ mac, network: "n" }], ports: [] },
			addresses: { [mac]: `10.0.${n}.77` },
		};
	});
	const lab = await openLab({ id: "00000005", directory, host: "qemu", networks: [{ name: "n" }], guests });
	const ways = await Promise.all(guests.map(({ name }) => lab.reach(name)));
	t.equal(new Set(ways).size, 40);
	const guest = new WireGuest("g39", guests[39].nics[0].mac, lab.networks("g39").n);
	guest.address("10.0.39.77/24");
	await guest.serve(80, "last");
	t.match(await ask(ways[39]!, 80), /^last for 10\.0\.39\./);
	guest.close();
	await Promise.all([lab.close(), lab.close()]);
	t.same(inventory(directory).namespaces, []);
});
