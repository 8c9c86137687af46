/** Reads a pack's table of records: from its footer, or record by record where the footer is damaged. */
import { codeOf } from "./errors.js";
import { ENTRY_BYTES, writeEntry } from "./identity-table.js";
import type { Keyring } from "./keyring.js";
import { IDENTITY_BYTES, OBJECT_MAX_BYTES, packName, RECORD_HEADER_BYTES, TYPE } from "./layout.js";
import {
	decodeFooter,
	decodePackTrailer,
	faultOfPackHeader,
	PACK_HEADER_BYTES,
	PACK_TRAILER_BYTES,
} from "./pack-format.js";
import { readPackSeal } from "./pack-seals.js";
import type { Store } from "./store.js";

export interface PackTable {
	/** bytes of the file */
	size: number;
	/** 48-byte entries in file order, pack column 0 */
	entries: Buffer;
	/** what is wrong with header, footer or trailer */
	fault?: string;
	/** the footer is no good: the entries are of the records that were found and verified one by one */
	walked?: boolean;
}

const RECORD_MAGIC = Buffer.from("SBR1");
const WINDOW_BYTES = 4 * 1024 * 1024;

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
	const fault = faultOfPackHeader(await store.read(name, 0, PACK_HEADER_BYTES), pack, keyring);
	const seal = keyring.encrypted ? (await readPackSeal(store, pack, keyring)).seal : undefined;
	const footer = await readFooter(store, name, pack, size, seal);
	if (typeof footer !== "string") return { size, entries: footer, ...(fault && { fault }) };
	return { size, entries: await walkRecords(store, keyring, name, size, seal), fault: fault ?? footer, walked: true };
};

/** The footer's entries, or what is wrong with footer or trailer. */
const readFooter = async (
	store: Store,
	name: string,
	pack: string,
	size: number,
	seal: Buffer | undefined,
): Promise<Buffer | string> => {
	const at = Math.max(0, size - PACK_TRAILER_BYTES);
	const trailer = decodePackTrailer(await store.read(name, at, PACK_TRAILER_BYTES), pack, size);
	if (typeof trailer === "string") return trailer;
	const footer = await store.read(name, trailer.footerOffset, trailer.footerLength);
	return decodeFooter(footer, trailer, seal);
};

/**
 * Entries of all good records. Where a record is damaged, the next one is looked for. What looks like a record may lie in the
 * data of a guest that wrote it there, so only content that has its identity counts.
 */
const walkRecords = async (
	store: Store,
	keyring: Keyring,
	name: string,
	size: number,
	seal: Buffer | undefined,
): Promise<Buffer> => {
	const entries: Buffer[] = [];
	const bytes = new Window(store, name, size);
	for (let position = PACK_HEADER_BYTES; position + RECORD_HEADER_BYTES <= size; ) {
		const head = await bytes.at(position, RECORD_HEADER_BYTES);
		const length = await goodRecord(store, keyring, name, head, position, size, seal);
		if (length === undefined) {
			position = await bytes.find(RECORD_MAGIC, position + 1);
			continue;
		}
		const entry = Buffer.alloc(ENTRY_BYTES);
		writeEntry(entry, 0, head.subarray(24, 56), 0, position, length, head[4], head.readUInt32LE(8));
		entries.push(entry);
		position += length;
	}
	return Buffer.concat(entries);
};

/** The length of the record at a position, header included; undefined when there is no good one. */
const goodRecord = async (
	store: Store,
	keyring: Keyring,
	name: string,
	head: Buffer,
	position: number,
	size: number,
	seal: Buffer | undefined,
): Promise<number | undefined> => {
	const type = head[4];
	const rawLength = head.readUInt32LE(8);
	const length = RECORD_HEADER_BYTES + head.readUInt32LE(12);
	const plausible =
		RECORD_MAGIC.compare(head, 0, 4) === 0 &&
		(type === TYPE.block || type === TYPE.page || type === TYPE.object) &&
		rawLength <= OBJECT_MAX_BYTES &&
		position + length <= size;
	if (!plausible) return undefined;
	const identity = head.subarray(24, 24 + IDENTITY_BYTES);
	const target = Buffer.allocUnsafe(rawLength);
	const read = { file: name, position, length, identity, type, rawLength, target, targetOffset: 0, seal };
	const [status] = await store.readRecords([read]);
	return status === "ok" && keyring.identityOf(target).equals(identity) ? length : undefined;
};

/** A file, read in large pieces. */
class Window {
	#bytes: Buffer = Buffer.alloc(0);
	#start = 0;

	constructor(
		private readonly store: Store,
		private readonly name: string,
		private readonly size: number,
	) {}

	/** `length` bytes at `position`, both within the file. */
	async at(position: number, length: number): Promise<Buffer> {
		if (position < this.#start || position + length > this.#start + this.#bytes.length) await this.#load(position);
		return this.#bytes.subarray(position - this.#start, position - this.#start + length);
	}

	/** The first place at or after `from` that has these bytes, or the size of the file. */
	async find(what: Buffer, from: number): Promise<number> {
		for (let position = from; position + what.length <= this.size; ) {
			const inside = position >= this.#start && position + what.length <= this.#start + this.#bytes.length;
			if (!inside) await this.#load(position);
			const found = this.#bytes.indexOf(what, position - this.#start);
			if (found >= 0) return this.#start + found;
			position = this.#start + this.#bytes.length - what.length + 1;
		}
		return this.size;
	}

	async #load(position: number): Promise<void> {
		this.#bytes = await this.store.read(this.name, position, Math.min(WINDOW_BYTES, this.size - position));
		this.#start = position;
		if (this.#bytes.length < Math.min(WINDOW_BYTES, this.size - position))
			throw new Error(`${this.name} became shorter while it was read`);
	}
}
