import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { ConfigError, flatSize, parseDescriptor, writeDescriptor } from "../../src/vm/index.js";

const write = (size: number, more = {}) =>
	writeDescriptor({ size, extent: "disk0-flat.vmdk", identity: "p/disk0", ...more });

t.test("a written descriptor, field by field", async (t) => {
	const text = write(10 * 1024 ** 3 + 1);
	for (const line of [
		"# Disk DescriptorFile",
		"version=1",
		'encoding="UTF-8"',
		"parentCID=ffffffff",
		'isNativeSnapshot="no"',
		'createType="vmfs"',
		'RW 20971521 VMFS "disk0-flat.vmdk"',
		'ddb.adapterType = "lsilogic"',
		'ddb.geometry.cylinders = "1305"',
		'ddb.geometry.heads = "255"',
		'ddb.geometry.sectors = "63"',
		'ddb.thinProvisioned = "1"',
		'ddb.virtualHWVersion = "13"',
	])
		t.ok(text.split("\n").includes(line), line);
	const cid = /^CID=([0-9a-f]{8})$/m.exec(text)![1];
	t.match(text, new RegExp(`ddb\\.longContentID = "[0-9a-f]{24}${cid}"`));
	t.match(text, /ddb\.uuid = "60 00 c2 9. .. .. .. ..-.. .. .. .. .. .. .. .."/);
	t.notMatch(text, /ctk|changeTrack/i);
});

t.test("identity decides the CID, nothing else", async (t) => {
	const cid = (text: string) => parseDescriptor(Buffer.from(text)).cid;
	t.equal(cid(write(512)), cid(write(1024)));
	t.not(cid(write(512)), cid(write(512, { identity: "p/disk1" })));
	const all = new Set(Array.from({ length: 2000 }, (_, i) => cid(write(512, { identity: `${i}` }))));
	t.ok(all.size > 1990);
	t.notOk(all.has("ffffffff") || all.has("00000000"));
	t.match(write(512), /geometry\.cylinders = "1"/, "never none");
	t.match(write(64 * 1024 ** 4, { adapter: "ide" }), /cylinders = "16383"[\s\S]*heads = "16"/);
	t.equal(flatSize(513), 1024);
	for (const extent of ['a"b', "../x", "a\nb", ""]) t.throws(() => write(1, { extent }), ConfigError);
});

t.test("QEMU opens it and sees the size", async (t) => {
	const folder = mkdtempSync(join(tmpdir(), "springback-test-vmdk-"));
	t.teardown(() => rmSync(folder, { recursive: true, force: true }));
	writeFileSync(join(folder, "disk0-flat.vmdk"), "");
	truncateSync(join(folder, "disk0-flat.vmdk"), flatSize(5_000_000_001));
	writeFileSync(join(folder, "disk0.vmdk"), write(5_000_000_001));
	const info = JSON.parse(
		execFileSync("qemu-img", ["info", "--output=json", "-f", "vmdk", join(folder, "disk0.vmdk")], { encoding: "utf8" }),
	);
	t.equal(info["virtual-size"], flatSize(5_000_000_001));
	t.equal(info["format-specific"].data["create-type"], "vmfs");
});

t.test("reading descriptors", async (t) => {
	const read = (text: string) => parseDescriptor(Buffer.from(text));
	const head = "# Disk DescriptorFile\nversion=1\n";
	t.match(
		read(
			`${head}CID=1a\r\nparentCID=FFFFFFFF\ncreateType="custom"\n# x\nRW 10 FLAT "a b.vmdk" 63\nrdonly 5 zero\nddb.x = "y"\n\0garbage`,
		),
		{
			cid: "0000001a",
			parentCid: "ffffffff",
			createType: "custom",
			extents: [
				{ access: "RW", sectors: 10, type: "FLAT", file: "a b.vmdk", start: 63 },
				{ access: "RDONLY", sectors: 5, type: "ZERO", file: undefined },
			],
		},
	);
	t.match(read(write(1024)), { createType: "vmfs", parentCid: "ffffffff", extents: [{ sectors: 2, type: "VMFS" }] });
	t.equal(read(`${head}parentCID=12\nparentFileNameHint="base.vmdk"\n`).parentHint, "base.vmdk");
	t.equal(read(`${head}__proto__=1\nddb.__proto__="2"\n`).ddb.get("ddb.__proto__"), "2");
	for (const [text, why] of [
		["", "not a VMDK descriptor"],
		["version=1\n", "not a VMDK descriptor"],
		["# Disk DescriptorFile\nversion=9\n", 'descriptor of unknown version "9"'],
		[`${head}CID=xyz\n`, "descriptor with a malformed cid"],
		[`${head}RW x FLAT "a"\n`, "descriptor line 3: malformed extent"],
		[`${head}RW 5 FLAT\n`, "descriptor line 3: extent of type FLAT names no file"],
		[`${head}RW 5 ZERO "a"\n`, "descriptor line 3: extent of type ZERO names a file"],
		[`${head}RW 0 ZERO\n`, "descriptor line 3: impossible size"],
		[`${head}=\n`, "descriptor line 3 is malformed"],
		[`${head}encoding="x"\n`, 'unknown encoding "x"'],
	])
		t.throws(() => read(text), new ConfigError(why), why);
});
