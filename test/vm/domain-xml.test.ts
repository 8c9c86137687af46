import t from "tap";
import { assignDisks, ConfigError, parseDomainXml } from "../../src/vm/index.js";

const DOMAIN = `<?xml version="1.0"?>
<domain type='kvm' id='3' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>web &amp; "db"</name>
  <uuid>564D8A11-2233-4455-6677-8899aabbccdd</uuid>
  <metadata>
    <libosinfo:libosinfo xmlns:libosinfo="http://libosinfo.org/xmlns/libvirt/domain/1.0">
      <libosinfo:os id="http://debian.org/debian/12"/>
    </libosinfo:libosinfo>
  </metadata>
  <memory unit='GiB'>4</memory>
  <vcpu placement='static'>6</vcpu>
  <os firmware='efi'>
    <type arch='x86_64' machine='pc-q35-7.2'>hvm</type>
    <firmware><feature enabled='yes' name='secure-boot'/></firmware>
    <nvram>/var/lib/libvirt/qemu/nvram/web_VARS.fd</nvram>
  </os>
  <cpu mode='host-model'><topology sockets='2' dies='1' cores='3' threads='1'/></cpu>
  <devices>
    <disk type='file' device='cdrom'><target dev='sda' bus='sata'/><source file='/x.iso'/></disk>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2'/>
      <source file='/images/data.qcow2'/>
      <target dev='sdb' bus='scsi'/>
      <boot order='2'/>
      <address type='drive' controller='1' bus='0' target='0' unit='4'/>
    </disk>
    <disk type='block' device='disk'>
      <source dev='/dev/vg/root'/>
      <target dev='vda' bus='virtio'/>
      <boot order='1'/>
      <address type='pci' domain='0x0000' bus='0x04' slot='0x00' function='0x0'/>
    </disk>
    <disk type='network' device='disk'><source protocol='rbd' name='pool/img'/><target dev='hdc' bus='ide'/>
      <address type='drive' controller='0' bus='1' target='0' unit='0'/></disk>
    <controller type='scsi' index='1' model='virtio-scsi'/>
    <controller type='pci' index='0' model='pcie-root'/>
    <interface type='network'><mac address='52:54:00:AA:bb:cc'/><source network='default'/><model type='virtio'/></interface>
    <interface type='bridge'><source bridge='br0'/><link state='down'/></interface>
    <tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm>
  </devices>
</domain>`;

const read = (text: string) => parseDomainXml(Buffer.from(text));

t.test("reading a domain", async (t) => {
	t.match(read(DOMAIN), {
		name: 'web & "db"',
		uuid: "564d8a11-2233-4455-6677-8899aabbccdd",
		memoryMiB: 4096,
		cpus: 6,
		coresPerSocket: 3,
		firmware: "uefi",
		secureBoot: true,
		tpm: true,
		guestOs: "http://debian.org/debian/12",
		controllers: [{ bus: "scsi", number: 1, model: "virtio-scsi" }],
		disks: [
			{ bus: "virtio", controller: 0, unit: 0, path: "/dev/vg/root" },
			{ bus: "scsi", controller: 1, unit: 4, path: "/images/data.qcow2" },
			{ bus: "ide", controller: 1, unit: 0, path: "pool/img" },
		],
		nics: [
			{ mac: "52:54:00:aa:bb:cc", model: "virtio", network: "default", connected: true },
			{ mac: null, model: null, network: "br0", connected: false },
		],
		nvram: "/var/lib/libvirt/qemu/nvram/web_VARS.fd",
		source: "libvirt",
	});
	t.equal(read(DOMAIN).disks.length, 3);
});

t.test("the least of a domain, and the old way to say UEFI", async (t) => {
	t.match(read("<domain/>"), {
		name: null,
		memoryMiB: 2048,
		cpus: 1,
		firmware: "bios",
		disks: [],
		nics: [],
		tpm: false,
	});
	t.match(read("<domain><os><loader readonly='yes' secure='yes' type='pflash'>/OVMF.fd</loader></os></domain>"), {
		firmware: "uefi",
		secureBoot: true,
	});
	t.equal(read("<domain><memory>1048576</memory></domain>").memoryMiB, 1024);
	t.equal(read("<domain><memory unit='constructor'>1</memory></domain>").memoryMiB, 2048);
	t.equal(read("<domain><devices><disk><target dev='sdaa'/></disk></devices></domain>").disks[0].unit, 26);
});

t.test("hostile and broken documents", async (t) => {
	for (const [text, why] of [
		['<!DOCTYPE d [<!ENTITY a "aaaa">]><domain><name>&a;</name></domain>', "DOCTYPE is refused"],
		["<!doctype d><domain/>", "DOCTYPE is refused"],
		["<domain><name>x</domain>", "domain XML, line 1"],
		["<network/>", "not a libvirt domain"],
		["", "not a libvirt domain|domain XML"],
		["nonsense", "domain XML|not a libvirt"],
		["\xff", "not valid UTF-8|domain XML|not a libvirt"],
		[" ".repeat(1024 * 1024 + 1), "larger than"],
	] as const)
		t.throws(() => parseDomainXml(Buffer.from(text, "latin1")), { name: "ConfigError", message: new RegExp(why) }, why);
	let config: unknown;
	try {
		config = read(
			"<domain><__proto__><polluted>yes</polluted></__proto__><constructor>x</constructor><name>n</name></domain>",
		);
	} catch (error) {
		t.ok(error instanceof ConfigError);
	}
	t.equal(({} as Record<string, unknown>).polluted, undefined);
	t.ok(config === undefined || (config as { name: string }).name === "n");
	const deep = `<domain>${"<a>".repeat(100_000)}${"</a>".repeat(100_000)}</domain>`;
	try {
		read(deep);
		t.pass("deep nesting was read");
	} catch (error) {
		t.ok(error instanceof ConfigError, "or refused");
	}
	const script = read("<domain><name><![CDATA[<b>]]></name></domain>");
	t.equal(script.name, "<b>");
});

t.test("which stored disk is which", async (t) => {
	const config = read(DOMAIN);
	const names = (stored: [string, string][]) =>
		assignDisks(
			config,
			stored.map(([name, path]) => ({ name, path })),
		).disks.map((disk) => disk.name);
	t.same(
		names([
			["a", "/other/data.qcow2"],
			["b", "/dev/vg/root"],
			["c", "x"],
		]),
		["b", "a", "c"],
		"by file name, the rest in order",
	);
	t.same(
		names([
			["a", "1"],
			["b", "2"],
			["c", "3"],
		]),
		["a", "b", "c"],
		"in order",
	);
	t.same(names([["a", "data.qcow2"]]), [null, "a", null]);
	t.same(
		names([
			["a", "1"],
			["b", "2"],
			["c", "3"],
			["d", "4"],
		]),
		[null, null, null, "a", "b", "c", "d"],
		"nothing is guessed",
	);
	const notes = assignDisks(config, [{ name: "a", path: "data.qcow2" }]).notes;
	t.same(notes, [
		"disk virtio0:0 of the configuration is not in the backup",
		"disk ide1:0 of the configuration is not in the backup",
	]);
	t.same(config.disks[0].name, null, "the given one is unchanged");
});
