/**
 * VMDK descriptors: the text that names a disk's extents. Written for published disks (one flat extent), read
 * for backup sources, where every file name in it is an untrusted claim.
 */
import { digest, vmwareUuid } from "./identifiers.js";
import { ConfigError, decode, printable } from "./text.js";

export interface DescriptorOptions {
	/** exact bytes of the disk; the extent is this, rounded up to whole sectors */
	size: number;
	/** file name of the extent: letters, digits, ".", "_", "-", blank */
	extent: string;
	/** names the content (restore point and disk): equal content, equal CID */
	identity: string;
	/** "ide" or "lsilogic" (which every SCSI, SATA and NVMe disk says) */
	adapter?: "ide" | "lsilogic";
}

export const SECTOR = 512;
/** What geometry fields are made of: the largest translation a BIOS knows, and ATA's own limit. */
const GEOMETRY = { lsilogic: { heads: 255, sectors: 63 }, ide: { heads: 16, sectors: 63 } } as const;
const IDE_MAX_CYLINDERS = 16383;

/** Size of the flat extent, bytes. */
export const flatSize = (size: number): number => Math.ceil(size / SECTOR) * SECTOR;

export function writeDescriptor(options: DescriptorOptions): string {
	if (!/^[\w .-]+$/.test(options.extent)) throw new ConfigError(`extent name "${printable(options.extent)}" is unsafe`);
	const adapter = options.adapter ?? "lsilogic";
	const sectors = flatSize(options.size) / SECTOR;
	const { heads, sectors: perTrack } = GEOMETRY[adapter];
	const cylinders = Math.max(1, Math.floor(sectors / (heads * perTrack)));
	const content = digest(`springback vmdk ${options.identity}`);
	// All ones means "no parent" and zero "unknown".
	const cid = content.readUInt32BE(0) % 0xfffffffd;
	const cidHex = (cid + 1).toString(16).padStart(8, "0");
	const longId = content.toString("hex", 4, 16) + cidHex;
	// VMware's own prefix for disk identifiers (NAA type 6, its company number).
	const uuid = Buffer.concat([Buffer.from([0x60, 0x00, 0xc2, 0x90 | (content[16] & 15)]), content.subarray(17, 29)]);
	return `# Disk DescriptorFile
version=1
encoding="UTF-8"
CID=${cidHex}
parentCID=ffffffff
isNativeSnapshot="no"
createType="vmfs"

# Extent description
RW ${sectors} VMFS "${options.extent}"

# The Disk Data Base
#DDB

ddb.adapterType = "${adapter}"
ddb.geometry.cylinders = "${adapter === "ide" ? Math.min(cylinders, IDE_MAX_CYLINDERS) : cylinders}"
ddb.geometry.heads = "${heads}"
ddb.geometry.sectors = "${perTrack}"
ddb.longContentID = "${longId}"
ddb.thinProvisioned = "1"
ddb.uuid = "${vmwareUuid(uuid)}"
ddb.virtualHWVersion = "13"
`;
}

export interface VmdkExtent {
	access: "RW" | "RDONLY" | "NOACCESS";
	sectors: number;
	/** FLAT, VMFS, SPARSE, VMFSSPARSE, SESPARSE, ZERO, …; upper case */
	type: string;
	/** undefined for ZERO */
	file: string | undefined;
	/** FLAT: first sector in the file */
	start: number;
}

export interface VmdkDescriptor {
	createType: string;
	/** 8 hex digits, lower case */
	cid: string;
	parentCid: string;
	/** file name of the parent when parentCid is not ffffffff */
	parentHint: string | undefined;
	extents: VmdkExtent[];
	/** ddb.* values by lower-case key */
	ddb: Map<string, string>;
}

/** bytes; 64 KiB is what VMware reserves for an embedded one, split disks of 62 TiB need more */
export const MAX_DESCRIPTOR_BYTES = 4 * 1024 * 1024;
const MAX_EXTENTS = 40_000;

/** Throws ConfigError. Text after the first NUL is ignored: embedded descriptors are padded. */
export function parseDescriptor(bytes: Uint8Array): VmdkDescriptor {
	if (bytes.length > MAX_DESCRIPTOR_BYTES) throw new ConfigError("descriptor larger than 4 MiB");
	const end = bytes.indexOf(0);
	const used = end < 0 ? bytes : bytes.subarray(0, end);
	const declared = /^\s*encoding\s*=\s*"?([^"\r\n]*?)"?\s*$/im.exec(Buffer.from(used).toString("latin1"));
	const text = decode(used, declared?.[1] ?? "UTF-8").replace(/^\ufeff/, "");
	if (!/^\s*# Disk DescriptorFile/i.test(text)) throw new ConfigError("not a VMDK descriptor");
	const header = new Map<string, string>();
	const descriptor = { extents: [] as VmdkExtent[], ddb: new Map<string, string>() };
	for (const [index, raw] of text.split(/\r\n|\n|\r/).entries()) {
		const line = raw.trim();
		if (line === "" || line.startsWith("#")) continue;
		if (/^(RW|RDONLY|NOACCESS)\s/i.test(line)) {
			descriptor.extents.push(parseExtent(line, index + 1));
			if (descriptor.extents.length > MAX_EXTENTS) throw new ConfigError("descriptor with too many extents");
			continue;
		}
		const match = /^([^\s=]+)\s*=\s*"?(.*?)"?$/.exec(line);
		if (!match) throw new ConfigError(`descriptor line ${index + 1} is malformed`);
		const key = match[1].toLowerCase();
		(key.startsWith("ddb.") ? descriptor.ddb : header).set(key, match[2]);
	}
	const cid = (key: string) => {
		const value = header.get(key)?.toLowerCase() ?? "ffffffff";
		if (!/^[0-9a-f]{1,8}$/.test(value)) throw new ConfigError(`descriptor with a malformed ${key}`);
		return value.padStart(8, "0");
	};
	if (header.get("version") !== "1" && !/^[23]$/.test(header.get("version") ?? ""))
		throw new ConfigError(`descriptor of unknown version "${printable(header.get("version") ?? "")}"`);
	return {
		...descriptor,
		createType: header.get("createtype") ?? "",
		cid: cid("cid"),
		parentCid: cid("parentcid"),
		parentHint: header.get("parentfilenamehint"),
	};
}

function parseExtent(line: string, number: number): VmdkExtent {
	const match = /^(RW|RDONLY|NOACCESS)\s+(\d{1,15})\s+([A-Z]+)(?:\s+"([^"]+)"(?:\s+(\d{1,15}))?(?:\s.*)?)?$/i.exec(
		line,
	);
	if (!match) throw new ConfigError(`descriptor line ${number}: malformed extent`);
	const sectors = Number(match[2]);
	const start = Number(match[5] ?? 0);
	const type = match[3].toUpperCase();
	const file = match[4];
	if (sectors < 1 || !Number.isSafeInteger((sectors + start) * SECTOR))
		throw new ConfigError(`descriptor line ${number}: impossible size`);
	if ((type === "ZERO") !== (file === undefined))
		throw new ConfigError(
			`descriptor line ${number}: extent of type ${type} ${file ? "names a file" : "names no file"}`,
		);
	return { access: match[1].toUpperCase() as VmdkExtent["access"], sectors, type, file, start };
}
