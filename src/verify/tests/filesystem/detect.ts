/** What a partition holds, by the marks that each format has at a fixed place. */
import type { Image } from "../../../image/index.js";

/** A file system that can be checked; something else that is known and has none; or neither. */
export type Content =
	| { kind: "file-system"; type: FileSystem }
	| { kind: "other"; what: string }
	| { kind: "empty" }
	| { kind: "unknown" };

export type FileSystem = "ext" | "xfs" | "btrfs" | "fat" | "ntfs";

/** What a physical volume of LVM is called. */
export const LVM = "LVM";

const LOOK_BYTES = 128 * 1024;

interface Mark {
	at: number;
	bytes: Buffer;
	content: Content;
}

const mark = (at: number, bytes: string | number[], content: FileSystem | { what: string }): Mark => ({
	at,
	bytes: typeof bytes === "string" ? Buffer.from(bytes, "latin1") : Buffer.from(bytes),
	content: typeof content === "string" ? { kind: "file-system", type: content } : { kind: "other", ...content },
});

/** Containers before what may lie in them. */
const MARKS: readonly Mark[] = [
	mark(0, "LUKS\xba\xbe", { what: "encrypted (LUKS)" }),
	mark(3, "-FVE-FS-", { what: "encrypted (BitLocker)" }),
	...[0, 512, 1024, 1536].map((at) => mark(at, "LABELONE", { what: LVM })),
	mark(4096, [0xfc, 0x4e, 0x2b, 0xa9], { what: "software RAID" }),
	mark(0, [0xfc, 0x4e, 0x2b, 0xa9], { what: "software RAID" }),
	...[4086, 16374, 65526].map((at) => mark(at, "SWAPSPACE2", { what: "swap" })),
	mark(0x438, [0x53, 0xef], "ext"),
	mark(0, "XFSB", "xfs"),
	mark(0x10040, "_BHRfS_M", "btrfs"),
	mark(3, "NTFS    ", "ntfs"),
	mark(3, "EXFAT   ", { what: "exFAT" }),
	mark(3, "ReFS\0", { what: "ReFS" }),
	mark(54, "FAT", "fat"),
	mark(82, "FAT32", "fat"),
	mark(0x8001, "CD001", { what: "ISO 9660" }),
	mark(0, "hsqs", { what: "SquashFS" }),
	mark(0, "bcachefs", { what: "bcachefs" }),
];

export const contentOf = async (image: Image): Promise<Content> => {
	const bytes = Buffer.alloc(Math.min(LOOK_BYTES, image.size));
	await image.read(0, bytes);
	const found = MARKS.find(({ at, bytes: wanted }) => bytes.subarray(at, at + wanted.length).equals(wanted));
	if (found !== undefined) return found.content;
	if (bytes.some((byte) => byte !== 0)) return { kind: "unknown" };
	const extents = await image.extents(0, image.size);
	return extents.some(({ kind, offset, length }) => kind === "data" && offset + length > LOOK_BYTES)
		? { kind: "unknown" }
		: { kind: "empty" };
};
