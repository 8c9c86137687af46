/**
 * Streams one source disk into records and a block map. A ring of buffers keeps reading, hashing, encoding and
 * writing busy at once; only the look-up is done in order, and memory is the ring.
 */
import type { HashedBlocks, Lane } from "../../native/index.js";
import { type BlockRange, blockRanges } from "./block-ranges.js";
import { type Chunk, planChunks } from "./chunks.js";
import { type DiskResult, type DiskSource, RepositoryError } from "./contract.js";
import { type BaseMap, DerivedMapBuilder } from "./derived-map.js";
import { causeOf } from "./errors.js";
import { IDENTITY_BYTES, TYPE } from "./layout.js";
import { MapBuilder, type MapPage } from "./map-builder.js";
import { blockCount } from "./map-geometry.js";
import type { RecordWriter, StoredBytes } from "./record-writer.js";

/** Bytes of one buffer. */
const CHUNK_BYTES = 2 * 1024 * 1024;
/** Buffers in the ring: one being read, one hashed per core, one encoded per core, one written. */
const RING = 6;

/** Buffers shared by all disks of a backup. */
export class Ring {
	readonly blocks: number;
	readonly #free: Buffer[];
	readonly #waiting: ((buffer: Buffer) => void)[] = [];

	constructor(blockSize: number) {
		this.blocks = Math.max(1, CHUNK_BYTES / blockSize);
		this.#free = Array.from({ length: RING }, () => Buffer.allocUnsafeSlow(this.blocks * blockSize));
	}

	take(): Buffer | Promise<Buffer> {
		return this.#free.pop() ?? new Promise((resolve) => this.#waiting.push(resolve));
	}

	give(buffer: Buffer): void {
		const next = this.#waiting.shift();
		if (next === undefined) this.#free.push(buffer);
		else next(buffer);
	}
}

export interface DiskBackup {
	result: DiskResult;
	/** identity of the map's root, null for all zeros */
	root: Buffer | null;
}

/** The disk's map in the point since which its changes are known. */
export type Base = BaseMap & { readonly size: number };

export interface DiskContext {
	/** wanted when the source says what changed */
	base?: Base;
	lane: Lane;
	writer: RecordWriter;
	ring: Ring;
	blockSize: number;
	/** Makes what is new durable, where there is enough of it. */
	checkpointIfDue(): Promise<void>;
	/** bytes of the disk that are done */
	progress: (done: number) => void;
	signal: AbortSignal | undefined;
}

/** Stores one disk; rejects with RepositoryError SOURCE or INTERRUPTED, or whatever the store failed with. */
export const backupDisk = async (source: DiskSource, context: DiskContext): Promise<DiskBackup> => {
	const run = new DiskRun(source, context);
	const tasks = new Set<Promise<void>>();
	try {
		const plan = planChunks(source.image, context.blockSize, context.ring.blocks, run.ranges);
		for (;;) {
			const chunk = await run.next(plan);
			if (chunk === undefined) break;
			const buffer = await context.ring.take();
			if (run.failed !== undefined) {
				context.ring.give(buffer);
				break;
			}
			const task = run.process(chunk, buffer).finally(() => {
				context.ring.give(buffer);
				tasks.delete(task);
			});
			tasks.add(task);
			// A failure is seen through run.failed; this keeps it from being reported as unhandled meanwhile.
			task.catch(() => {});
		}
	} finally {
		await Promise.allSettled(tasks);
	}
	return run.finish();
};

class DiskRun {
	readonly #source: DiskSource;
	readonly #context: DiskContext;
	readonly #builder: MapBuilder | DerivedMapBuilder;
	/** what is read; undefined: all of it */
	readonly ranges: BlockRange[] | undefined;
	#pages: MapPage[] = [];
	/** the look-ups of the chunk before */
	#turn: Promise<void> = Promise.resolve();
	#done = 0;
	failed: { error: unknown } | undefined;
	readonly #result: DiskResult;

	constructor(source: DiskSource, context: DiskContext) {
		this.#source = source;
		this.#context = context;
		const blocks = blockCount(source.image.size, context.blockSize);
		const emit = (page: MapPage) => void this.#pages.push(page);
		if (context.base && source.changed) {
			this.ranges = changedRanges(source, context.base, context.blockSize);
			this.#builder = new DerivedMapBuilder(context.base, blocks, this.ranges, context.writer.keyring, emit);
		} else this.#builder = new MapBuilder(blocks, context.writer.keyring, emit);
		this.#result = { name: source.name, size: source.image.size, read: 0, new: 0, stored: 0 };
	}

	/** The next chunk of the plan; undefined at the end or after a failure. */
	async next(plan: AsyncGenerator<Chunk>): Promise<Chunk | undefined> {
		if (this.failed !== undefined) return undefined;
		this.#checkSignal();
		try {
			const { value, done } = await plan.next();
			return done ? undefined : value;
		} catch (error) {
			throw new RepositoryError("SOURCE", `cannot list the data of ${this.#source.name}: ${causeOf(error)}`, {
				cause: error,
			});
		}
	}

