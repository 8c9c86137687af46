/**
 * Marks what points need: walks the block maps of their disks, each unique page once however many points share it, and
 * puts every record into a LiveSet. Points that come later can be added; what they share is not walked again.
 */
import { RepositoryError } from "./contract.js";
import type { Index } from "./index-set.js";
import { IDENTITY_BYTES, isAbsent, RECORD_HEADER_BYTES, TYPE } from "./layout.js";
import { LiveSet } from "./live-set.js";
import { blockCount, FAN_OUT, levelsFor, MAP_PAGE_BYTES } from "./map-geometry.js";
import type { StoredPoint } from "./points.js";
import type { RecordReader } from "./record-reader.js";

/** Pages read at once. */
const BATCH = 128;

interface Todo {
	identity: Buffer;
	offset: number;
	level: number;
}

/** Records of which the place was seen: one bit for each 56 bytes of a pack, for no record is smaller. */
class Places {
	readonly #packs = new Map<string, Uint8Array>();

	/** True the first time. */
	add(pack: string, offset: number): boolean {
		const bit = Math.floor(offset / RECORD_HEADER_BYTES);
		let bits = this.#packs.get(pack);
		if (bits === undefined || bits.length <= bit >>> 3) {
			const larger = new Uint8Array(Math.max(1024, 2 ** Math.ceil(Math.log2((bit >>> 3) + 1))));
			if (bits !== undefined) larger.set(bits);
			bits = larger;
			this.#packs.set(pack, bits);
		}
		if ((bits[bit >>> 3] & (1 << (bit & 7))) !== 0) return false;
		bits[bit >>> 3] |= 1 << (bit & 7);
		return true;
	}
}

export class Marker {
	readonly live: LiveSet;
	readonly #reader: RecordReader;
	readonly #blockSize: number;
	/** per level: bytes that are a page of one height may by chance, or by malice, be one of another */
	readonly #visited: Places[] = [];
	readonly #points = new Set<string>();
	/** map pages read */
	pages = 0;

	constructor(reader: RecordReader, index: Index, blockSize: number) {
		this.#reader = reader;
		this.#blockSize = blockSize;
		this.live = new LiveSet(index.segments.reduce((sum, { trailer }) => sum + trailer.entries, 0));
	}

	/** Adds points that were not marked yet. Rejects with RepositoryError DAMAGED when a page cannot be read. */
	async mark(points: StoredPoint[], each: (done: number) => void, signal: AbortSignal | undefined): Promise<void> {
		let done = 0;
		for (const point of points) {
			done += 1;
			if (this.#points.has(point.id)) continue;
			for (const { name, size, root } of point.disks) {
				if (root === null) continue;
				const level = levelsFor(blockCount(size, this.#blockSize)) - 1;
				await this.#walk({ identity: Buffer.from(root, "hex"), offset: 0, level }, `${name} of ${point.vm}`, signal);
			}
			for (const { chunks } of point.files)
				for (const chunk of chunks) this.live.add(Buffer.from(chunk, "hex"), 0, TYPE.object);
			this.#points.add(point.id);
			each(done);
		}
	}

	async #walk(root: Todo, what: string, signal: AbortSignal | undefined): Promise<void> {
		const todo = [root];
		while (todo.length > 0) {
			if (signal?.aborted) throw new RepositoryError("INTERRUPTED", "prune was interrupted");
			const batch = await this.#unvisited(todo.splice(-BATCH), what);
			const targets = batch.map(() => Buffer.allocUnsafe(MAP_PAGE_BYTES));
			const faults = await this.#reader.read(
				batch.map(({ identity, offset }, n) => ({
					...{ identity, offset, type: TYPE.page, rawLength: MAP_PAGE_BYTES, target: targets[n], targetOffset: 0 },
				})),
			);
			for (let n = 0; n < batch.length; n++) {
				const fault = faults[n];
				if (fault !== undefined) throw unreadable(what, fault.message);
				this.#page(batch[n], targets[n], todo);
			}
		}
	}

	/** Those of which the place is new; all are live. */
	async #unvisited(batch: Todo[], what: string): Promise<Todo[]> {
		const places = await Promise.all(
			batch.map(({ identity, offset }) => this.#reader.locate(identity, offset, TYPE.page)),
		);
		return batch.filter(({ level }, n) => {
			const place = places[n];
			if (place === null) throw unreadable(what, "a page is in no pack");
			this.#visited[level] ??= new Places();
			return this.#visited[level].add(place.pack, place.offset);
		});
	}

	#page({ identity, offset, level }: Todo, page: Buffer, todo: Todo[]): void {
		this.pages += 1;
		this.live.add(identity, offset, TYPE.page);
		for (let n = 0; n < FAN_OUT; n++) {
			const at = n * IDENTITY_BYTES;
			if (isAbsent(page, at)) continue;
			if (level > 0) todo.push({ identity: page, offset: at, level: level - 1 });
			else this.live.add(page, at, TYPE.block);
		}
	}
}

const unreadable = (what: string, why: string): RepositoryError =>
	new RepositoryError(
		"DAMAGED",
		`the block map of ${what} cannot be read (${why}), so nobody knows what it needs: nothing was deleted; run springback check`,
	);
