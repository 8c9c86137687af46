import t from "tap";
import { type DomainChanges, domainFor, parseDomain, vmConfigFrom } from "../../src/vm/index.js";

const ORIGINAL = `<?xml version="1.0"?>
<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>web &amp; "db"</name>
  <uuid>564d8a11-2233-4455-6677-8899aabbccdd</uuid>
  <genid>11111111-2233-4455-6677-8899aabbccdd</genid>
  <title>a &lt;title&gt;</title>
  <metadata>
    <app:x xmlns:app="urn:app" a="1"/>
    <springback:springback-run xmlns:springback="urn:springback:run" folder="/x"/>
  </metadata>
  <memory unit='GiB'>4</memory>
  <vcpu>6</vcpu>
  <os>
    <type arch='x86_64' machine='pc-q35-7.2'>hvm</type>
    <loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE_4M.fd</loader>
    <nvram template='/usr/share/OVMF/OVMF_VARS_4M.fd'>/var/lib/libvirt/qemu/nvram/web_VARS.fd</nvram>
  </os>
  <devices>
    <disk type='file' device='cdrom'><target dev='sdz' bus='sata'/><readonly/></disk>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2' cache='none' io='native' discard='unmap'/>
      <source file='/images/data.qcow2'/>
      <backingStore/>
      <target dev='sdb' bus='scsi'/>
      <serial>S1</serial>
      <boot order='2'/>
      <address type='drive' controller='1' bus='0' target='0' unit='4'/>
    </disk>
    <disk type='block' device='lun'><source dev='/dev/sdx'/><target dev='sdc' bus='scsi'/></disk>
    <disk type='block' device='disk'>
      <source dev='/dev/vg/root'/>
      <target dev='vda' bus='virtio'/>
      <boot order='1'/>
    </disk>
    <controller type='scsi' index='1' model='virtio-scsi'><driver iothread='1'/></controller>
    <interface type='network'><mac address='52:54:00:aa:bb:cc'/><source network='default' portgroup='p'/><model type='virtio'/><address type='pci' slot='3'/></interface>
    <interface type='bridge'><mac address='52:54:00:aa:bb:cd'/><source bridge='br0'/><virtualport type='openvswitch'/></interface>
    <interface type='user'><mac address='52:54:00:aa:bb:ce'/></interface>
  </devices>
  <qemu:commandline><qemu:arg value='-x'/></qemu:commandline>
</domain>`;

const { config } = parseDomain(Buffer.from(ORIGINAL));
const named = { ...config, disks: config.disks.map((disk, n) => ({ ...disk, name: `disk${n}` })) };
const changes = (more: Partial<DomainChanges> = {}): DomainChanges => ({
	name: "web-back",
	uuid: "00000000-0000-0000-0000-0000000000aa",
	generation: "00000000-0000-0000-0000-0000000000bb",
	session: 'a"session',
	config: named,
	disks: [
		{ name: "disk0", source: "nbd+unix:///web%20s/disk0?socket=/run/s", format: "raw" },
		{ name: "disk1", source: "/mnt/disk1.raw", format: "raw" },
	],
	networks: ["lab", null, null],
	loose: "ethernet",
	type: "kvm",
	...more,
});

t.test("cards stay on their networks as they were on them", async (t) => {
	const text = domainFor(Buffer.from(ORIGINAL), changes({ networks: ["default", "br0", null] }));
	t.match(text, /<interface type="network">.*<source network="default" portgroup="p"\/>.*<link state="up"\/>/);
	t.match(
		text,
		/<interface type="bridge">.*<source bridge="br0"\/><virtualport type="openvswitch"\/><link state="up"\/>/,
	);
	const moved = domainFor(Buffer.from(ORIGINAL), changes({ networks: ["bridge:br0", "lab", null] }));
	t.match(moved, /<interface type="bridge"><mac address="52:54:00:aa:bb:cc"\/>.*<source bridge="br0"\/>/);
	t.match(moved, /<interface type="network"><mac address="52:54:00:aa:bb:cd"\/><source network="lab"\/>/);
	t.notMatch(moved, /openvswitch|portgroup/);
});

