import t from "tap";
import {
	ConfigError,
	type PublishedVmx,
	parseVmx,
	publishedVmx,
	type VmConfig,
	vmConfigFrom,
} from "../../src/vm/index.js";
import { VmxDictionary } from "../../src/vm/vmx-dictionary.js";

const ESXI = `.encoding = "UTF-8"
config.version = "8"
virtualHW.version = "19"
nvram = "web.nvram"
displayName = "web"
guestOS = "debian11-64"
memSize = "8192"
numvcpus = "4"
cpuid.coresPerSocket = "2"
firmware = "efi"
uefi.secureBoot.enabled = "TRUE"
uuid.bios = "56 4d 8a 11 22 33 44 55-66 77 88 99 aa bb cc dd"
uuid.location = "56 4d 00 00 00 00 00 00-00 00 00 00 00 00 00 00"
scsi0.present = "TRUE"
scsi0.virtualDev = "pvscsi"
sata0.present = "TRUE"
nvme0.present = "TRUE"
scsi0:1.present = "TRUE"
scsi0:1.fileName = "web_1.vmdk"
scsi0:1.deviceType = "scsi-hardDisk"
scsi0:1.mode = "independent-persistent"
scsi0:0.present = "TRUE"
scsi0:0.fileName = "web-000003.vmdk"
scsi0:0.deviceType = "scsi-hardDisk"
scsi0:0.ctkEnabled = "TRUE"
scsi0:0.redo = ""
scsi0:2.present = "FALSE"
scsi0:2.fileName = "old.vmdk"
nvme0:0.present = "TRUE"
nvme0:0.fileName = "/vmfs/volumes/x/fast.vmdk"
sata0:0.present = "TRUE"
sata0:0.deviceType = "cdrom-image"
sata0:0.fileName = "/vmfs/volumes/iso/debian.iso"
ctkEnabled = "TRUE"
ethernet0.present = "TRUE"
ethernet0.virtualDev = "vmxnet3"
ethernet0.networkName = "VM Network"
ethernet0.addressType = "vpx"
ethernet0.generatedAddress = "00:50:56:AA:BB:CC"
ethernet1.present = "TRUE"
ethernet1.networkName = "Backup"
ethernet1.startConnected = "FALSE"
migrate.hostLog = "web-1.hlog"
migrate.hostlog = "x"
sched.swap.derivedName = "/vmfs/volumes/x/web-1.vswp"
checkpoint.vmState = "web.vmss"
guestinfo.custom = "kept |22as it is|22 |7C"
serial0.present = "TRUE"
serial0.fileName = "/tmp/x"
`.replace('migrate.hostlog = "x"\n', "");

const read = (text: string) => parseVmx(Buffer.from(text));
const published = (options: Partial<PublishedVmx>) =>
	VmxDictionary.parse(
		Buffer.from(publishedVmx({ name: "web", config: undefined, disks: [], uuidAction: "keep", ...options })),
	);

t.test("reading a .vmx of ESXi", async (t) => {
	t.strictSame(read(`${ESXI}pciPassthru0.present = "TRUE"\npciPassthru1.present = "FALSE"\n`).notes, [
		"the CD drive sata0:0 with /vmfs/volumes/iso/debian.iso comes back on VMware only",
		"the passed-through device pciPassthru0 comes back on VMware only",
		"scsi0:1 is independent: a hypervisor's snapshot leaves it out",
	]);
	t.match(read(ESXI), {
		version: 1,
		name: "web",
		uuid: "564d8a11-2233-4455-6677-8899aabbccdd",
		memoryMiB: 8192,
		cpus: 4,
		coresPerSocket: 2,
		firmware: "uefi",
		secureBoot: true,
		tpm: false,
		guestOs: "debian11-64",
		controllers: [
			{ bus: "scsi", number: 0, model: "pvscsi" },
			{ bus: "nvme", number: 0, model: null },
			{ bus: "sata", number: 0, model: null },
		],
		disks: [
			{ bus: "scsi", controller: 0, unit: 0, path: "web-000003.vmdk", unprotected: null },
			{ bus: "scsi", controller: 0, unit: 1, path: "web_1.vmdk", unprotected: "independent" },
			{ bus: "nvme", controller: 0, unit: 0, path: "/vmfs/volumes/x/fast.vmdk" },
		],
		nics: [
			{ mac: "00:50:56:aa:bb:cc", model: "vmxnet3", network: "VM Network", connected: true },
			{ mac: null, model: null, network: "Backup", connected: false },
		],
		nvram: "web.nvram",
		source: "vmx",
	});
	t.equal(read(ESXI).disks.length, 3, "no CD, no absent disk");
});

