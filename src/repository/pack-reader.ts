/** Reads a pack's table of records: from its footer, or record by record where the footer is damaged. */
import { codeOf } from "./errors.js";
import { ENTRY_BYTES, writeEntry } from "./identity-table.js";
import type { Keyring } from "./keyring.js";
import { packName, RECORD_HEADER_BYTES } from "./layout.js";
import {
	decodeFooter,
	decodePackTrailer,
	faultOfPackHeader,
	PACK_HEADER_BYTES,
	PACK_TRAILER_BYTES,
	saltOfHeader,
} from "./pack-format.js";
import type { Store } from "./store.js";

export interface PackTable {
	/** bytes of the file */
	size: number;
	/** 48-byte entries in file order, pack column 0 */
	entries: Buffer;
	/** what is wrong with header, footer or trailer; entries then come from the records themselves */
	fault?: string;
}

const RECORD_MAGIC = 0x31524253; // "SBR1"

/** The entries of a pack; undefined when the pack is not there, also when it goes while it is read. */
export const readPackTable = async (store: Store, pack: string, keyring: Keyring): Promise<PackTable | undefined> => {
	try {
		return await readTable(store, pack, keyring);
	} catch (error) {
		if (codeOf(error) === "ENOENT") return undefined;
		throw error;
	}
};

const readTable = async (store: Store, pack: string, keyring: Keyring): Promise<PackTable | undefined> => {
	const name = packName(pack);
	const size = await store.size(name);
	if (size === undefined) return undefined;
	const head = await store.read(name, 0, PACK_HEADER_BYTES);
	const fault = faultOfPackHeader(head, pack, keyring);
	if (fault !== undefined) return { size, entries: await walkRecords(store, name, size), fault };
	const trailer = decodePackTrailer(
		await store.read(name, Math.max(0, size - PACK_TRAILER_BYTES), PACK_TRAILER_BYTES),
		pack,
		size,
	);
	if (typeof trailer === "string") return { size, entries: await walkRecords(store, name, size), fault: trailer };
	const footer = await store.read(name, trailer.footerOffset, trailer.footerLength);
	const seal = keyring.encrypted ? keyring.packSeal(pack, saltOfHeader(head)) : undefined;
	const entries = decodeFooter(footer, trailer, seal);
	if (typeof entries === "string") return { size, entries: await walkRecords(store, name, size), fault: entries };
	return { size, entries };
};

/** Entries of all whole records from the front; their content is verified when it is read. */
const walkRecords = async (store: Store, name: string, size: number): Promise<Buffer> => {
	const entries: Buffer[] = [];
	let position = PACK_HEADER_BYTES;
	while (position + RECORD_HEADER_BYTES <= size) {
		const head = await store.read(name, position, RECORD_HEADER_BYTES);
		if (head.length < RECORD_HEADER_BYTES || head.readUInt32LE(0) !== RECORD_MAGIC) break;
		const length = RECORD_HEADER_BYTES + head.readUInt32LE(12);
		const rawLength = head.readUInt32LE(8);
		if (position + length > size || rawLength > 0xffffff) break;
		const entry = Buffer.alloc(ENTRY_BYTES);
		writeEntry(entry, 0, head.subarray(24, 56), 0, position, length, head[4], rawLength);
		entries.push(entry);
		position += length;
	}
	return Buffer.concat(entries);
};
