/** Check, part two: packs by header, table and trailer, and with `readData` records by checksum and SHA-256. */
import { addRange, type Faults, interrupted } from "./check-faults.js";
import type { CheckOptions } from "./contract.js";
import { causeOf } from "./errors.js";
import { ENTRY_BYTES } from "./identity-table.js";
import type { Index, Locator } from "./index-set.js";
import type { Keyring } from "./keyring.js";
import { packName, TYPE } from "./layout.js";
import { PACK_HEADER_BYTES, PACK_TRAILER_BYTES } from "./pack-format.js";
import { presentPacks } from "./pack-inventory.js";
import { type PackTable, readPackTable } from "./pack-reader.js";
import { RecordVerifier } from "./record-verifier.js";
import type { Store } from "./store.js";

/** What is known about packs after their check. */
export class PackReport {
	count = 0;
	blocks = 0;
	bytesRead = 0;
	/** bytes of packs that are there */
	readonly sizes = new Map<string, number>();
	/** records that the tables of packs name */
	readonly records = new Map<string, number>();
	/** packs in which anything is wrong, with the first reason */
	readonly bad = new Map<string, string>();
	/** of packs without a good table: where good records begin */
	readonly walked = new Map<string, Set<number>>();
	/** "pack:offset" of records that must not be served, with the reason */
	readonly badRecords = new Map<string, string>();

	/** Why a record cannot be had, or undefined. */
	faultOf({ pack, offset, length }: Locator): { kind: string; message: string } | undefined {
		const file = packName(pack);
		const size = this.sizes.get(pack);
		if (size === undefined) return { kind: "missing-pack", message: `${file} is missing` };
		if (offset + length + PACK_TRAILER_BYTES > size)
			return { kind: "truncated-pack", message: `${file} is cut short: it has ${size} bytes` };
		const bad = this.badRecords.get(`${pack}:${offset}`);
		if (bad !== undefined) return { kind: "bad-record", message: bad };
		const lost = this.walked.get(pack)?.has(offset) === false;
		return lost ? { kind: "bad-record", message: `${file} at offset ${offset}: no good record` } : undefined;
	}
}

/** The part of a pack's entries whose records begin in the slice (fractions of the pack), which may wrap around. */
const inSlice = (entries: Buffer, size: number, { from, share }: { from: number; share: number }): Buffer => {
	const first = (part: number): number => {
		const limit = PACK_HEADER_BYTES + part * (size - PACK_HEADER_BYTES);
		let at = 0;
		while (at < entries.length && entries.readUInt32LE(at + 36) < limit) at += ENTRY_BYTES;
		return at;
	};
	const until = from + share;
	if (share >= 1) return entries;
	if (until <= 1) return entries.subarray(first(from), first(until));
	return Buffer.concat([entries.subarray(0, first(until - 1)), entries.subarray(first(from))]);
};

export const checkPacks = async (
	store: Store,
	keyring: Keyring,
	blockSize: number,
	index: Index,
	faults: Faults,
	options: CheckOptions,
	/** packs that a prune which was cut short may have deleted already */
	condemned: ReadonlySet<string>,
): Promise<PackReport> => {
	const report = new PackReport();
	for (const folder of await store.list("packs")) {
		for (const name of await store.list(`packs/${folder}`))
			if (!/^[0-9a-f]{32}$/.test(name) || !name.startsWith(folder))
				faults.of("unknown-file", `packs/${folder}/${name}`, `packs/${folder}/${name} is not part of a repository`);
	}
	const expected = new Map(index.segments.flatMap(({ packs }) => packs.map(({ id, size }) => [id, size] as const)));
	const present = await presentPacks(store);
	for (const id of expected.keys())
		if (!present.has(id) && !condemned.has(id)) faults.of("missing-pack", packName(id), `${packName(id)} is missing`);
	report.count = present.size;
	const slice = options.readData === true ? { from: 0, share: 1 } : options.readData;
	const share = slice === false ? 0 : slice.share;
	const total = slice === false ? present.size : [...expected.values()].reduce((sum, size) => sum + size * share, 0);
	let done = 0;
	const progress = (more: number) => {
		done += more;
		const unit = slice === false ? "items" : "bytes";
		options.progress?.({ done, total: Math.max(total, done), what: "packs", unit });
	};
	const verifier = slice === false ? undefined : new RecordVerifier(store, keyring, blockSize);
	try {
		for (const id of present) {
			interrupted(options.signal, faults);
			const table = await tableOf(store, id, keyring, expected.get(id) ?? 0, report, faults);
			if (slice === false) progress(1);
			if (table === undefined || verifier === undefined || slice === false) continue;
			await verifier.verify(id, inSlice(table.entries, table.size, slice), (records) => {
				let bytes = 0;
				for (const { position, length, fault } of records) {
					bytes += length;
					if (fault !== undefined) badRecord(id, position, length, fault, report, faults);
				}
				report.bytesRead += bytes;
				progress(bytes);
				interrupted(options.signal, faults);
			});
		}
		await verifier?.drain();
	} finally {
		await verifier?.close();
	}
	return report;
};

/** A pack's table, noted; undefined when the pack is gone by now. */
const tableOf = async (
	store: Store,
	id: string,
	keyring: Keyring,
	expected: number,
	report: PackReport,
	faults: Faults,
): Promise<PackTable | undefined> => {
	const file = packName(id);
	let table: PackTable | undefined;
	try {
		table = await readPackTable(store, id, keyring);
	} catch (error) {
		// One pack that its disk cannot read must not hide what is wrong with the others.
		report.sizes.set(id, Number.MAX_SAFE_INTEGER);
		report.walked.set(id, new Set());
		report.bad.set(id, causeOf(error));
		faults.of("unreadable-pack", file, `${file} cannot be read: ${causeOf(error)}`);
		return undefined;
	}
	if (table === undefined) return undefined;
	report.sizes.set(id, table.size);
	report.records.set(id, table.entries.length / ENTRY_BYTES);
	for (let at = 0; at < table.entries.length; at += ENTRY_BYTES)
		if (table.entries[at + 47] === TYPE.block) report.blocks += 1;
	if (table.fault !== undefined) {
		report.bad.set(id, table.fault);
		faults.of(table.size < expected ? "truncated-pack" : "bad-pack", file, `${file}: ${table.fault}`);
		if (table.walked) {
			const offsets = new Set<number>();
			for (let at = 0; at < table.entries.length; at += ENTRY_BYTES) offsets.add(table.entries.readUInt32LE(at + 36));
			report.walked.set(id, offsets);
		}
	}
	return table;
};

const badRecord = (
	pack: string,
	position: number,
	length: number,
	why: string,
	report: PackReport,
	faults: Faults,
): void => {
	const file = packName(pack);
	const message = `${file} at offset ${position}: ${why}`;
	report.badRecords.set(`${pack}:${position}`, message);
	if (!report.bad.has(pack)) report.bad.set(pack, why);
	addRange(faults.of("bad-record", file, message), position, length);
};
