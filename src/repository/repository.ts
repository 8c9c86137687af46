/** The Repository contract over a store: wires points, index, block maps and cache together. */
import type { Image } from "../image/image.js";
import { runBackup } from "./backup.js";
import { BackupGroups } from "./backup-group.js";
import { BlockFetcher } from "./block-fetcher.js";
import type { BlockCache } from "./cache.js";
import { type Compression, parseCompression } from "./compression.js";
import { type Config, FEATURE } from "./config.js";
import {
	type BackupRequest,
	type CheckOptions,
	type CheckReport,
	type DiskResult,
	type ForgetOptions,
	type ForgetReport,
	type Hold,
	type OpenDiskOptions,
	type Point,
	type Progress,
	type PruneOptions,
	type PruneReport,
	type RebuildReport,
	type RepairOptions,
	type RepairReport,
	type Repository,
	RepositoryError,
	type RepositoryStats,
} from "./contract.js";
import { DiskImage } from "./disk-image.js";
import { causeOf, codeOf, storeError } from "./errors.js";
import { putHold, readHolds, removeHold } from "./holds.js";
import { Index } from "./index-set.js";
import type { Keyring } from "./keyring.js";
import { CODEC, isId, LOCK_PINS, newId, OBJECT_MAX_BYTES, pinByte, type Random, TYPE } from "./layout.js";
import { changedExtents } from "./map-diff.js";
import { MapReader } from "./map-reader.js";
import { PageStore } from "./page-store.js";
import { PointStore, type StoredPoint, toPoint } from "./points.js";
import { RecordReader } from "./record-reader.js";
import { resolvePoint } from "./resolve.js";
import type { Held, Store } from "./store.js";
import { StreamImage } from "./stream-image.js";
import { Turns } from "./turns.js";

/** What looks after a repository, loaded when it is wanted: other commands start sooner without it. */
const care = () => import("./care.js");

export interface RepositoryTuning {
	random: Random;
	/** new records between two checkpoints of a backup: alone, and while others of other processes run */
	checkpointRecords: number;
	checkpointBeside: number;
}

export class FileRepository implements Repository {
	readonly id: string;
	readonly blockSize: number;
	readonly #store: Store;
	readonly #random: Random;
	readonly #checkpointRecords: number;
	/** features that this program can read past but must not write beside (docs/format.md, 4) */
	readonly #unknownFeatures: string[];
	readonly #config: Config;
	readonly #keyring: Keyring;
	readonly #index: Index;
	readonly #points: PointStore;
	readonly #records: RecordReader;
	readonly #pages: PageStore;
	readonly #fetcher: BlockFetcher;
	readonly #disks = new Set<DiskImage | StreamImage>();
	readonly #groups: BackupGroups;
	readonly #turns = new Turns();

	private constructor(
		readonly path: string,
		config: Config,
		keyring: Keyring,
		store: Store,
		cache: BlockCache,
		{ random, checkpointRecords, checkpointBeside }: RepositoryTuning,
	) {
		this.#checkpointRecords = checkpointRecords;
		this.#unknownFeatures = config.features.readCompatible;
		this.#config = config;
		this.#keyring = keyring;
		this.id = config.id;
		this.blockSize = config.blockSize;
		this.#store = store;
		this.#random = random;
		this.#index = new Index(store, keyring, random, { write: config.features.readCompatible.length === 0 });
		this.#groups = new BackupGroups(store, this.#index, checkpointBeside);
		this.#points = new PointStore(store, keyring);
		this.#records = new RecordReader(store, this.#index);
		this.#pages = new PageStore(this.#records);
		this.#fetcher = new BlockFetcher(this.#records, cache.pool(config.blockSize));
	}

	/** Loads the index's segments; see `openRepository`. */
	static async open(
		path: string,
		config: Config,
		keyring: Keyring,
		store: Store,
		cache: BlockCache,
		tuning: RepositoryTuning,
	): Promise<FileRepository> {
		const repository = new FileRepository(path, config, keyring, store, cache, tuning);
		await repository.#index.refresh();
		return repository;
	}

	async points(vm?: string): Promise<Point[]> {
		const all = await this.#listPoints();
		return all.filter((point) => vm === undefined || point.vm === vm).map(toPoint);
	}

