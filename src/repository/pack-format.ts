/** Bytes of a pack's header, footer and trailer (docs/format.md, 6). */
import { xxh3 } from "../../native/index.js";
import { decryptFooter, encryptFooter, FOOTER_TAG_BYTES } from "./footer-cipher.js";
import { ENTRY_BYTES } from "./identity-table.js";
import type { Keyring } from "./keyring.js";
import { PACK_MAX_BYTES, RECORD_HEADER_BYTES } from "./layout.js";

export const PACK_HEADER_BYTES = 96;
export const PACK_TRAILER_BYTES = 64;
export const PACK_KIND = { data: 1, meta: 2 } as const;

const HEADER_MAGIC = Buffer.from("SBPACK01");
const TRAILER_MAGIC = Buffer.from("SBPKEND1");

/** What encryption adds to a footer: its tag, and a copy of the header's salt. */
export const SALT_BYTES = 32;
const SALT_AT = 48;
const ENCRYPTED = 1;

/** `salt`: of an encrypted pack. */
export const encodePackHeader = (kind: number, pack: string, repository: string, salt?: Buffer): Buffer => {
	const bytes = Buffer.alloc(PACK_HEADER_BYTES);
	HEADER_MAGIC.copy(bytes, 0);
	bytes[8] = kind;
	bytes[9] = salt === undefined ? 0 : ENCRYPTED;
	bytes.write(pack, 16, "hex");
	bytes.write(repository, 32, "hex");
	salt?.copy(bytes, SALT_AT);
	bytes.writeBigUInt64LE(xxh3(bytes.subarray(0, 88)), 88);
	return bytes;
};

/** What a header says of the repository that its pack is of; undefined when the header is damaged. */
export const headerFacts = (bytes: Buffer, pack: string): { repository: string; encrypted: boolean } | undefined => {
	const good =
		bytes.length >= PACK_HEADER_BYTES &&
		bytes.compare(HEADER_MAGIC, 0, 8, 0, 8) === 0 &&
		bytes.readBigUInt64LE(88) === xxh3(bytes.subarray(0, 88)) &&
		bytes.toString("hex", 16, 32) === pack;
	return good ? { repository: bytes.toString("hex", 32, 48), encrypted: (bytes[9] & ENCRYPTED) !== 0 } : undefined;
};

/** Why a header is wrong, or undefined. */
export const faultOfPackHeader = (bytes: Buffer, pack: string, keyring: Keyring): string | undefined => {
	if (bytes.length < PACK_HEADER_BYTES) return "shorter than its header";
	if (bytes.compare(HEADER_MAGIC, 0, 8, 0, 8) !== 0) return "no pack header";
	if (bytes.readBigUInt64LE(88) !== xxh3(bytes.subarray(0, 88))) return "header checksum differs";
	if (bytes.toString("hex", 16, 32) !== pack) return "holds another pack";
	if (bytes.toString("hex", 32, 48) !== keyring.repository) return "belongs to another repository";
	if (bytes[9] !== (keyring.encrypted ? ENCRYPTED : 0)) return keyring.encrypted ? "is not encrypted" : "is encrypted";
	return undefined;
};

export const saltOfHeader = (header: Buffer): Buffer => Buffer.from(header.subarray(SALT_AT, SALT_AT + SALT_BYTES));

/** A pack's end: footer and trailer. `seal` and `salt`: of an encrypted pack. */
export const encodePackEnd = (
	pack: string,
	footerOffset: number,
	entries: Buffer,
	sealed?: { seal: Buffer; salt: Buffer },
): Buffer[] => {
	const bytes = Buffer.alloc(PACK_TRAILER_BYTES);
	TRAILER_MAGIC.copy(bytes, 0);
	bytes.writeBigUInt64LE(BigInt(footerOffset), 8);
	bytes.writeUInt32LE(entries.length / ENTRY_BYTES, 16);
	bytes.writeUInt32LE(sealed === undefined ? 0 : ENCRYPTED, 20);
	const footer =
		sealed === undefined
			? entries
			: Buffer.concat([encryptFooter(entries, sealed.seal, bytes.subarray(8, 24)), sealed.salt]);
	bytes.write(pack, 24, "hex");
	bytes.writeBigUInt64LE(xxh3(footer), 40);
	bytes.writeBigUInt64LE(xxh3(bytes.subarray(0, 56)), 56);
	return [footer, bytes];
};

export interface PackTrailer {
	footerOffset: number;
	footerLength: number;
	footerChecksum: bigint;
	encrypted: boolean;
	/** what an encrypted footer is bound to: bytes 8 to 23 */
	bound: Buffer;
}

/** Parses and verifies a trailer of a pack of `size` bytes; a string says what is wrong. */
export const decodePackTrailer = (bytes: Buffer, pack: string, size: number): PackTrailer | string => {
	if (bytes.length < PACK_TRAILER_BYTES || bytes.compare(TRAILER_MAGIC, 0, 8, 0, 8) !== 0)
		return "no trailer: the pack is cut short";
	if (bytes.readBigUInt64LE(56) !== xxh3(bytes.subarray(0, 56))) return "trailer checksum differs";
	if (bytes.toString("hex", 24, 40) !== pack) return "trailer of another pack";
	const footerOffset = Number(bytes.readBigUInt64LE(8));
	const encrypted = (bytes.readUInt32LE(20) & ENCRYPTED) !== 0;
	const footerLength = bytes.readUInt32LE(16) * ENTRY_BYTES + (encrypted ? FOOTER_TAG_BYTES + SALT_BYTES : 0);
	if (size > PACK_MAX_BYTES + footerLength || footerOffset + footerLength + PACK_TRAILER_BYTES !== size)
		return "size differs from its trailer";
	const bound = Buffer.from(bytes.subarray(8, 24));
	return { footerOffset, footerLength, footerChecksum: bytes.readBigUInt64LE(40), encrypted, bound };
};

/** The entries in a footer, verified to tile the pack; a string says what is wrong. `seal`: of an encrypted repository. */
export const decodeFooter = (footer: Buffer, trailer: PackTrailer, seal: Buffer | undefined): Buffer | string => {
	if (footer.length !== trailer.footerLength) return "footer cut short";
	if (xxh3(footer) !== trailer.footerChecksum) return "footer checksum differs";
	if (trailer.encrypted !== (seal !== undefined))
		return trailer.encrypted ? "footer is encrypted" : "footer is not encrypted";
	const entries =
		seal === undefined ? footer : decryptFooter(footer.subarray(0, footer.length - SALT_BYTES), seal, trailer.bound);
	if (entries === undefined) return "footer is not authentic";
	let expected = PACK_HEADER_BYTES;
	for (let at = 0; at < entries.length; at += ENTRY_BYTES) {
		if (entries.readUInt32LE(at + 36) !== expected || entries.readUInt32LE(at + 40) < RECORD_HEADER_BYTES)
			return "footer entries leave gaps";
		expected += entries.readUInt32LE(at + 40);
	}
	return expected === trailer.footerOffset ? entries : "footer entries leave gaps";
};
