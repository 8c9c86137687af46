/** Bytes of a pack's header, footer and trailer (docs/format.md, 6). */
import { xxh3 } from "../../native/index.js";
import { ENTRY_BYTES } from "./identity-table.js";
import { PACK_MAX_BYTES, RECORD_HEADER_BYTES } from "./layout.js";

export const PACK_HEADER_BYTES = 96;
export const PACK_TRAILER_BYTES = 64;
export const PACK_KIND = { data: 1, meta: 2 } as const;

const HEADER_MAGIC = Buffer.from("SBPACK01");
const TRAILER_MAGIC = Buffer.from("SBPKEND1");

export const encodePackHeader = (kind: number, pack: string, repository: string): Buffer => {
	const bytes = Buffer.alloc(PACK_HEADER_BYTES);
	HEADER_MAGIC.copy(bytes, 0);
	bytes[8] = kind;
	bytes.write(pack, 16, "hex");
	bytes.write(repository, 32, "hex");
	bytes.writeBigUInt64LE(xxh3(bytes.subarray(0, 88)), 88);
	return bytes;
};

/** Why a header is wrong, or undefined. */
export const faultOfPackHeader = (bytes: Buffer, pack: string, repository: string): string | undefined => {
	if (bytes.length < PACK_HEADER_BYTES) return "shorter than its header";
	if (bytes.compare(HEADER_MAGIC, 0, 8, 0, 8) !== 0) return "no pack header";
	if (bytes.readBigUInt64LE(88) !== xxh3(bytes.subarray(0, 88))) return "header checksum differs";
	if (bytes.toString("hex", 16, 32) !== pack) return "holds another pack";
	if (bytes.toString("hex", 32, 48) !== repository) return "belongs to another repository";
	return undefined;
};

export const encodePackTrailer = (pack: string, footerOffset: number, footer: Buffer): Buffer => {
	const bytes = Buffer.alloc(PACK_TRAILER_BYTES);
	TRAILER_MAGIC.copy(bytes, 0);
	bytes.writeBigUInt64LE(BigInt(footerOffset), 8);
	bytes.writeUInt32LE(footer.length / ENTRY_BYTES, 16);
	bytes.write(pack, 24, "hex");
	bytes.writeBigUInt64LE(xxh3(footer), 40);
	bytes.writeBigUInt64LE(xxh3(bytes.subarray(0, 56)), 56);
	return bytes;
};

export interface PackTrailer {
	footerOffset: number;
	footerLength: number;
	footerChecksum: bigint;
}

/** Parses and verifies a trailer of a pack of `size` bytes; a string says what is wrong. */
export const decodePackTrailer = (bytes: Buffer, pack: string, size: number): PackTrailer | string => {
	if (bytes.length < PACK_TRAILER_BYTES || bytes.compare(TRAILER_MAGIC, 0, 8, 0, 8) !== 0)
		return "no trailer: the pack is cut short";
	if (bytes.readBigUInt64LE(56) !== xxh3(bytes.subarray(0, 56))) return "trailer checksum differs";
	if (bytes.toString("hex", 24, 40) !== pack) return "trailer of another pack";
	const footerOffset = Number(bytes.readBigUInt64LE(8));
	const footerLength = bytes.readUInt32LE(16) * ENTRY_BYTES;
	if (size > PACK_MAX_BYTES + footerLength || footerOffset + footerLength + PACK_TRAILER_BYTES !== size)
		return "size differs from its trailer";
	return { footerOffset, footerLength, footerChecksum: bytes.readBigUInt64LE(40) };
};

/** Why a footer's entries do not tile the pack, or undefined. */
export const faultOfFooter = (footer: Buffer, trailer: PackTrailer): string | undefined => {
	if (footer.length !== trailer.footerLength) return "footer cut short";
	if (xxh3(footer) !== trailer.footerChecksum) return "footer checksum differs";
	let expected = PACK_HEADER_BYTES;
	for (let at = 0; at < footer.length; at += ENTRY_BYTES) {
		if (footer.readUInt32LE(at + 36) !== expected || footer.readUInt32LE(at + 40) < RECORD_HEADER_BYTES)
			return "footer entries leave gaps";
		expected += footer.readUInt32LE(at + 40);
	}
	return expected === trailer.footerOffset ? undefined : "footer entries leave gaps";
};
