/**
 * The end of condemned packs: one is deleted only when every live record in it was read, whole, from a pack that stays.
 * One that is needed after all, because a backup that ran meanwhile counted on it, is released.
 */

import type { Index, Locator } from "./index-set.js";
import type { Keyring } from "./keyring.js";
import { IDENTITY_BYTES, packName } from "./layout.js";
import type { LiveSet } from "./live-set.js";
import { readPackTable } from "./pack-reader.js";
import type { PackSeals } from "./pack-seals.js";
import { entriesOf, type TableEntry } from "./prune-survey.js";
import type { Store, StoreRead } from "./store.js";

/** Plain bytes read at once. */
const BATCH_BYTES = 4 * 1024 * 1024;

export interface SettleContext {
	store: Store;
	index: Index;
	keyring: Keyring;
	seals: PackSeals;
	live: LiveSet;
	/** every condemned pack: a copy in one of them does not count */
	condemned: ReadonlySet<string>;
}

/** Deletes the pack when it may go. Resolves with the bytes freed; 0 when it stays or was gone. */
export const settlePack = async (pack: string, context: SettleContext): Promise<number> => {
	const { store, keyring } = context;
	const table = await readPackTable(store, pack, keyring);
	// A table that is damaged tells nothing about what else is in there.
	if (table === undefined || table.fault !== undefined) return 0;
	if (!(await allElsewhere(table.entries, context))) return 0;
	await store.remove(packName(pack));
	return table.size;
};

const allElsewhere = async (entries: Buffer, context: SettleContext): Promise<boolean> => {
	let batch: TableEntry[] = [];
	let bytes = 0;
	for (const entry of entriesOf(entries)) {
		if (!context.live.has(entries, entry.at, entry.type)) continue;
		batch.push(entry);
		bytes += entry.rawLength;
		if (bytes < BATCH_BYTES) continue;
		if (!(await readElsewhere(entries, batch, context))) return false;
		batch = [];
		bytes = 0;
	}
	return batch.length === 0 || readElsewhere(entries, batch, context);
};

/** Reads each record from a pack that stays. */
const readElsewhere = async (table: Buffer, batch: TableEntry[], context: SettleContext): Promise<boolean> => {
	const target = Buffer.allocUnsafe(Math.max(1, ...batch.map(({ rawLength }) => rawLength)) * batch.length);
	const stride = target.length / batch.length;
	const reads: StoreRead[] = [];
	for (const [n, { at, type, rawLength }] of batch.entries()) {
		const place = await placeElsewhere(table, at, type, context);
		if (place === undefined || place.rawLength !== rawLength) return false;
		const identity = table.subarray(at, at + IDENTITY_BYTES);
		await context.seals.load([place.pack]);
		const seal = context.seals.of(place.pack);
		const { offset: position, length } = place;
		reads.push({
			...{ file: packName(place.pack), position, length, identity, type, rawLength, target, seal },
			targetOffset: n * stride,
		});
	}
	return (await context.store.readRecords(reads)).every((status) => status === "ok");
};

const placeElsewhere = async (
	identity: Buffer,
	offset: number,
	type: number,
	{ index, condemned }: SettleContext,
): Promise<Locator | undefined> => {
	for await (const place of index.findAll(identity, offset, type)) if (!condemned.has(place.pack)) return place;
	return undefined;
};
