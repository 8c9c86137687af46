/** Which packs are there, which the index covers, and the tables of those it does not. */
import { codeOf } from "./errors.js";
import { ENTRY_BYTES } from "./identity-table.js";
import type { Keyring } from "./keyring.js";
import { CHECKPOINT_RECORDS, isId } from "./layout.js";
import { readPackTable } from "./pack-reader.js";
import type { Segment } from "./segment.js";
import type { PackRow } from "./segment-format.js";
import type { Store } from "./store.js";

/** Ids of all packs in the store. */
export const presentPacks = async (store: Store): Promise<Set<string>> => {
	const present = new Set<string>();
	for (const folder of await store.list("packs")) {
		if (!/^[0-9a-f]{2}$/.test(folder)) continue;
		for (const id of await store.list(`packs/${folder}`)) if (isId(id) && id.startsWith(folder)) present.add(id);
	}
	return present;
};

export const coveredPacks = (segments: readonly Segment[]): Set<string> =>
	new Set(segments.flatMap(({ packs }) => packs.map(({ id }) => id)));

/** Entries of the named packs, in portions that fit a segment; the pack column is the row in `packs`. */
export async function* readTables(
	store: Store,
	ids: string[],
	keyring: Keyring,
): AsyncGenerator<{ entries: Buffer; packs: PackRow[] }> {
	let parts: Buffer[] = [];
	let packs: PackRow[] = [];
	let count = 0;
	for (const id of ids) {
		const table = await readPackTable(store, id, keyring).catch((error) => {
			// What the disk cannot read must not keep the rest from being used; check reports it.
			if (codeOf(error) !== "EIO") throw error;
			return undefined;
		});
		if (table === undefined) continue;
		const entries = Buffer.from(table.entries);
		for (let at = 0; at < entries.length; at += ENTRY_BYTES) entries.writeUInt32LE(packs.length, at + 32);
		parts.push(entries);
		packs.push({ id, size: table.size });
		count += entries.length / ENTRY_BYTES;
		if (count < CHECKPOINT_RECORDS) continue;
		yield { entries: Buffer.concat(parts), packs };
		parts = [];
		packs = [];
		count = 0;
	}
	if (packs.length > 0) yield { entries: Buffer.concat(parts), packs };
}
