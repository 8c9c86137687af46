/** Copies the live records of packs that are mostly dead, or small, into new packs, through the same writer as a backup. */
import type { Lane } from "../../native/index.js";
import { RepositoryError } from "./contract.js";
import type { Index } from "./index-set.js";
import { IDENTITY_BYTES, packName, TYPE } from "./layout.js";
import type { LiveSet } from "./live-set.js";
import { readPackTable } from "./pack-reader.js";
import { PackSeals } from "./pack-seals.js";
import { entriesOf, type PackFacts, type TableEntry } from "./prune-survey.js";
import { RecordWriter, type RecordWriterOptions } from "./record-writer.js";
import type { Store } from "./store.js";

/** Plain bytes read at once. */
const BATCH_BYTES = 4 * 1024 * 1024;

/** Live bytes copied before the packs that they come from are deleted: the space that prune itself needs. */
const ROUND_BYTES = 1024 ** 3;

export interface RewriteContext extends RecordWriterOptions {
	store: Store;
	index: Index;
	lane: Lane;
	live: LiveSet;
	blockSize: number;
	signal: AbortSignal | undefined;
	/** bytes of packs that are done */
	progress: (done: number) => void;
}

export interface Rewritten {
	/** packs of which everything live is stored elsewhere too, durable and indexed */
	packs: PackFacts[];
	/** packs with a live record that cannot be read: they stay */
	damaged: string[];
	/** bytes of records stored */
	bytes: number;
}

/** `context.condemned` holds the packs themselves too, so that nothing counts on a copy in one of them. */
export const rewritePacks = async (packs: PackFacts[], context: RewriteContext): Promise<Rewritten> => {
	const writer = new RecordWriter(context.store, context.index, context.lane, context);
	const seals = new PackSeals(context.store, context.keyring);
	const result: Rewritten = { packs: [], damaged: [], bytes: 0 };
	let done = 0;
	try {
		for (const facts of packs) {
			const whole = await new PackCopy(facts.id, writer, context, seals).run();
			if (whole) result.packs.push(facts);
			else result.damaged.push(facts.id);
			if (writer.checkpointDue) await writer.checkpoint();
			done += facts.size;
			context.progress(done);
		}
		await writer.checkpoint();
		result.bytes = writer.recordBytes;
		return result;
	} finally {
		await writer.leave();
	}
};

class PackCopy {
	readonly #buffer: Buffer;
	readonly #identities: Buffer;

	constructor(
		readonly pack: string,
		readonly writer: RecordWriter,
		readonly context: RewriteContext,
		readonly seals: PackSeals,
	) {
		const blocks = Math.max(1, BATCH_BYTES / context.blockSize);
		this.#buffer = Buffer.allocUnsafe(blocks * context.blockSize);
		this.#identities = Buffer.alloc(blocks * IDENTITY_BYTES);
	}

	/** False when a live record cannot be read. */
	async run(): Promise<boolean> {
		const { store, keyring, live, blockSize } = this.context;
		const table = await readPackTable(store, this.pack, keyring);
		if (table === undefined || table.fault !== undefined) return false;
		let blocks: TableEntry[] = [];
		for (const entry of entriesOf(table.entries)) {
			if (!live.has(table.entries, entry.at, entry.type)) continue;
			const known = this.writer.has(table.entries, entry.at, entry.type);
			if (known instanceof Promise ? await known : known) continue;
			const whole = entry.type === TYPE.block && entry.rawLength === blockSize;
			if (!whole) {
				if (!(await this.#copy(table.entries, [entry], entry.rawLength))) return false;
				continue;
			}
			blocks.push(entry);
			if (blocks.length * blockSize < this.#buffer.length) continue;
			if (!(await this.#copy(table.entries, blocks, blockSize))) return false;
			blocks = [];
		}
		return blocks.length === 0 || this.#copy(table.entries, blocks, blockSize);
	}

	/** Stores records of one kind, each of `rawLength` plain bytes. */
	async #copy(table: Buffer, entries: TableEntry[], rawLength: number): Promise<boolean> {
		if (this.context.signal?.aborted) throw new RepositoryError("INTERRUPTED", "prune was interrupted");
		const target = rawLength <= this.#buffer.length ? this.#buffer : Buffer.allocUnsafe(rawLength);
		await this.seals.load([this.pack]);
		const seal = this.seals.of(this.pack);
		const statuses = await this.context.store.readRecords(
			entries.map(({ at, offset, length, type }, n) => ({
				...{ file: packName(this.pack), position: offset, length, type, rawLength },
				...{ identity: table.subarray(at, at + IDENTITY_BYTES), target, targetOffset: n * rawLength, seal },
			})),
		);
		if (statuses.some((status) => status !== "ok")) return false;
		const { type } = entries[0];
		if (type === TYPE.block) await this.#blocks(table, entries, target, rawLength);
		else {
			const bytes = Buffer.from(target.subarray(0, rawLength));
			const identity = this.context.keyring.identityOf(bytes);
			if (identity.compare(table, entries[0].at, entries[0].at + IDENTITY_BYTES) !== 0) return false;
			if (type === TYPE.page) await this.writer.storePages([{ identity, bytes }]);
			else await this.writer.storeObject(bytes);
		}
		return true;
	}

	async #blocks(table: Buffer, entries: TableEntry[], data: Buffer, rawLength: number): Promise<void> {
		const chosen: number[] = [];
		const claims: number[] = [];
		entries.forEach(({ at }, n) => {
			table.copy(this.#identities, n * IDENTITY_BYTES, at, at + IDENTITY_BYTES);
			const claim = this.writer.claim(table, at, TYPE.block, rawLength);
			if (claim < 0) return;
			chosen.push(n);
			claims.push(claim);
		});
		if (chosen.length === 0) return;
		const length = entries.length * rawLength;
		await this.writer.storeBlocks(data.subarray(0, length), rawLength, chosen, claims, this.#identities);
	}
}

/** Portions of at most ROUND_BYTES live bytes, or one pack. */
export function* roundsOf(packs: PackFacts[]): Generator<PackFacts[]> {
	let round: PackFacts[] = [];
	let live = 0;
	for (const facts of packs) {
		if (round.length > 0 && live + facts.live > ROUND_BYTES) {
			yield round;
			round = [];
			live = 0;
		}
		round.push(facts);
		live += facts.live;
	}
	if (round.length > 0) yield round;
}
