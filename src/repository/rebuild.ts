/**
 * Makes the whole index from packs alone (docs/format.md, 8). New segments are put before the old ones go, so a
 * rebuild that is cut short leaves at worst both.
 */
import { Faults, interrupted } from "./check-faults.js";
import { condemnedPacks, readCondemned } from "./condemned.js";
import type { Progress, RebuildReport } from "./contract.js";
import { causeOf } from "./errors.js";
import { ENTRY_BYTES } from "./identity-table.js";
import { Index } from "./index-set.js";
import type { Keyring } from "./keyring.js";
import { CHECKPOINT_RECORDS, isId, LOCK_BYTE, packName, type Random, segmentName } from "./layout.js";
import { waitForLock } from "./locks.js";
import { presentPacks } from "./pack-inventory.js";
import { readPackTable } from "./pack-reader.js";
import type { PackRow } from "./segment-format.js";
import type { Store } from "./store.js";

export interface RebuildOptions {
	progress?: (p: Progress) => void;
	signal?: AbortSignal;
}

/** Rebuilds under the merge lock: backups may run beside it, but nobody else removes segments. */
export const rebuildRepository = async (
	store: Store,
	keyring: Keyring,
	random: Random,
	options: RebuildOptions,
): Promise<RebuildReport> => {
	await store.prepare();
	const waiting = { doing: "rebuild", signal: options.signal };
	const use = await waitForLock(store, LOCK_BYTE.use, "shared", { ...waiting, holder: "a deletion or repair" });
	try {
		const holder = "a merge of the index, or another rebuild,";
		const merge = await waitForLock(store, LOCK_BYTE.merge, "exclusive", { ...waiting, holder });
		try {
			await store.sweep();
			return await rebuildIndex(store, keyring, random, options);
		} finally {
			merge.release();
		}
	} finally {
		use.release();
	}
};

/** The same without locks. */
export const rebuildIndex = async (
	store: Store,
	keyring: Keyring,
	random: Random,
	options: RebuildOptions,
): Promise<RebuildReport> => {
	const old = (await store.list("index")).filter(isId);
	const index = new Index(store, keyring, random);
	const present = [...(await presentPacks(store))].sort();
	const faults = new Faults();
	let parts: Buffer[] = [];
	let rows: PackRow[] = [];
	let waiting = 0;
	let records = 0;
	const put = async () => {
		if (rows.length > 0) await index.put(Buffer.concat(parts), waiting, rows);
		records += waiting;
		parts = [];
		rows = [];
		waiting = 0;
	};
	for (const [done, id] of present.entries()) {
		interrupted(options.signal);
		const table = await tableOf(store, id, keyring, faults);
		if (table === undefined) continue;
		const entries = Buffer.from(table.entries);
		for (let at = 0; at < entries.length; at += ENTRY_BYTES) entries.writeUInt32LE(rows.length, at + 32);
		parts.push(entries);
		rows.push({ id, size: table.size });
		waiting += entries.length / ENTRY_BYTES;
		if (waiting >= CHECKPOINT_RECORDS) await put();
		options.progress?.({ done: done + 1, total: present.length, what: "packs", unit: "items" });
	}
	await put();
	// Before the merge, which takes in whatever is there.
	for (const id of old) await store.remove(segmentName(id));
	// A list that is damaged stops backups and prune, not this: any place of a record will do.
	await index.merge(condemnedPacks(await readCondemned(store).catch(() => [])));
	return { packs: present.length, records, segments: index.segments.length, faults: faults.list() };
};

const tableOf = async (store: Store, id: string, keyring: Keyring, faults: Faults) => {
	const file = packName(id);
	try {
		const table = await readPackTable(store, id, keyring);
		if (table?.fault !== undefined) faults.of("bad-pack", file, `${file}: ${table.fault}`);
		return table;
	} catch (error) {
		faults.of("unreadable-pack", file, `${file} cannot be read: ${causeOf(error)}`);
		return undefined;
	}
};
