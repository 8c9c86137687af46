/**
 * Places of records that are stored more than once. A merge of the index keeps one place of each, maybe in a pack that prune
 * is about to delete; so the place that stays is put into the index before anything goes.
 */
import { ENTRY_BYTES } from "./identity-table.js";
import type { Index } from "./index-set.js";
import { CHECKPOINT_RECORDS } from "./layout.js";
import type { PackFacts, TableEntry } from "./prune-survey.js";
import type { PackRow } from "./segment-format.js";

export class KeptPlaces {
	readonly #index: Index;
	#entries: Buffer[] = [];
	#packs: PackRow[] = [];

	constructor(index: Index) {
		this.#index = index;
	}

	/** Remembers the place, unless the index names it. */
	async add({ id, size }: PackFacts, table: Buffer, { at, type }: TableEntry): Promise<void> {
		for await (const { pack } of this.#index.findAll(table, at, type)) if (pack === id) return;
		if (this.#packs.at(-1)?.id !== id) this.#packs.push({ id, size });
		const entry = Buffer.from(table.subarray(at, at + ENTRY_BYTES));
		entry.writeUInt32LE(this.#packs.length - 1, 32);
		this.#entries.push(entry);
		if (this.#entries.length >= CHECKPOINT_RECORDS) await this.put();
	}

	/** Puts what is remembered into the index. */
	async put(): Promise<void> {
		if (this.#entries.length === 0) return;
		await this.#index.put(Buffer.concat(this.#entries), this.#entries.length, this.#packs);
		this.#entries = [];
		this.#packs = [];
	}
}
