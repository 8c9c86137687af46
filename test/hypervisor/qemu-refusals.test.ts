/** Hosts and VMs that cannot be used: each is named, with the remedy, and the others go on. */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import t from "tap";
import { openHost } from "../../src/hypervisor/index.js";
import { vmArguments } from "../../src/hypervisor/qemu/command-line.js";
import { vmIn } from "../../src/hypervisor/qemu/vm.js";
import { QemuLab, qemuImg } from "./qemu-lab.js";

const lab = new QemuLab();
t.teardown(() => lab.close());
const uuid = (n: number): string => `00000000-0000-0000-0000-00000000000${n}`;

t.test("URIs", async (t) => {
	await t.rejects(openHost("esx", "x"), { code: "INVALID", message: /not supported: use qemu/ });
	for (const uri of ["qemu://host/x", "qemu:/x", "file:///x", "qemu:///x?y", ""])
		await t.rejects(openHost("qemu", uri), { code: "INVALID", message: /qemu:\/\/\/DIR/ });
	const missing = await openHost("qemu", "qemu:///no/such/folder");
	await t.rejects(missing.list(), { code: "NOT_FOUND", message: /no such folder: check the host's URI/ });
	t.match((await missing.check())[0], { what: "folder", ok: false });
});

t.test("damaged definitions are listed with the reason; their neighbours work", async (t) => {
	const broken: [string, string, RegExp][] = [
		["b1", "{", /is not JSON/],
		["b2", "[]", /version 1/],
		["b3", '{"version":2,"config":{}}', /version 1/],
		["b4", '{"version":1,"config":{"version":1,"uuid":"X"},"disks":{}}', /must be a UUID/],
		["b5", `{"version":1,"config":{"version":1,"uuid":"${uuid(5)}"},"disks":{"a/b":{}}}`, /a name has letters/],
		[
			"b6",
			`{"version":1,"config":{"version":1,"uuid":"${uuid(6)}"},"disks":{"d":{"source":"x","format":"vmdk"}}}`,
			/raw or qcow2/,
		],
		[
			"b7",
			`{"version":1,"config":{"version":1,"uuid":"${uuid(7)}","disks":[{"bus":"virtio","name":"d"}]},"disks":{}}`,
			/no entry in "disks"/,
		],
	];
	for (const [name, text] of broken) {
		mkdirSync(lab.path(name));
		writeFileSync(lab.path(name, "vm.json"), text);
	}
	lab.define("good", uuid(1), {});
	mkdirSync(lab.path("no-vm"));
	const host = lab.host();
	const vms = await host.list();
	t.strictSame(
		vms.map(({ name }) => name),
		[...broken.map(([name]) => name), "good"],
	);
	for (const [n, [name, , words]] of broken.entries()) {
		t.match(vms[n].problem, words, name);
		await t.rejects(host.readConfig(name), { code: "INVALID", message: words });
	}
	t.match((await host.check()).at(-1), { what: "vms", ok: true, message: /^8 VMs; .*b1\/vm\.json: is not JSON; / });
	for (const [name] of broken) rmSync(lab.path(name), { recursive: true });
});

t.test("two VMs of one name are told apart by id", async (t) => {
	lab.define("x1", uuid(2), {}, {}, { name: "same" });
	lab.define("x2", uuid(3), {}, {}, { name: "same" });
	const host = lab.host();
	await t.rejects(host.readConfig("same"), {
		code: "AMBIGUOUS",
		message: new RegExp(`${uuid(2)} \\(x1\\), ${uuid(3)} \\(x2\\)`),
	});
	t.equal((await host.readConfig(uuid(3))).config.uuid, uuid(3));
	t.equal((await host.readConfig("x1")).config.uuid, uuid(2), "a folder's name is never shared");
});

t.test("what is not protected says why", async (t) => {
	qemuImg("create", "-q", "-f", "raw", lab.path("raw.img"), "1M");
	lab.define(
		"mixed",
		uuid(4),
		{
			far: { source: "nfs://127.0.0.1/springback/s/disk0-flat.vmdk", format: "raw" },
			near: { source: lab.path("raw.img"), format: "raw" },
		},
		{},
		{
			disks: [
				{ bus: "virtio", controller: 0, unit: 0, name: "far" },
				{ bus: "virtio", controller: 0, unit: 1, name: "near", unprotected: "independent" },
			],
		},
	);
	t.match((await lab.host().list()).find(({ name }) => name === "mixed")?.disks, [
		{ name: "far", protected: true, tracking: "running", why: /another server/ },
		{ name: "near", size: 2 ** 20, protected: false, tracking: "none", why: /independent/ },
	]);
});

t.test("monitors that are not QEMU's, or are kept by somebody", async (t) => {
	lab.define("odd", uuid(8), {});
	const server = createServer((socket) => socket.end("SSH-2.0-OpenSSH\r\n"));
	await new Promise<void>((resolve) => server.listen(lab.path("odd/qmp.sock"), resolve));
	const vms = await lab.host().list();
	t.match(vms.find(({ name }) => name === "odd")?.problem, /not JSON|hung up|does not answer/);
	t.equal(vms.find(({ name }) => name === "good")?.problem, null);
	await new Promise((resolve) => server.close(resolve));
	rmSync(lab.path("odd"), { recursive: true });
});

t.test("paths that QEMU could misread", async (t) => {
	lab.define("co,mma", "00000000-0000-0000-0000-0000000000aa", { d: { source: "a,b=c.raw", format: "raw" } });
	qemuImg("create", "-q", "-f", "raw", lab.path("co,mma/a,b=c.raw"), "1M");
	await lab.host().power("co,mma", "on");
	t.equal((await lab.host().list()).find(({ name }) => name === "co,mma")?.state, "running");
	await lab.host().power("co,mma", "off");
	const deep = "d".repeat(100);
	lab.define(deep, "00000000-0000-0000-0000-0000000000bb", {});
	await t.rejects(lab.host().power(deep, "on"), { code: "INVALID", message: /107 bytes at most/ });
	const { places, definition } = vmIn(lab.folder, "mixed");
	t.match(
		vmArguments(places, definition, "tcg").join(" "),
		'"driver":"nfs","server":{"type":"inet","host":"127.0.0.1"},"path":"/springback/s/disk0-flat.vmdk"',
	);
});
