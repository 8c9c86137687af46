/**
 * The `file` store: plain files under one directory (docs/format.md, 2). Every operation goes through the native
 * addon and with that through its fault layer; only listing uses node:fs. What may wait for the disk runs on lanes,
 * so that a mount process that puts a hold goes on serving; only taking and dropping a lock is done on the spot.
 */
import { constants } from "node:fs";
import { readdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { createLane, type Lane, type RecordRead, type RecordStatus, sys } from "../../native/index.js";
import { codeOf } from "./errors.js";
import { DescriptorCache, type OpenFile } from "./file-descriptors.js";
import { FileUpload } from "./file-upload.js";
import { FOLDERS, LOCK_PINS, LOCK_REPOSITORY, newId, type Random } from "./layout.js";
import { RecordStarter } from "./record-starter.js";
import type { Held, RecordWaiter, Store, StoreRead, Upload, Wanted } from "./store.js";

const { O_RDONLY, O_RDWR, O_CREAT } = constants;

/** Small files that are read by one job, and such jobs at once: half of the threads, for others read meanwhile. */
const FILES_PER_JOB = 32;
const FILE_JOBS = 4;

/** `nothing` where a file or folder does not exist; other errors are thrown on. */
const notThere = <T>(error: unknown, nothing: T): T => {
	if (codeOf(error) === "ENOENT" || codeOf(error) === "ENOTDIR") return nothing;
	throw error;
};

/** Locks one byte of an open lock file, or closes it; holding the lock is holding the descriptor. */
const lockByte = (fd: number, kind: "shared" | "exclusive", byte: number): Held | undefined => {
	let locked = false;
	try {
		locked = sys.lock(fd, kind, byte, 1);
	} finally {
		if (!locked) sys.close(fd);
	}
	return locked ? { release: () => sys.close(fd) } : undefined;
};

export class FileStore implements Store {
	readonly #random: Random;
	readonly #descriptors: DescriptorCache;
	readonly #readLane: Lane;
	readonly #starter: RecordStarter;
	#writeLane: Lane | undefined;
	#syncLane: Lane | undefined;
	#writer: Promise<{ id: string; held: Held }> | undefined;
	#files = 0;

	constructor(
		readonly place: string,
		random: Random,
		readThreads: number,
	) {
		this.#random = random;
		this.#readLane = createLane("repository-read", readThreads);
		this.#descriptors = new DescriptorCache(place, this.#readLane, 256);
		this.#starter = new RecordStarter(this.#readLane, this.#descriptors);
	}

	/** Records that are read from now on are also compared with their identity; `key`: of an encrypted repository. */
	hashContent(key: Buffer | undefined): void {
		this.#readLane.hashContent(key);
	}

	#writing(): Lane {
		this.#writeLane ??= createLane("repository-write", 2);
		return this.#writeLane;
	}

	/** Syncs have a thread of their own, so that writes behind them go on. */
	#syncing(): Lane {
		this.#syncLane ??= createLane("repository-sync", 1);
		return this.#syncLane;
	}

	/** A new name in tmp/; the first one takes this writer's lock. */
	async #temporary(): Promise<string> {
		this.#writer ??= this.#becomeWriter();
		const number = ++this.#files;
		const { id } = await this.#writer.catch((error) => {
			this.#writer = undefined;
			throw error;
		});
		return join(this.place, "tmp", `${id}-${number}`);
	}

	async #becomeWriter(): Promise<{ id: string; held: Held }> {
		for (let attempt = 0; attempt < 8; attempt++) {
			const id = newId(this.#random);
			const path = join(this.place, `locks/writer-${id}`);
			const fd = await this.#writing().open(path, O_RDWR | O_CREAT, 0o666);
			const held = lockByte(fd, "exclusive", 0);
			// Between creating and locking it a sweeper may have removed it; then nobody could see our lock.
			if (held !== undefined && (await this.size(`locks/writer-${id}`)) !== undefined) return { id, held };
			held?.release();
		}
		throw new Error(`${this.place}/locks: cannot take a writer lock`);
	}

	async put(name: string, bytes: Uint8Array): Promise<void> {
		const upload = this.upload();
		try {
			await upload.append([bytes]);
			await upload.seal();
			await this.publish([{ upload, name }]);
		} catch (error) {
			await upload.abandon();
			throw error;
		}
	}

	upload(): Upload {
		return new FileUpload(this.#temporary(), this.#writing(), this.#syncing());
	}

	async publish(files: { upload: Upload; name: string }[]): Promise<void> {
		const folders = new Set<string>();
		for (const { upload, name } of files) {
			const target = join(this.place, name);
			const folder = dirname(target);
			try {
				await (upload as FileUpload).rename(target);
			} catch (error) {
				if (codeOf(error) !== "ENOENT") throw error;
				await this.#makeFolder(folder, folders);
				await (upload as FileUpload).rename(target);
			}
			folders.add(folder);
		}
		for (const folder of folders) await this.#syncing().fsyncDirectory(folder);
	}

	async #makeFolder(folder: string, changed: Set<string>): Promise<void> {
		try {
			await this.#syncing().mkdir(folder, 0o777);
		} catch (error) {
			if (codeOf(error) !== "EEXIST") throw error;
		}
		// Also when somebody else made it: his sync may still be to come.
		changed.add(dirname(folder));
	}

	/** By libuv's threads, which nothing on the data path uses: a listing that hangs holds up other listings only. */
	async list(folder: string): Promise<string[]> {
		try {
			return (await readdir(join(this.place, folder))).sort();
		} catch (error) {
			return notThere(error, []);
		}
	}

	async size(name: string): Promise<number | undefined> {
		return this.#stat(name, ({ size }) => size);
	}

	async modified(name: string): Promise<number | undefined> {
		return this.#stat(name, ({ mtimeNs }) => Number(mtimeNs / 1_000_000n));
	}

	async #stat<T>(name: string, member: (stat: ReturnType<typeof sys.fstat>) => T): Promise<T | undefined> {
		try {
			const fd = await this.#readLane.open(join(this.place, name), O_RDONLY);
			try {
				return member(sys.fstat(fd));
			} finally {
				sys.close(fd);
			}
		} catch (error) {
			return notThere(error, undefined);
		}
	}

	async read(name: string, position: number, length: number): Promise<Buffer> {
		const target = Buffer.allocUnsafe(length);
		const file = await this.#descriptors.acquire(name);
		try {
			const got = await this.#readLane.pread(file.fd, target, position);
			return got === length ? target : target.subarray(0, got);
		} finally {
			this.#descriptors.release(file);
		}
	}

	async *readStarts(names: string[], limit: number): AsyncGenerator<Buffer | string> {
		const some = (first: number) =>
			this.#readLane.readFiles(
				names.slice(first, first + FILES_PER_JOB).map((name) => `${this.place}/${name}`),
				limit,
			);
		const jobs: ReturnType<typeof some>[] = [];
		const start = (first: number) => {
			if (first >= names.length) return;
			const job = some(first);
			// Its failure is met when its turn comes, if ever.
			job.catch(() => {});
			jobs.push(job);
		};
		for (let job = 0; job < FILE_JOBS; job++) start(job * FILES_PER_JOB);
		for (let first = 0; first < names.length; first += FILES_PER_JOB) {
			const { bytes, lengths, errors } = await jobs.shift()!;
			start(first + FILE_JOBS * FILES_PER_JOB);
			let at = 0;
			for (let n = 0; n < lengths.length; n++) {
				yield errors[n] ?? bytes.subarray(at, at + lengths[n]);
				at += lengths[n];
			}
		}
	}

	async readRecords(reads: StoreRead[]): Promise<RecordStatus[]> {
		const held = new Map<string, OpenFile | RecordStatus>();
		const opening: Promise<unknown>[] = [];
		for (const { file } of reads) {
			if (held.has(file)) continue;
			const got = this.#descriptors.acquire(file);
			if (!(got instanceof Promise)) {
				held.set(file, got);
				continue;
			}
			held.set(file, "EIO");
			const set = (opened: OpenFile | RecordStatus) => held.set(file, opened);
			opening.push(got.then(set, (error) => set(`E${codeOf(error).slice(1) || "IO"}`)));
		}
		if (opening.length > 0) await Promise.all(opening);
		try {
			const native: RecordRead[] = [];
			for (const { file, position, length, identity, type, rawLength, target, targetOffset, seal } of reads) {
				const from = held.get(file)!;
				if (typeof from === "string") continue;
				native.push({ fd: from.fd, position, length, identity, type, rawLength, target, targetOffset, seal });
			}
			const statuses = native.length === 0 ? [] : await this.#readLane.readRecords(native);
			if (native.length === reads.length) return statuses;
			let next = 0;
			return reads.map(({ file }) => {
				const failed = held.get(file)!;
				return typeof failed === "string" ? failed : statuses[next++];
			});
		} finally {
			for (const file of held.values()) if (typeof file !== "string") this.#descriptors.release(file);
		}
	}

	startRecord(
		file: string,
		position: number,
		length: number,
		seal: Uint8Array | undefined,
		wanted: Wanted,
		waiter: RecordWaiter,
	): boolean {
		return this.#starter.start(file, position, length, seal, wanted, waiter);
	}

	async remove(name: string): Promise<void> {
		this.#descriptors.forget(name);
		try {
			await this.#syncing().unlink(join(this.place, name));
		} catch (error) {
			if (codeOf(error) === "ENOENT") return;
			throw error;
		}
		await this.#syncing().fsyncDirectory(dirname(join(this.place, name)));
	}

	async lock(name: string, byte: number, kind: "shared" | "exclusive"): Promise<Held | undefined> {
		const path = join(this.place, name);
		let fd: number;
		try {
			fd = await this.#readLane.open(path, O_RDWR | O_CREAT, 0o666);
		} catch (error) {
			// A shared lock needs no write access: readers of a read-only mount still hold off those who delete.
			if (kind === "exclusive" || !["EROFS", "EACCES", "EPERM"].includes(codeOf(error))) throw error;
			fd = await this.#readLane.open(path, O_RDONLY);
		}
		return lockByte(fd, kind, byte);
	}

	async lockExisting(name: string): Promise<Held | undefined> {
		try {
			return lockByte(await this.#readLane.open(join(this.place, name), O_RDWR), "exclusive", 0);
		} catch (error) {
			return notThere(error, undefined);
		}
	}

	async sweep(): Promise<void> {
		const own = (await this.#writer?.catch(() => undefined))?.id;
		const writers = new Map<string, string[]>();
		for (const name of await this.list("tmp")) {
			const id = name.split("-")[0];
			if (id === own) continue;
			writers.set(id, [...(writers.get(id) ?? []), name]);
		}
		for (const name of await this.list("locks")) {
			if (name.startsWith("backup-")) await this.#sweepLock(`locks/${name}`);
			const id = name.startsWith("writer-") ? name.slice("writer-".length) : "";
			if (id !== "" && id !== own && !writers.has(id)) writers.set(id, []);
		}
		for (const [id, files] of writers) {
			const held = await this.lock(`locks/writer-${id}`, 0, "exclusive");
			if (held === undefined) continue;
			for (const name of [...files.map((file) => `tmp/${file}`), `locks/writer-${id}`]) await this.#unlinkQuietly(name);
			held.release();
		}
	}

	/** A lock that nobody holds any more is only a name. */
	async #sweepLock(name: string): Promise<void> {
		const held = await this.lockExisting(name);
		if (held === undefined) return;
		await this.#unlinkQuietly(name);
		held.release();
	}

	async #unlinkQuietly(name: string): Promise<void> {
		try {
			await this.#syncing().unlink(join(this.place, name));
		} catch {
			// Somebody else swept it, or it can wait for the next sweep.
		}
	}

	async move(from: string, to: string): Promise<void> {
		this.#descriptors.forget(from);
		const source = join(this.place, from);
		const target = join(this.place, to);
		const changed = new Set<string>();
		await this.#makeFolder(dirname(target), changed);
		for (const folder of changed) await this.#syncing().fsyncDirectory(folder);
		await this.#syncing().renameNoReplace(source, target);
		// The new name first: a power loss may leave both names, but not none.
		for (const name of [target, source]) await this.#syncing().fsyncDirectory(dirname(name));
	}

	async prepare(): Promise<void> {
		const changed = new Set<string>();
		for (const folder of FOLDERS) await this.#makeFolder(join(this.place, folder), changed);
		for (const name of [LOCK_REPOSITORY, LOCK_PINS])
			sys.close(await this.#writing().open(join(this.place, name), O_RDWR | O_CREAT, 0o666));
		for (const folder of [...changed, join(this.place, "locks")]) await this.#syncing().fsyncDirectory(folder);
	}

	async close(): Promise<void> {
		const writer = await this.#writer?.catch(() => undefined);
		this.#writer = undefined;
		// What is still being written ends first: without its lock it would be swept.
		await Promise.all([this.#readLane.close(), this.#writeLane?.close()]);
		if (writer !== undefined) await this.#unlinkQuietly(`locks/writer-${writer.id}`);
		await this.#syncLane?.close();
		this.#descriptors.close();
		writer?.held.release();
	}
}
