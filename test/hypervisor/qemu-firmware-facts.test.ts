/** What a machine has of firmware and TPMs, what is refused by name, and what is left when a start fails or dies. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import t from "tap";
import { faults } from "../../native/index.js";
import { TPM_STATE } from "../../src/hypervisor/contract.js";
import { findFirmware, firmwareProblem } from "../../src/hypervisor/qemu/firmware.js";
import { vmConfigFrom } from "../../src/vm/index.js";
import { QemuLab } from "./qemu-lab.js";

const lab = new QemuLab();
t.teardown(() => lab.close());
const uuid = (n: number): string => `00000000-0000-0000-0000-00000000001${n}`;
const uefi = (more: object = {}) => vmConfigFrom({ version: 1, firmware: "uefi", secureBoot: true, ...more })!;

t.test("firmware by descriptors, and without", async (t) => {
	for (const folder of ["etc", "usr"]) mkdirSync(lab.path(folder));
	for (const name of ["code", "vars", "vars.ms"]) writeFileSync(lab.path(name), name);
	const describe = (path: string, template: string, features: string[], more: object = {}) =>
		writeFileSync(
			lab.path(path),
			JSON.stringify({
				"interface-types": ["uefi"],
				mapping: {
					device: "flash",
					executable: { filename: lab.path("code"), format: "raw" },
					"nvram-template": { filename: lab.path(template), format: "raw" },
				},
				targets: [{ architecture: "x86_64", machines: ["pc-i440fx-*", "pc-q35-*"] }],
				features,
				...more,
			}),
		);
	describe("usr/50-secure.json", "vars", ["secure-boot", "requires-smm"]);
	describe("usr/60-keys.json", "vars.ms", ["secure-boot", "requires-smm", "enrolled-keys"]);
	describe("usr/40-masked.json", "vars", []);
	writeFileSync(lab.path("etc/40-masked.json"), "");
	describe("usr/70-arm.json", "vars", [], { targets: [{ architecture: "aarch64", machines: ["virt-*"] }] });
	describe("usr/71-bios.json", "vars", [], { "interface-types": ["bios"] });
	describe("usr/72-gone.json", "no-such-file", []);
	writeFileSync(lab.path("usr/73-damaged.json"), "{");
	const known: [string, string, boolean][] = [[lab.path("code"), lab.path("vars"), false]];
	const found = findFirmware([lab.path("etc"), lab.path("usr"), lab.path("none")], known);
	const code = lab.path("code");
	t.strictSame(found, [
		{ code, template: lab.path("vars.ms"), secure: true, size: 7 },
		{ code, template: lab.path("vars"), secure: true, size: 4 },
		{ code, template: lab.path("vars"), secure: false, size: 4 },
	]);
	t.equal(firmwareProblem(uefi(), found), undefined);
	t.match(firmwareProblem(uefi(), [found[2]]), /UEFI and Secure Boot, and there is no such firmware here: .*ovmf/);
	t.match(firmwareProblem(uefi({ secureBoot: false }), []), /boots with UEFI, and there is no such firmware/);
	t.equal(firmwareProblem(uefi({ firmware: "bios" }), []), undefined);
});

t.test("what QEMU cannot give is refused by name, before there is anything", async (t) => {
	const host = lab.host();
	const disk = (bus: string) => ({ bus, controller: 0, unit: 0, name: "d" });
	const controllers = [{ bus: "scsi", number: 0, model: "pvscsi" }];
	const refused: [object, RegExp][] = [
		[{ disks: [disk("scsi")], controllers }, /boots with UEFI from a pvscsi controller.*virtio-scsi, SATA or NVMe/],
		[{ disks: [disk("virtio"), disk("ide")] }, /Secure Boot and has IDE disks/],
	];
	for (const [more, message] of refused) {
		const config = uefi(more);
		t.match(await host.problems(config), [message]);
		const request = { name: "refused", config, disks: [], networks: {}, session: "s" };
		await t.rejects(host.register(request), { code: "UNSUPPORTED", message });
		t.notOk(existsSync(lab.path("refused/vm.json")));
	}
	t.strictSame(await host.problems(uefi({ disks: [disk("scsi")], tpm: true })), []);
	t.match(
		(await host.check()).filter(({ what }) => ["uefi", "tpm"].includes(what)),
		[
			{ ok: true, message: /OVMF_CODE_4M\.fd, .*OVMF_CODE_4M/ },
			{ ok: true, message: "swtpm is installed" },
		],
	);
});

t.test("NVRAM and TPM state that are missing, or of something else", async (t) => {
	const host = lab.host();
	const request = {
		name: "made",
		config: { ...uefi({ tpm: true, memoryMiB: 128 }), nvram: "x.nvram", uuid: uuid(1) },
		disks: [],
		networks: {},
		session: "s",
	};
	const nvram = { name: "x.nvram", content: Buffer.alloc(12_345) };
	await host.register({ ...request, files: [nvram, { name: TPM_STATE, content: Buffer.from("garbage") }] });
	t.match((await host.readConfig("made")).config.notes, [/NVRAM of 12345 bytes goes with no firmware here/]);
	await t.rejects(host.power("made", "on"), {
		code: "FAILED",
		message: /its TPM does not start from .*\/made\/tpm: .*magic/,
	});
	t.notOk(existsSync(lab.path("made/.springback/tpm.pid")));
	await host.unregister("made");
	t.notOk(existsSync(lab.path("made")), "NVRAM and TPM go with it");
	await host.register(request);
	t.match((await host.readConfig("made")).config.notes, [/its TPM's state is not in the backup/, /its NVRAM is not/]);
	await host.power("made", "on");
	t.match(
		(await host.readConfig("made")).files,
		[{ name: "nvram.fd" }, { name: TPM_STATE }],
		"new ones, while it runs",
	);
	await host.power("made", "off");
	writeFileSync(lab.path("made/nvram.fd"), "short");
	await t.rejects(host.power("made", "on"), { code: "UNSUPPORTED", message: /nvram\.fd has 5 bytes, and no firmware/ });
	await host.unregister("made");
});

t.test("a registration that died leaves nothing that another VM could take for its own", async (t) => {
	const config = { ...uefi({ tpm: true, memoryMiB: 128 }), nvram: "nvram", uuid: uuid(6) };
	const request = { name: "half", config, disks: [], networks: {}, session: "s" };
	const { size } = findFirmware().find(({ secure }) => secure)!;
	const files = [
		{ name: TPM_STATE, content: Buffer.from("of another") },
		{ name: "nvram", content: Buffer.alloc(size) },
	];
	mkdirSync(lab.path("half/vm.json"), { recursive: true });
	await t.rejects(
		lab.host().register({ ...request, files }),
		{ code: "STATE" },
		"where there is one, it touches nothing",
	);
	rmdirSync(lab.path("half/vm.json"));
	mkdirSync(lab.path("half/tpm"));
	writeFileSync(lab.path("half/tpm/tpm2-00.permall"), "of an earlier one");
	// The TPM comes first; a disk that is full at the NVRAM is as good as a death there.
	faults.set([{ op: "pwrite", path: "nvram.fd", error: "ENOSPC" }]);
	await t.rejects(lab.host().register({ ...request, files }));
	faults.clear();
	t.equal(readFileSync(lab.path("half/tpm/tpm2-00.permall"), "latin1"), "of another");
	t.strictSame(await lab.host().cleanUp(), ["VM half: what is left of it without its definition"]);
	t.notOk(existsSync(lab.path("half")));
	await lab.host().register({ ...request, files });
	await lab.host().unregister("half");
	t.strictSame(await lab.host().cleanUp(), []);
});

t.test("a TPM whose start died before QEMU came is found and ended", async (t) => {
	lab.define("died", uuid(2), {}, {}, { tpm: true });
	mkdirSync(lab.path("died/.springback"));
	const module = (path: string) =>
		JSON.stringify(fileURLToPath(new URL(`../../src/hypervisor/qemu/${path}`, import.meta.url)));
	const script = `const { startTpm } = await import(${module("tpm.js")});
		const { vmIn } = await import(${module("vm.js")});
		const { existsSync } = await import("node:fs");
		const { places } = vmIn(${JSON.stringify(lab.folder)}, "died");
		startTpm(places);
		setInterval(() => existsSync(places.tpmPid) && console.log("started"), 20);`;
	const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
		env: { ...process.env, NODE_OPTIONS: "" },
		stdio: ["ignore", "pipe", "inherit"],
	});
	await Promise.race([once(child.stdout, "data"), once(child, "exit")]);
	child.kill("SIGKILL");
	await once(child, "exit");
	const pid = readFileSync(lab.path("died/.springback/tpm.pid"), "latin1");
	t.match(readFileSync(`/proc/${pid.trim()}/cmdline`, "latin1"), /swtpm/, "it outlives who started it");
	lab.define("beside", uuid(9), {});
	t.strictSame(await lab.host().cleanUp(uuid(9)), [], "that VM alone is looked at");
	t.strictSame(await lab.host().cleanUp(uuid(2)), ["VM died: the process of its TPM"]);
	t.strictSame(await lab.host().cleanUp(), []);
	await lab.host().power("died", "on");
	await lab.host().power("died", "off");
});

t.test("a VM that is made sees a generation of its own", async (t) => {
	const host = lab.host();
	lab.tiny("first", [{ format: "raw", size: 2 ** 20 }], uuid(3));
	const { config } = await host.readConfig("first");
	const disks = [{ name: "disk0", source: lab.path("first/disk0.raw"), format: "raw" as const }];
	await host.register({ name: "again", config: { ...config, uuid: uuid(4) }, disks, networks: {}, session: "s" });
	await host.register({ name: "third", config: { ...config, uuid: uuid(5) }, disks, networks: {}, session: "s" });
	const definition = (name: string) => JSON.parse(readFileSync(lab.path(name, "vm.json"), "utf8"));
	const { kernel, acceleration } = definition("first");
	const { generation } = definition("again");
	t.match(generation, /^[0-9a-f]{8}-/);
	t.not(generation, definition("third").generation);
	// The tiny guest boots a kernel of its host's.
	const initrd = lab.path("first/initrd");
	writeFileSync(
		lab.path("again/vm.json"),
		JSON.stringify({ ...definition("again"), acceleration, kernel: { ...kernel, initrd } }),
	);
	await host.power("again", "on");
	const tables = await lab.shell("again", `cat /sys/firmware/acpi/tables/SSDT* | hexdump -v -e '1/1 "%02x"'`, 120_000);
	// DefinitionBlock's Name (VGIA, DWord): where firmware placed the page (QEMU, docs/specs/vmgenid).
	const [, address] = /56474941(?:0c)([0-9a-f]{8})/.exec(tables)!;
	const at = Buffer.from(address, "hex").readUInt32LE() + 40;
	const words = await lab.shell("again", [0, 4, 8, 12].map((offset) => `devmem ${at + offset} 32`).join("; "));
	const bytes = Buffer.alloc(16);
	for (const [n, word] of words.trim().split("\n").entries()) bytes.writeUInt32LE(Number(word), n * 4);
	t.equal(guid(bytes), generation, "as the guest reads it");
	await host.power("again", "off");
});

/** The first three fields are little-endian. */
const guid = (bytes: Buffer): string => {
	const fields = [bytes.subarray(0, 4).reverse(), bytes.subarray(4, 6).reverse(), bytes.subarray(6, 8).reverse()];
	return [...fields, bytes.subarray(8, 10), bytes.subarray(10)].map((field) => field.toString("hex")).join("-");
};
