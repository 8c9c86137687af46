/**
 * What the first sectors of a disk say about how it boots: MBR, and GPT (UEFI specification, chapter 5) with
 * 512-byte or 4096-byte sectors.
 */

/** The part of an Image this needs. */
export interface DiskReader {
	/** bytes */
	readonly size: number;
	read(offset: number, target: Buffer): void | Promise<void>;
}

export interface BootFacts {
	table: "none" | "mbr" | "gpt";
	/** the boot sector's code area is not empty */
	bootCode: boolean;
	/** an EFI system partition: GPT type, or MBR type 0xEF */
	efiSystem: boolean;
	/** a BIOS boot partition, or one with the legacy-BIOS-bootable attribute */
	biosBoot: boolean;
}

/** Enough for the tables of both sector sizes. */
const LOOK_BYTES = 1024 * 1024;
const EFI_SYSTEM = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b";
const BIOS_BOOT = "21686148-6449-6e6f-744e-656564454649";
const LEGACY_BOOTABLE = 4n;
/** Boot code ends where the disk signature begins. */
const CODE_BYTES = 440;

export async function readBootFacts(disk: DiskReader): Promise<BootFacts> {
	const bytes = Buffer.alloc(Math.min(LOOK_BYTES, disk.size));
	await disk.read(0, bytes);
	return bootFacts(bytes);
}

/** `bytes`: the beginning of the disk, up to 1 MiB. Never throws on its content. */
export function bootFacts(bytes: Buffer): BootFacts {
	const facts: BootFacts = { table: "none", bootCode: false, efiSystem: false, biosBoot: false };
	if (bytes.length < 512 || bytes.readUInt16LE(510) !== 0xaa55) return facts;
	facts.bootCode = bytes.subarray(0, CODE_BYTES).some((byte) => byte !== 0);
	facts.table = "mbr";
	const types = [0, 1, 2, 3].map((i) => bytes[446 + i * 16 + 4]);
	facts.efiSystem = types.includes(0xef);
	if (!types.includes(0xee)) return facts;
	for (const sector of [512, 4096]) {
		if (bytes.length < sector + 92 || bytes.toString("latin1", sector, sector + 8) !== "EFI PART") continue;
		facts.table = "gpt";
		const first = Number(bytes.readBigUInt64LE(sector + 72)) * sector;
		const count = bytes.readUInt32LE(sector + 80);
		const length = bytes.readUInt32LE(sector + 84);
		if (length < 128 || length > 4096) break;
		for (let i = 0; i < Math.min(count, 1024); i++) {
			const at = first + i * length;
			if (at + 128 > bytes.length) break;
			const type = guid(bytes.subarray(at, at + 16));
			if (type === EFI_SYSTEM) facts.efiSystem = true;
			if (type === BIOS_BOOT || (bytes.readBigUInt64LE(at + 48) & LEGACY_BOOTABLE) !== 0n) facts.biosBoot = true;
		}
		break;
	}
	return facts;
}

/** The first three fields of a GUID are little endian on disk. */
function guid(bytes: Buffer): string {
	const field = (...order: number[]) => order.map((i) => bytes[i].toString(16).padStart(2, "0")).join("");
	return [field(3, 2, 1, 0), field(5, 4), field(7, 6), field(8, 9), field(10, 11, 12, 13, 14, 15)].join("-");
}
