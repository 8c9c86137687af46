/**
 * Map pages by identity, with a bounded cache (32 MiB of pages: the leaves of 64 GiB of disk). The pages of a disk lie
 * together in packs, so a page that has to be read brings its neighbours along.
 */
import { ImageError } from "../image/image.js";
import type { Index } from "./index-set.js";
import { IDENTITY_BYTES, TYPE } from "./layout.js";
import { MAP_PAGE_BYTES } from "./map-geometry.js";
import type { RecordReader, Wanted } from "./record-reader.js";

const CACHED_PAGES = 16384;
/** Neighbours are those that begin in the same so many bytes of a pack: the leaves of 248 MiB of disk. */
const WINDOW_BYTES = 128 * 1024;

export class PageStore {
	readonly #reader: RecordReader;
	readonly #pages = new Map<string, Buffer>();
	readonly #loading = new Map<string, Promise<Buffer>>();
	/** pages that are being read because they lie beside one that was wanted; the promises never reject */
	readonly #coming = new Map<string, Promise<void>>();
	/** pages read, neighbours included */
	read = 0;

	constructor(reader: RecordReader) {
		this.#reader = reader;
	}

	get index(): Index {
		return this.#reader.index;
	}

	/** The page's bytes when they are in memory. */
	peek(identities: Buffer, offset: number): Buffer | undefined {
		return this.#pages.get(keyOf(identities, offset));
	}

	/**
	 * The page's bytes: at once when cached. Rejects with ImageError ECORRUPT or EIO. `alone`: who asks goes from change to
	 * change, so the neighbours would be read for nothing.
	 */
	get(identities: Buffer, offset: number, alone = false): Buffer | Promise<Buffer> {
		const key = keyOf(identities, offset);
		const cached = this.#pages.get(key);
		if (cached !== undefined) return cached;
		const loading = this.#loading.get(key);
		if (loading !== undefined) return loading;
		const load = this.#load(key, Buffer.from(identities.subarray(offset, offset + IDENTITY_BYTES)), alone);
		this.#loading.set(key, load);
		const done = () => this.#loading.delete(key);
		load.then(done, done);
		return load;
	}

	async #load(key: string, identity: Buffer, alone: boolean): Promise<Buffer> {
		const coming = this.#coming.get(key);
		if (coming !== undefined) {
			await coming;
			const page = this.#pages.get(key);
			if (page !== undefined) return page;
		}
		const target = Buffer.allocUnsafeSlow(MAP_PAGE_BYTES);
		const [fault] = await this.#reader.read([wanted(identity, 0, target)]);
		if (fault !== undefined) throw new ImageError(fault.code, `block map: ${fault.message}`, 0, 0);
		this.#remember(key, target);
		this.read += 1;
		if (!alone) void this.#around(identity);
		return target;
	}

	/** Reads the neighbours of a page in the background. Never rejects. */
	async #around(identity: Buffer): Promise<void> {
		const near = await this.#reader.around(identity, 0, TYPE.page, WINDOW_BYTES);
		const missing = near.flatMap(({ identity, offset, place }) => {
			const key = keyOf(identity, offset);
			if (place.rawLength !== MAP_PAGE_BYTES) return [];
			if (this.#pages.has(key) || this.#loading.has(key) || this.#coming.has(key)) return [];
			const target = Buffer.allocUnsafeSlow(MAP_PAGE_BYTES);
			return [{ ...wanted(identity, offset, target), target, place, key }];
		});
		if (missing.length === 0) return;
		const reading = this.#reader.readAt(missing).then((good) => {
			missing.forEach(({ key, target }, n) => {
				this.#coming.delete(key);
				if (good[n]) this.#remember(key, target);
				this.read += 1;
			});
		});
		for (const { key } of missing) this.#coming.set(key, reading);
		await reading;
	}

	#remember(key: string, page: Buffer): void {
		// First in, first out is enough: pages that are in use sit in their disks' own leaf tables.
		if (this.#pages.size >= CACHED_PAGES) this.#pages.delete(this.#pages.keys().next().value!);
		this.#pages.set(key, page);
	}
}

const keyOf = (identities: Buffer, offset: number): string =>
	identities.toString("latin1", offset, offset + IDENTITY_BYTES);

const wanted = (identity: Buffer, offset: number, target: Buffer): Wanted => ({
	...{ identity, offset, type: TYPE.page, rawLength: MAP_PAGE_BYTES, target, targetOffset: 0 },
});