t.test("syntax: quoting, case, comments, encodings", async (t) => {
	t.equal(read('displayName = "a|22b|7Cc|0Ad"').name, 'a"b|c\nd');
	t.equal(read('DISPLAYNAME="x"\r\n# y = z\r\n\r\nmemsize = 512').memoryMiB, 512);
	t.equal(parseVmx(Buffer.from('\ufeffdisplayName = "Zürich"')).name, "Zürich");
	const latin = Buffer.from('.encoding = "windows-1252"\ndisplayName = "Zürich"', "latin1");
	t.equal(parseVmx(latin).name, "Zürich");
	for (const [bytes, why] of [
		[Buffer.from('.encoding = "klingon"\n'), 'unknown encoding "klingon"'],
		[Buffer.from('.encoding = "constructor"\n'), 'unknown encoding "constructor"'],
		[Buffer.from([0x61, 0x3d, 0xff, 0xfe]), "not valid UTF-8 text"],
		[Buffer.from('a = "b"\nwhat\n'), '.vmx line 2 is not of the form key = "value"'],
		[Buffer.from('a = "b\n'), '.vmx line 1 is not of the form key = "value"'],
		[Buffer.from('a = "1"\nA = "2"\n'), '.vmx line 2: "A" is set twice'],
		[Buffer.alloc(1024 * 1024 + 1, 0x20), ".vmx larger than 1048576 bytes"],
	] as const)
		t.throws(() => parseVmx(bytes), new ConfigError(why), why);
});

t.test("keys that mean something in JavaScript are just keys", async (t) => {
	const vmx = VmxDictionary.parse(Buffer.from('__proto__ = "x"\nconstructor.prototype = "y"\n'));
	t.equal(vmx.get("__proto__"), "x");
	t.equal(vmx.get("toString"), undefined);
	t.equal(({} as Record<string, unknown>).x, undefined);
	t.match(vmx.toString(), /__proto__ = "x"\nconstructor\.prototype = "y"/);
});

t.test("what is written reads back, whatever the values hold", async (t) => {
	const vmx = new VmxDictionary();
	const all = Array.from({ length: 0x180 }, (_, i) => String.fromCharCode(i)).join("");
	vmx.set("guestinfo.all", `${all}|22"|"\u{1f600}`);
	const text = vmx.toString();
	t.match(text, /^\.encoding = "UTF-8"\n/);
	t.equal(text.split("\n").length, 3, "no value breaks its line");
	t.equal(VmxDictionary.parse(Buffer.from(text)).get("guestinfo.all"), vmx.get("guestinfo.all"));
});

t.test("publishing an original: stale state out, our disks in, the rest as it was", async (t) => {
	const config: VmConfig = read(ESXI);
	config.disks[0].name = "disk0";
	config.disks[2].name = "fast";
	const vmx = published({
		config,
		original: Buffer.from(ESXI),
		disks: [
			{ name: "disk0", file: "disk0.vmdk" },
			{ name: "fast", file: "fast.vmdk" },
			{ name: "extra", file: "extra.vmdk" },
		],
		nvram: "web.nvram",
		networks: new Map([["VM Network", "Lab"]]),
	});
	for (const gone of [
		"ctkEnabled",
		"scsi0:0.ctkEnabled",
		"migrate.hostLog",
		"sched.swap.derivedName",
		"checkpoint.vmState",
		"scsi0:0.redo",
		"uuid.location",
	])
		t.notOk(vmx.has(gone), gone);
	t.equal(vmx.get("guestinfo.custom"), 'kept "as it is" |');
	t.equal(vmx.get("uuid.bios"), "56 4d 8a 11 22 33 44 55-66 77 88 99 aa bb cc dd");
	t.equal(vmx.get("uuid.action"), "keep");
	t.equal(vmx.get("nvram"), "web.nvram");
	t.equal(vmx.get("scsi0:0.fileName"), "disk0.vmdk");
	t.equal(vmx.get("nvme0:0.fileName"), "fast.vmdk");
	t.equal(vmx.get("scsi0:1.present"), "FALSE", "a disk that was not backed up");
	t.equal(vmx.get("scsi0:3.fileName"), "extra.vmdk", "a disk that the original does not have");
	t.equal(vmx.get("scsi0:3.present"), "TRUE");
	t.equal(vmx.get("sata0:0.startConnected"), "FALSE");
	t.equal(vmx.get("serial0.startConnected"), "FALSE");
	t.equal(vmx.get("ethernet0.networkName"), "Lab");
	t.equal(vmx.get("ethernet0.startConnected"), "TRUE");
	t.equal(vmx.get("ethernet1.startConnected"), "FALSE");
	t.equal(published({ original: Buffer.from(ESXI) }).get("ethernet0.startConnected"), "FALSE", "no mapping");
	t.notOk(published({ original: Buffer.from(ESXI) }).has("nvram"), "no NVRAM in the backup");
});