	async resolve(spec: string): Promise<Point> {
		return toPoint((await this.#named(spec)) ?? resolvePoint(spec, await this.#listPoints()));
	}

	/** A point that is named by its whole id, as sessions do: found without reading all others. */
	async #named(spec: string): Promise<StoredPoint | undefined> {
		const at = spec.indexOf("@");
		const id = spec.slice(at + 1);
		if (at < 0 || !isId(id)) return undefined;
		const stored = await this.#points.get(id);
		return stored?.vm === spec.slice(0, at) ? stored : undefined;
	}

	async #listPoints(): Promise<StoredPoint[]> {
		try {
			return await this.#points.list();
		} catch (error) {
			throw storeError(error, this.path, "listing restore points");
		}
	}

	async #stored(point: Pick<Point, "id" | "vm">): Promise<StoredPoint> {
		const stored = await this.#points.get(point.id);
		if (stored !== undefined) return stored;
		const bad = this.#points.bad.get(point.id);
		throw bad === undefined
			? new RepositoryError("UNKNOWN_POINT", `restore point ${point.id} of ${point.vm} is gone`)
			: new RepositoryError("DAMAGED", `restore point ${point.id} is damaged (${bad}): run springback check`);
	}

	async extraFile(point: Point, name: string): Promise<Buffer> {
		const stored = await this.#stored(point);
		const file = stored.files.find((one) => one.name === name);
		if (file === undefined)
			throw new RepositoryError("UNKNOWN_POINT", `restore point ${point.id} of ${point.vm} has no file ${name}`);
		const content = Buffer.alloc(file.size);
		for (let n = 0; n < file.chunks.length; n++) {
			const at = n * OBJECT_MAX_BYTES;
			const rawLength = Math.min(OBJECT_MAX_BYTES, file.size - at);
			const identity = Buffer.from(file.chunks[n], "hex");
			const [fault] = await this.#records.read([
				{ identity, offset: 0, type: TYPE.object, rawLength, target: content, targetOffset: at },
			]);
			if (fault !== undefined)
				throw new RepositoryError("DAMAGED", `cannot read ${name} of ${point.vm}: ${fault.message}`);
		}
		return content;
	}

	async openDisk(point: Point, disk: string, { once = false }: OpenDiskOptions = {}): Promise<Image> {
		const { map, release } = await this.#openMap(point, disk);
		const parts = {
			map,
			label: `${point.vm}@${point.id.slice(0, 12)} ${disk}`,
			onClose: () => {
				this.#disks.delete(image);
				release();
			},
		};
		const image: DiskImage | StreamImage = once
			? new StreamImage({ ...parts, records: this.#records })
			: new DiskImage({ ...parts, fetcher: this.#fetcher });
		this.#disks.add(image);
		return image;
	}

	async changes(from: Point, to: Point, disk: string): Promise<{ offset: number; length: number }[] | undefined> {
		if (!from.disks.some(({ name }) => name === disk)) return undefined;
		const before = await this.#openMap(from, disk);
		try {
			const after = await this.#openMap(to, disk);
			try {
				return await changedExtents(before.map, after.map);
			} finally {
				after.release();
			}
		} finally {
			before.release();
		}
	}

	/** A disk's map with its root read; the point is pinned until `release`. */
	async #openMap(point: Pick<Point, "id" | "vm">, disk: string): Promise<{ map: MapReader; release(): void }> {
		const pin = await this.#pin(point);
		try {
			// Checked after pinning: a point that is still there now stays.
			const stored = await this.#stored(point);
			const found = stored.disks.find(({ name }) => name === disk);
			if (found === undefined) {
				const names = stored.disks.map(({ name }) => name).join(", ");
				throw new RepositoryError(
					"UNKNOWN_POINT",
					`restore point ${point.id} of ${stored.vm} has no disk ${disk}: it has ${names}`,
				);
			}
			const root = found.root === null ? null : Buffer.from(found.root, "hex");
			const map = new MapReader(this.#pages, root, found.size, this.blockSize);
			await map.open();
			return { map, release: () => pin.release() };
		} catch (error) {
			pin.release();
			if (error instanceof RepositoryError) throw error;
			throw new RepositoryError("DAMAGED", `cannot open ${disk} of ${point.vm}: ${causeOf(error)}`, { cause: error });
		}
	}

	async #pin(point: Pick<Point, "id" | "vm">): Promise<Held> {
		try {
			const pin = await this.#store.lock(LOCK_PINS, pinByte(point.id), "shared");
			if (pin !== undefined) return pin;
		} catch (error) {
			// A read-only copy without lock files: nobody can delete from it.
			if (["EROFS", "ENOENT"].includes(codeOf(error))) return { release: () => {} };
			throw storeError(error, this.path, "pinning a restore point");
		}
		throw new RepositoryError("LOCKED", `restore point ${point.id} of ${point.vm} is being deleted`);
	}

	/** Backups of one Repository may run at once: what one of them stores the others do not store again. */
	async backup(request: BackupRequest): Promise<{ point: Point; disks: DiskResult[] }> {
		this.#checkWritable();
		const context = this.#context(request.compression ?? this.#config.compression);
		const base = (id: string, disk: string) => this.#openMap({ id, vm: request.vm }, disk);
		return this.#turns.together(() => runBackup(request, { ...context, groups: this.#groups, base }));
	}

	#compression(name: string): Compression {
		const compression = parseCompression(name);
		if (compression === undefined)
			throw new RangeError(`compression "${name}": use none, lz4, zstd or zstd:1 to zstd:19`);
		if (compression.codec === CODEC.zstd && !this.#config.features.incompatible.includes(FEATURE.zstd))
			throw new RepositoryError(
				"UNSUPPORTED",
				`${this.path} was made by a version without zstd: use --compression lz4, or make a new repository`,
			);
		return compression;
	}

	#context(compression: string) {
		return {
			store: this.#store,
			index: this.#index,
			points: this.#points,
			keyring: this.#keyring,
			compression: this.#compression(compression),
			blockSize: this.blockSize,
			random: this.#random,
			checkpointRecords: this.#checkpointRecords,
		};
	}

	/** Throws READ_ONLY where this program may only read. */
	#checkWritable(): void {
		if (this.#unknownFeatures.length === 0) return;
		const names = this.#unknownFeatures.join(", ");
		throw new RepositoryError(
			"READ_ONLY",
			`${this.path} uses ${names}: this program can only read it, install a newer springback`,
		);
	}

	async forget(options: ForgetOptions): Promise<ForgetReport> {
		this.#checkWritable();
		return (await care()).forget(options, this.#context(this.#config.compression));
	}

	async prune(options: PruneOptions): Promise<PruneReport> {
		this.#checkWritable();
		return this.#turns.alone(async () => (await care()).prune(options, this.#context(this.#config.compression)));
	}

	async holds(): Promise<Hold[]> {
		const { holds, bad } = await readHolds(this.#store, this.#keyring);
		if (bad.length > 0)
			throw new RepositoryError("DAMAGED", `${this.path}/${bad[0].file} is damaged (${bad[0].why}): remove that file`);
		return holds;
	}

	async hold(point: Point, { id, ...rest }: Omit<Hold, "point" | "id"> & { id?: string }): Promise<Hold> {
		this.#checkWritable();
		// Pinned meanwhile: whoever removes points looks for holds once he has the pin.
		const pin = await this.#pin(point);
		try {
			await this.#stored(point);
			const hold = { id: id ?? newId(this.#random), point: point.id, ...rest };
			await putHold(this.#store, hold, this.#keyring);
			return hold;
		} catch (error) {
			throw storeError(error, this.path, "holding a restore point");
		} finally {
			pin.release();
		}
	}

	async release(hold: Hold): Promise<void> {
		this.#checkWritable();
		try {
			await removeHold(this.#store, hold.id);
		} catch (error) {
			throw storeError(error, this.path, "releasing a restore point");
		}
	}

	async check(options: CheckOptions): Promise<CheckReport> {
		return (await care()).check(options, this.#context(this.#config.compression));
	}

	async repair(options: RepairOptions): Promise<RepairReport> {
		if (!options.dryRun) this.#checkWritable();
		return (await care()).repair(options, this.#context(this.#config.compression));
	}

	async rebuild(options: { progress?: (p: Progress) => void; signal?: AbortSignal }): Promise<RebuildReport> {
		this.#checkWritable();
		return (await care()).rebuild(options, this.#context(this.#config.compression));
	}

	async stats(): Promise<RepositoryStats> {
		return (await care()).stats(this.#context(this.#config.compression));
	}

	async close(): Promise<void> {
		await Promise.all([...this.#disks].map((disk) => disk.close()));
		await this.#turns.end();
		await this.#store.close();
	}
}