t.test("an original with new disks, networks and identity", async (t) => {
	const text = domainFor(Buffer.from(ORIGINAL), changes());
	const after = parseDomain(Buffer.from(text));
	t.match(after.config, {
		name: "web-back",
		uuid: "00000000-0000-0000-0000-0000000000aa",
		memoryMiB: 4096,
		firmware: "uefi",
		nvram: null,
		disks: [
			{ bus: "virtio", path: "web s/disk0" },
			{ bus: "scsi", controller: 1, unit: 4, path: "/mnt/disk1.raw" },
		],
		nics: [
			{ mac: "52:54:00:aa:bb:cc", network: "lab", model: "virtio", connected: true },
			{ mac: "52:54:00:aa:bb:cd", network: null, connected: false },
			{ mac: "52:54:00:aa:bb:ce", network: null, connected: false },
		],
	});
	t.equal(after.config.disks.length, 2, "the passed-through disk is not there");
	t.strictSame(after.own, {
		session: 'a"session',
		run: undefined,
		disks: new Map([
			["sdb", "disk1"],
			["vda", "disk0"],
		]),
	});
	for (const kept of [
		"<title>a &lt;title&gt;</title>",
		'<app:x xmlns:app="urn:app" a="1"/>',
		"<serial>S1</serial>",
		'<driver iothread="1"/>',
		'<qemu:arg value="-x"/>',
		'machine="pc-q35-7.2"',
		'device="cdrom"',
		'<nvram template="/usr/share/OVMF/OVMF_VARS_4M.fd"/>',
	])
		t.ok(text.includes(kept), kept);
	t.match(text, /<genid>00000000-0000-0000-0000-0000000000bb<\/genid>/);
	t.match(text, /<source protocol="nbd" name="web s\/disk0"><host transport="unix" socket="\/run\/s"\/><\/source>/);
	t.equal(text.match(/error_policy="stop"/g)?.length, 2);
	t.match(
		text,
		/type="raw" cache="none" io="native" discard="unmap" error_policy="stop"/,
		"a file's cache mode is kept",
	);
	t.notMatch(text, /backingStore|virtualport|portgroup|\/dev\/sdx/);
});

t.test("sources that are elsewhere", async (t) => {
	const of = (source: string, reconnectDelay?: number) =>
		/<source protocol.*?<\/source>/.exec(
			domainFor(Buffer.from(ORIGINAL), changes({ disks: [{ name: "disk1", source, format: "raw" }], reconnectDelay })),
		)?.[0];
	t.equal(
		of("nbd://[::1]:10810/s/d", 60),
		'<source protocol="nbd" name="s/d"><host name="::1" port="10810"/><reconnect delay="60"/></source>',
	);
	t.equal(
		of("nfs://127.0.0.1/springback/s/d-flat.vmdk"),
		'<source protocol="nfs" name="/springback/s/d-flat.vmdk"><host name="127.0.0.1"/><identity user="+0" group="+0"/></source>',
	);
	t.notMatch(
		domainFor(Buffer.from(ORIGINAL), changes({ disks: [{ name: "disk1", source: "nbd://h/d", format: "raw" }] })),
		/io="native"|cache="none"/,
		"they mean nothing there",
	);
});

t.test("a VM that comes from elsewhere", async (t) => {
	const foreign = vmConfigFrom({
		version: 1,
		memoryMiB: 2048,
		cpus: 4,
		coresPerSocket: 2,
		firmware: "uefi",
		secureBoot: true,
		tpm: true,
		controllers: [{ bus: "scsi", number: 1, model: "pvscsi" }],
		disks: [
			{ bus: "scsi", controller: 1, unit: 3, name: "disk0" },
			{ bus: "nvme", controller: 0, unit: 0, name: "disk1" },
			{ bus: "ide", controller: 0, unit: 1, name: "gone" },
		],
		nics: [
			{ mac: "00:50:56:aa:bb:cc", model: "vmxnet3", network: "VM Network", connected: true },
			{ mac: null, model: "vlance", network: null, connected: true },
		],
	})!;
	const text = domainFor(undefined, changes({ config: foreign, networks: ["bridge:br7", null], type: "qemu" }));
	t.match(parseDomain(Buffer.from(text)).config, {
		memoryMiB: 2048,
		cpus: 4,
		coresPerSocket: 2,
		firmware: "uefi",
		secureBoot: true,
		tpm: true,
		controllers: [{ bus: "scsi", number: 1, model: "vmpvscsi" }],
		disks: [
			{ bus: "scsi", controller: 1, unit: 3 },
			{ bus: "sata", controller: 0, unit: 1 },
		],
		nics: [
			{ mac: "00:50:56:aa:bb:cc", model: "vmxnet3", network: "br7", connected: true },
			{ mac: null, model: "e1000", network: null, connected: false },
		],
	});
	t.match(text, /<smm state="on"\/>/);
	t.throws(() => domainFor(Buffer.from("<network/>"), changes()), {
		name: "ConfigError",
		message: /not a libvirt domain/,
	});
	t.throws(() => domainFor(Buffer.from("<!DOCTYPE x><domain/>"), changes()), { message: /DOCTYPE/ });
});