t.test("a synthesized .vmx", async (t) => {
	const vmx = published({ disks: [0, 1].map((i) => ({ name: `disk${i}`, file: `disk${i}.vmdk` })) });
	t.match(vmx.get("config.version"), "8");
	t.equal(vmx.get("scsi0.virtualDev"), "pvscsi");
	t.equal(vmx.get("scsi0:0.fileName"), "disk0.vmdk");
	t.equal(vmx.get("scsi0:1.fileName"), "disk1.vmdk");
	t.notOk(vmx.has("firmware"));
	const many = published({ disks: Array.from({ length: 20 }, (_, i) => ({ name: `d${i}`, file: `d${i}.vmdk` })) });
	t.notOk(many.has("scsi0:7.present"), "unit 7 is the controller");
	t.equal(many.get("scsi1:4.fileName"), "d19.vmdk");
	const windows = vmConfigFrom({
		version: 1,
		firmware: "uefi",
		secureBoot: true,
		guestOs: "http://microsoft.com/win/2k22",
		memoryMiB: 3001,
		cpus: 6,
		coresPerSocket: 3,
		uuid: "564d8a11-2233-4455-6677-8899aabbccdd",
		disks: [
			{ bus: "virtio", name: "disk0" },
			{ bus: "sata", controller: 1, unit: 3, name: "disk1" },
		],
		nics: [{ mac: "52:54:00:00:00:01", model: "virtio", network: "default" }],
		source: "libvirt",
	});
	const made = published({ config: windows, disks: [0, 1].map((i) => ({ name: `disk${i}`, file: `disk${i}.vmdk` })) });
	t.equal(made.get("firmware"), "efi");
	t.equal(made.get("uefi.secureBoot.enabled"), "TRUE");
	t.equal(made.get("memSize"), "3004");
	t.equal(made.get("cpuid.coresPerSocket"), "3");
	t.equal(made.get("scsi0.virtualDev"), "lsisas1068", "Windows has no driver for pvscsi");
	t.equal(made.get("sata1:3.fileName"), "disk1.vmdk");
	t.equal(made.get("ethernet0.virtualDev"), "vmxnet3");
	t.equal(made.get("ethernet0.address"), "52:54:00:00:00:01");
	t.equal(made.get("ethernet0.startConnected"), "FALSE");
	t.equal(made.get("uuid.bios"), "56 4d 8a 11 22 33 44 55-66 77 88 99 aa bb cc dd");
	t.match(parseVmx(Buffer.from(made.toString())), {
		firmware: "uefi",
		cpus: 6,
		disks: [{ bus: "scsi" }, { bus: "sata" }],
	});
});

t.test("a configuration that comes back from a repository", async (t) => {
	const config = read(ESXI);
	t.same(vmConfigFrom(JSON.parse(JSON.stringify(config))), config);
	for (const nothing of [null, undefined, "x", 5, [], {}, { version: 2 }]) t.equal(vmConfigFrom(nothing), undefined);
	const odd = vmConfigFrom({
		version: 1,
		memoryMiB: "x",
		cpus: -1,
		disks: [{ bus: "floppy" }, 5, null],
		nics: {},
		notes: [1, "a"],
	});
	t.match(odd, { memoryMiB: 2048, cpus: 2, disks: [], nics: [], notes: ["a"], firmware: "bios" });
});
