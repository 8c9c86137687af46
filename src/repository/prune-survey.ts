/** What prune sees before it decides: how much of each pack is live. Changes nothing. */
import { RepositoryError } from "./contract.js";
import { ENTRY_BYTES } from "./identity-table.js";
import type { Keyring } from "./keyring.js";
import { TYPE } from "./layout.js";
import { LiveSet } from "./live-set.js";
import { PACK_KIND } from "./pack-format.js";
import { readPackTable } from "./pack-reader.js";
import type { Store } from "./store.js";

export interface PackFacts {
	id: string;
	/** bytes of the file */
	size: number;
	/** of its records: data blocks, or map pages and objects */
	kind: number;
	/** bytes of all records, and of those that points need and no denser pack has */
	total: number;
	live: number;
}

export interface Survey {
	packs: PackFacts[];
	/** packs whose table is damaged: left alone */
	damaged: string[];
}

export interface SurveyContext {
	store: Store;
	keyring: Keyring;
	signal: AbortSignal | undefined;
	progress: (done: number, total: number) => void;
	/** told of each record that is stored more than once, and of the pack that keeps it */
	kept?: (pack: PackFacts, table: Buffer, entry: TableEntry) => Promise<void>;
}

/** Reads the table of every named pack. */
export const surveyPacks = async (ids: string[], live: LiveSet, context: SurveyContext): Promise<Survey> => {
	const packs: PackFacts[] = [];
	const damaged: string[] = [];
	const twice = new LiveSet(0);
	let done = 0;
	const table = async (id: string) => {
		if (context.signal?.aborted) throw new RepositoryError("INTERRUPTED", "prune was interrupted");
		context.progress(done++, ids.length);
		return readPackTable(context.store, id, context.keyring);
	};
	for (const id of ids) {
		const read = await table(id);
		if (read === undefined) continue;
		if (read.fault !== undefined) {
			damaged.push(id);
			continue;
		}
		const facts = { id, size: read.size, kind: kindOf(read.entries), total: 0, live: 0 };
		for (const { at, length, type } of entriesOf(read.entries)) {
			facts.total += length;
			if (!live.has(read.entries, at, type)) continue;
			facts.live += length;
			if (!live.meet(read.entries, at, type)) twice.add(read.entries, at, type);
		}
		packs.push(facts);
	}
	packs.sort((a, b) => b.live / b.total - a.live / a.total || (a.id < b.id ? -1 : 1));
	if (twice.count === 0) return { packs, damaged };
	// Some records are stored twice (by backups side by side, by a prune that was killed): the densest pack keeps them.
	live.meetAgain();
	done = 0;
	for (const facts of packs) {
		if (facts.live === 0) continue;
		const read = await table(facts.id);
		facts.live = 0;
		if (read === undefined) continue;
		for (const entry of entriesOf(read.entries)) {
			const { at, length, type } = entry;
			if (!live.meet(read.entries, at, type)) continue;
			facts.live += length;
			if (twice.has(read.entries, at, type)) await context.kept?.(facts, read.entries, entry);
		}
	}
	return { packs, damaged };
};

/** A pack has records of one kind, so its first tells. */
const kindOf = (entries: Buffer): number => (entries[47] === TYPE.block ? PACK_KIND.data : PACK_KIND.meta);

export interface TableEntry {
	/** position of the entry in the table */
	at: number;
	/** of the record in the pack, header included */
	offset: number;
	length: number;
	type: number;
	rawLength: number;
}

/** The entries of a pack's table. */
export function* entriesOf(entries: Buffer): Generator<TableEntry> {
	for (let at = 0; at < entries.length; at += ENTRY_BYTES) {
		const packed = entries.readUInt32LE(at + 44);
		yield {
			at,
			offset: entries.readUInt32LE(at + 36),
			length: entries.readUInt32LE(at + 40),
			type: packed >>> 24,
			rawLength: packed & 0xffffff,
		};
	}
}