	#checkSignal(): void {
		if (this.#context.signal?.aborted)
			throw new RepositoryError("INTERRUPTED", "the backup was interrupted; nothing of it was kept as a restore point");
	}

	/** Takes one chunk through all stages; resolves when its buffer is free. */
	async process(chunk: Chunk, buffer: Buffer): Promise<void> {
		const before = this.#turn;
		let pass = () => {};
		this.#turn = new Promise((resolve) => {
			pass = resolve;
		});
		try {
			const { lane, blockSize, writer } = this.#context;
			await this.#read(chunk, buffer);
			const data = buffer.subarray(0, chunk.length);
			const hashed = await lane.hashBlocks(data, blockSize, writer.keyring.identityKey);
			await before;
			if (this.failed !== undefined) return;
			await this.#map(chunk, hashed);
			const stored = (await writer.claiming(() => this.#store(chunk, data, hashed))).written;
			// Handled below; until then a failure must not count as unhandled.
			stored?.catch(() => {});
			await this.#flushPages();
			await this.#context.checkpointIfDue();
			this.#done = chunk.end;
			this.#context.progress(this.#done);
			pass();
			const bytes = await stored;
			this.#result.new += bytes?.plain ?? 0;
			this.#result.stored += bytes?.stored ?? 0;
		} catch (error) {
			this.failed ??= { error };
			throw error;
		} finally {
			pass();
		}
	}

	async #read(chunk: Chunk, buffer: Buffer): Promise<void> {
		let filled = 0;
		for (const { at, length } of chunk.pieces) {
			// Parts of a block outside the data extents are zeros; the buffer holds an older chunk.
			if (at > filled) buffer.fill(0, filled, at);
			filled = at + length;
		}
		if (filled < chunk.length) buffer.fill(0, filled, chunk.length);
		await Promise.all(
			chunk.pieces.map(async ({ offset, length, at }) => {
				try {
					await this.#source.image.read(offset, buffer.subarray(at, at + length));
				} catch (error) {
					throw new RepositoryError(
						"SOURCE",
						`cannot read ${this.#source.name} at offset ${offset}: ${causeOf(error)}`,
						{
							cause: error,
						},
					);
				}
				this.#result.read += length;
			}),
		);
	}

	/** Enters the blocks into the disk's map. */
	async #map(chunk: Chunk, { identities, zero }: HashedBlocks): Promise<void> {
		for (let n = 0; n < chunk.blocks.length; n++) {
			if (zero[n] === 1) continue;
			const set = this.#builder.set(chunk.blocks[n], identities, n * IDENTITY_BYTES);
			if (set) await set;
		}
	}

	/** Looks the blocks up, and begins to store the new ones. In an object, so that nobody waits for their end here. */
	async #store(
		chunk: Chunk,
		data: Buffer,
		{ identities, zero }: HashedBlocks,
	): Promise<{ written: Promise<StoredBytes> | undefined }> {
		const { writer, blockSize } = this.#context;
		const known = chunk.blocks.map((_, n) => zero[n] === 1 || writer.has(identities, n * IDENTITY_BYTES, TYPE.block));
		const answers = known.some((answer) => answer instanceof Promise) ? await Promise.all(known) : known;
		// From here to the end nothing waits: what is claimed is being stored.
		const chosen: number[] = [];
		const entries: number[] = [];
		for (let n = 0; n < chunk.blocks.length; n++) {
			if (answers[n]) continue;
			const rawLength = Math.min(blockSize, chunk.length - n * blockSize);
			const entry = writer.claim(identities, n * IDENTITY_BYTES, TYPE.block, rawLength);
			if (entry < 0) continue;
			chosen.push(n);
			entries.push(entry);
		}
		if (chosen.length === 0) return { written: undefined };
		return { written: writer.storeBlocks(data, blockSize, chosen, entries, identities) };
	}

	async #flushPages(): Promise<void> {
		const pages = this.#pages;
		if (pages.length === 0) return;
		this.#pages = [];
		await this.#context.writer.storePages(pages);
	}

	async finish(): Promise<DiskBackup> {
		if (this.failed !== undefined) throw this.failed.error;
		this.#checkSignal();
		const root = await this.#builder.finish();
		await this.#flushPages();
		this.#context.progress(this.#source.image.size);
		return { result: this.#result, root };
	}
}

/** The blocks to read: those that the tracker names, and where the disk became longer or its last block shorter. */
const changedRanges = ({ image, changed }: DiskSource, base: Base, blockSize: number): BlockRange[] => {
	const extents = [...(changed?.extents ?? [])];
	const common = Math.min(base.size, image.size);
	if (base.size !== image.size && common % blockSize !== 0) extents.push({ offset: common - 1, length: 1 });
	if (image.size > base.size) extents.push({ offset: common, length: image.size - common });
	return blockRanges(extents, image.size, blockSize);
};
