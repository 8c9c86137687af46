import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { bootFacts, guessConfig, guessFirmware } from "../../src/vm/index.js";

const EFI = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b";
const BIOS_BOOT = "21686148-6449-6e6f-744e-656564454649";
const LINUX = "0fc63daf-8483-4772-8e79-3d69d8477de4";

function onDisk(guid: string): Buffer {
	const bytes = Buffer.from(guid.replaceAll("-", ""), "hex");
	return Buffer.concat([
		bytes.subarray(0, 4).reverse(),
		bytes.subarray(4, 6).reverse(),
		bytes.subarray(6, 8).reverse(),
		bytes.subarray(8),
	]);
}

function mbr(code: boolean, ...types: number[]): Buffer {
	const disk = Buffer.alloc(1024 * 1024);
	if (code) disk.set([0xeb, 0x63, 0x90], 0);
	for (const [i, type] of types.entries()) disk[446 + 16 * i + 4] = type;
	disk.writeUInt16LE(0xaa55, 510);
	return disk;
}

function gpt(code: boolean, types: string[], { sector = 512, attributes = 0n } = {}): Buffer {
	const disk = mbr(code, 0xee);
	disk.write("EFI PART", sector, "latin1");
	disk.writeBigUInt64LE(2n, sector + 72);
	disk.writeUInt32LE(128, sector + 80);
	disk.writeUInt32LE(128, sector + 84);
	for (const [i, type] of types.entries()) {
		onDisk(type).copy(disk, 2 * sector + 128 * i);
		disk.writeBigUInt64LE(attributes, 2 * sector + 128 * i + 48);
	}
	return disk;
}

const reader = (bytes: Buffer) => ({
	size: bytes.length,
	read: (offset: number, target: Buffer): void => void bytes.copy(target, 0, offset, offset + target.length),
});
const guess = (...disks: Buffer[]) =>
	guessFirmware(disks.map((bytes, i) => ({ name: `disk${i}`, reader: reader(bytes) })));

t.test("what boots how", async (t) => {
	for (const [disk, firmware, why] of [
		[gpt(false, [EFI, LINUX]), "uefi", /GPT with an EFI system partition/],
		[gpt(true, [EFI, LINUX]), "uefi", /no way to boot from BIOS/],
		[gpt(false, [EFI], { sector: 4096 }), "uefi", /GPT with an EFI/],
		[gpt(true, [BIOS_BOOT, LINUX]), "bios", /BIOS boot partition$/],
		[gpt(true, [EFI, BIOS_BOOT]), "bios", /may boot with UEFI too/],
		[gpt(true, [LINUX], { attributes: 4n }), "bios", /boot code and a BIOS boot/],
		[gpt(true, [LINUX]), "bios", /GPT without an EFI system partition/],
		[mbr(true, 0x83), "bios", /MBR with boot code/],
		[mbr(true, 0xef), "bios", /MBR with boot code/],
		[mbr(false, 0xef), "uefi", /MBR with an EFI system partition/],
		[mbr(false, 0x83), "bios", /no disk has a boot sector/],
		[Buffer.alloc(0), "bios", /no disk has a boot sector/],
		[Buffer.alloc(100), "bios", /no disk has a boot sector/],
		[Buffer.alloc(1024 * 1024, 0xff), "bios", /no disk has a boot sector/],
	] as const)
		t.match(await guess(disk), { firmware, why }, `${why}`);
	t.match(
		await guess(Buffer.alloc(512), gpt(false, [EFI])),
		{ firmware: "uefi", why: /^disk1: / },
		"the first that boots",
	);
});

t.test("tables that lie", async (t) => {
	for (let seed = 0; seed < 2000; seed++) {
		const disk = gpt(true, [EFI]);
		for (let i = 0; i < 24; i++) disk[512 + ((seed * 7919 + i * 104729) % 92)] = seed * 31 + i * 17;
		t.match(bootFacts(disk), { bootCode: true });
	}
	const far = gpt(false, [EFI]);
	far.writeBigUInt64LE(2n ** 63n, 512 + 72);
	t.equal(bootFacts(far).efiSystem, false);
});

t.test("tables made by sfdisk", async (t) => {
	const folder = mkdtempSync(join(tmpdir(), "springback-test-gpt-"));
	t.teardown(() => rmSync(folder, { recursive: true, force: true }));
	const file = join(folder, "d");
	for (const [script, firmware] of [
		["label: gpt\nsize=1M, type=uefi\n,\n", "uefi"],
		["label: dos\nsize=1M, type=83, bootable\n", "bios"],
	]) {
		writeFileSync(file, Buffer.alloc(8 * 1024 * 1024));
		execFileSync("/sbin/sfdisk", ["--quiet", file], { input: script });
		t.equal((await guess(readFileSync(file))).firmware, firmware, script);
	}
});

t.test("a whole configuration", async (t) => {
	const config = await guessConfig("web", [{ name: "disk0", path: "/x.raw", reader: reader(gpt(false, [EFI])) }]);
	t.match(config, {
		name: "web",
		firmware: "uefi",
		source: "guess",
		disks: [{ bus: "virtio", unit: 0, name: "disk0", path: "/x.raw" }],
		notes: [/^firmware uefi guessed: disk0: GPT/, /defaults/],
	});
});
