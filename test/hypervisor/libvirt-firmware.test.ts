/** UEFI and a software TPM under libvirt: what they keep is in the backup, and comes back. */
import { existsSync } from "node:fs";
import t from "tap";
import { enterNamespace } from "../../scripts/lab/namespace.js";
import { MIB } from "./content.js";
import { LibvirtLab } from "./libvirt-lab.js";

await enterNamespace(import.meta.url);
const lab = await LibvirtLab.start();
t.teardown(() => lab.close());

t.test("UEFI and a TPM come back as they were", async (t) => {
	const host = lab.host();
	const uuid = "00000000-0000-0000-0000-000000000002";
	lab.tiny("uefi", uuid, [{ target: "vda", format: "qcow2", file: lab.image("u.qcow2", "qcow2", MIB) }], {
		uefi: true,
		devices: '<tpm model="tpm-crb"><backend type="emulator" version="2.0"/></tpm>',
	});
	await host.power("uefi", "on");
	t.match(await lab.shell("uefi", "ls /sys/firmware/efi", 180_000), /systab/);
	await host.power("uefi", "off");
	const { config, files } = await host.readConfig("uefi");
	t.match(config, { firmware: "uefi", tpm: true, nvram: "nvram.fd", notes: [] });
	t.strictSame(files.map(({ name }) => name).sort(), ["domain.xml", "nvram.fd", "tpm-tpm2-00.permall"]);
	const [nvram, tpm] = ["nvram.fd", "tpm-tpm2-00.permall"].map((name) => files.find((file) => file.name === name)!);
	lab.virsh("undefine", "uefi", "--nvram", "--tpm");
	// Something that only this one has.
	nvram.content[nvram.content.length - 1] ^= 0x55;
	const id = await host.register({
		name: "uefi-back",
		config,
		disks: [{ name: "vda", source: lab.path("u.qcow2"), format: "qcow2" }],
		networks: {},
		session: "s",
		files,
	});
	t.equal(id, uuid, "its own id");
	const back = await host.readConfig(id);
	t.strictSame(back.files.find(({ name }) => name === nvram.name)?.content, nvram.content);
	t.strictSame(back.files.find(({ name }) => name === tpm.name)?.content, tpm.content);
	await host.power(id, "on");
	t.match(await lab.shell("uefi", "ls /sys/firmware/efi", 180_000), /systab/);
	await host.power(id, "off");
	await host.unregister(id);
	t.notOk(existsSync("/var/lib/libvirt/qemu/nvram/uefi-back_VARS.fd"), "what we made is gone");
	t.notOk(existsSync(`/var/lib/libvirt/swtpm/${id}/tpm2/tpm2-00.permall`));
});

t.test("Secure Boot keeps its keys", async (t) => {
	const host = lab.host();
	const feature = (name: string) => `<feature enabled="yes" name="${name}"/>`;
	lab.define("secure", "00000000-0000-0000-0000-000000000003", [], {
		os: `<os firmware="efi"><type arch="x86_64" machine="q35">hvm</type><firmware>${feature("secure-boot")}${feature("enrolled-keys")}</firmware></os>`,
		features: '<smm state="on"/>',
	});
	const started = () => {
		lab.virsh("start", "secure", "--paused");
		t.match(lab.virsh("dumpxml", "secure"), /<loader [^>]*secure='yes'/);
		lab.virsh("destroy", "secure");
	};
	started();
	const { config, files } = await host.readConfig("secure");
	t.match(config, { firmware: "uefi", secureBoot: true });
	const keys = files.find(({ name }) => name === "nvram.fd")!.content;
	t.ok(keys.includes(Buffer.from("Microsoft Corporation")), "certificates are in it");
	lab.virsh("undefine", "secure", "--nvram");
	const request = { name: "secure", config, disks: [], networks: {}, session: "s" };
	const id = await host.register({ ...request, files });
	t.strictSame((await host.readConfig(id)).files.find(({ name }) => name === "nvram.fd")?.content, keys);
	started();
	await host.unregister(id);
	t.strictSame(await host.problems(config), []);
	// From the neutral configuration alone, too.
	await host.register(request);
	started();
	await host.unregister(id);
});
