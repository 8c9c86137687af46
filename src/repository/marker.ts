/**
 * Marks what points need: walks the block maps of their disks, each unique page once however many points share it, and
 * puts every record into a LiveSet. Points that come later can be added; what they share is not walked again, nor looked
 * up: a page names mostly the children that the page in its place named one point before.
 */
import { RepositoryError } from "./contract.js";
import type { Index } from "./index-set.js";
import { IDENTITY_BYTES, isAbsent, TYPE } from "./layout.js";
import { LiveSet } from "./live-set.js";
import { blockCount, FAN_OUT, levelsFor, MAP_PAGE_BYTES } from "./map-geometry.js";
import { Places } from "./places.js";
import type { StoredPoint } from "./points.js";
import type { RecordReader } from "./record-reader.js";
import { Trail } from "./trail.js";

/** Pages read at once. */
const BATCH = 128;

interface Todo {
	identity: Buffer;
	offset: number;
	level: number;
	/** of the page on its level */
	number: number;
}

export class Marker {
	#live: LiveSet | undefined;
	readonly #index: Index;
	readonly #reader: RecordReader;
	readonly #blockSize: number;
	/** per level: bytes that are a page of one height may by chance, or by malice, be one of another */
	readonly #visited: Places[] = [];
	readonly #points = new Set<string>();
	/** pages above the leaves, all of them marked with everything below */
	readonly #trail = new Trail<Buffer>();
	readonly #pages = Buffer.allocUnsafeSlow(BATCH * MAP_PAGE_BYTES);
	/** map pages read */
	pages = 0;
	/** places of pages that were asked for */
	lookUps = 0;

	constructor(reader: RecordReader, index: Index, blockSize: number) {
		this.#reader = reader;
		this.#blockSize = blockSize;
		this.#index = index;
	}

	/** Made when it is first wanted: by then the index is loaded, which says how large it will be. */
	get live(): LiveSet {
		this.#live ??= new LiveSet(this.#index.segments.reduce((sum, { trailer }) => sum + trailer.entries, 0));
		return this.#live;
	}

	/** Adds points that were not marked yet. Rejects with RepositoryError DAMAGED when a page cannot be read. */
	async mark(points: StoredPoint[], each: (done: number) => void, signal: AbortSignal | undefined): Promise<void> {
		const fresh = points.filter(({ id }) => !this.#points.has(id));
		let done = points.length - fresh.length;
		// A VM's points one after the other, in their order: each is much like the one before.
		fresh.sort((a, b) => (a.vm === b.vm ? 0 : a.vm < b.vm ? -1 : 1));
		for (const point of fresh) {
			done += 1;
			this.#trail.of(point.vm);
			for (const { name, size, root } of point.disks) {
				if (root === null) continue;
				const level = levelsFor(blockCount(size, this.#blockSize)) - 1;
				await this.#walk({ identity: Buffer.from(root, "hex"), offset: 0, level, number: 0 }, name, point.vm, signal);
			}
			for (const { chunks } of point.files)
				for (const chunk of chunks) this.live.add(Buffer.from(chunk, "hex"), 0, TYPE.object);
			this.#points.add(point.id);
			each(done);
		}
	}

	async #walk(root: Todo, disk: string, vm: string, signal: AbortSignal | undefined): Promise<void> {
		const what = `${disk} of ${vm}`;
		const todo = [root];
		while (todo.length > 0) {
			if (signal?.aborted) throw new RepositoryError("INTERRUPTED", "prune was interrupted");
			const batch = await this.#unvisited(todo.splice(-BATCH), what);
			const faults = await this.#reader.read(
				batch.map(({ identity, offset }, n) => ({
					...{ identity, offset, type: TYPE.page, rawLength: MAP_PAGE_BYTES },
					...{ target: this.#pages, targetOffset: n * MAP_PAGE_BYTES },
				})),
			);
			for (let n = 0; n < batch.length; n++) {
				const fault = faults[n];
				if (fault !== undefined) throw unreadable(what, fault.message);
				const { identity, offset, level } = batch[n];
				this.pages += 1;
				this.live.add(identity, offset, TYPE.page);
				if (level === 0) this.#leaf(n * MAP_PAGE_BYTES);
				else this.#inner(disk, batch[n], n * MAP_PAGE_BYTES, todo);
			}
		}
	}

	/** Those of which the place is new; all are live. */
	async #unvisited(batch: Todo[], what: string): Promise<Todo[]> {
		this.lookUps += batch.length;
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

	#leaf(start: number): void {
		const { live } = this;
		for (let at = start; at < start + MAP_PAGE_BYTES; at += IDENTITY_BYTES)
			if (!isAbsent(this.#pages, at)) live.add(this.#pages, at, TYPE.block);
	}

	#inner(disk: string, { level, number }: Todo, start: number, todo: Todo[]): void {
		const page = Buffer.allocUnsafeSlow(MAP_PAGE_BYTES);
		this.#pages.copy(page, 0, start, start + MAP_PAGE_BYTES);
		const before = this.#trail.swap(disk, level, number, page);
		forEachChange(before, page, 0, MAP_PAGE_BYTES, (at) => {
			if (isAbsent(page, at)) return;
			todo.push({ identity: page, offset: at, level: level - 1, number: number * FAN_OUT + at / IDENTITY_BYTES });
		});
	}
}

/** The identities from `start` to `end` that are others than before, in order; halves that are the same are passed over at once. */
const forEachChange = (
	before: Buffer | undefined,
	page: Buffer,
	start: number,
	end: number,
	each: (at: number) => void,
): void => {
	if (before?.compare(page, start, end, start, end) === 0) return;
	if (end - start === IDENTITY_BYTES) each(start);
	else {
		const middle = (start + end) / 2;
		forEachChange(before, page, start, middle, each);
		forEachChange(before, page, middle, end, each);
	}
};

const unreadable = (what: string, why: string): RepositoryError =>
	new RepositoryError(
		"DAMAGED",
		`the block map of ${what} cannot be read (${why}), so nobody knows what it needs: nothing was deleted; run springback check`,
	);
