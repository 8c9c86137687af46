/**
 * Which sessions are served: opens them over their restore points, puts them into the datastore, takes them out. One
 * block cache and one reader per repository serve them all.
 */
import { hostname } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import type { Datastore, ServedSession } from "../datastore/datastore.js";
import { paddedSize } from "../datastore/folder.js";
import type { Image } from "../image/image.js";
import { LatencyHistogram } from "../nfs/stats-histogram.js";
import { type BaseDisk, OverlayMemory, openSession, type SessionTree, type SessionUsage } from "../overlay/index.js";
import { type CacheStats, createBlockCache, openRepository, type Point, type Repository } from "../repository/index.js";
import type { KeyHolder } from "./keys.js";
import { Meter } from "./nbd/meter.js";
import { ControlError } from "./protocol.js";
import { timeOf } from "./session-info.js";
import type { SessionRecord } from "./session-record.js";
import type { SessionStore, StoredSession } from "./session-store.js";

/** The parts of the cache budget for the sessions' logs, and for their indexes; never below the least, bytes. */
const OVERLAY_SHARE = 1 / 16;
const OVERLAY_LEAST = 2 * 1024 * 1024;
const CACHE_LEAST = 1024 * 1024;

/** How long sessions wait at a start for one another's repositories to answer. */
const RESUME_PATIENCE_MS = 3000;

/** How long a repository may take to note the use of a point before the session goes on without. */
const USE_PATIENCE_MS = 3000;

/** How long the end of the process waits for repositories to let go. */
export const SHUTDOWN_PATIENCE_MS = 5000;

export interface ServingOptions {
	store: SessionStore;
	datastore: Datastore;
	listen: string;
	/** bytes of content and index kept in memory, shared by all sessions */
	cacheBytes: number;
	/** of encrypted repositories */
	keys: KeyHolder;
	now: () => Date;
	nowNs: () => bigint;
	log: (line: string) => void;
}

/** A session that is served, as statistics see it. */
export interface ServingSession extends StoredSession {
	served: ServedSession;
	tree: SessionTree;
	/** served since, UTC */
	since: string;
	/** how long syncs of its log took */
	syncs: LatencyHistogram;
	/** requests for its disks over NBD */
	nbd: Meter;
}

export interface OpenSession extends ServingSession {
	images: Image[];
	failureLogged?: boolean;
}

export class Serving {
	readonly open = new Map<string, OpenSession>();
	/** sessions that should be served and cannot be, with the reason */
	readonly broken = new Map<string, { stored: StoredSession; error: string }>();
	private readonly repositories = new Map<string, Promise<Repository>>();
	/** of the sessions' own content */
	readonly memory: OverlayMemory;
	/** of their restore points */
	private readonly cache;

	constructor(private readonly options: ServingOptions) {
		const part = Math.max(OVERLAY_LEAST, options.cacheBytes * OVERLAY_SHARE);
		this.memory = new OverlayMemory(part, part);
		this.cache = createBlockCache(Math.max(CACHE_LEAST, options.cacheBytes - 2 * part));
	}

	/** Sessions that are served or should be. */
	get count(): number {
		return this.open.size + this.broken.size;
	}

	cacheStats(): CacheStats & { budgetBytes: number } {
		return { budgetBytes: this.cache.budgetBytes, ...this.cache.stats() };
	}

	/**
	 * Opens every session that was being served on this address. One that fails does not stop the others, and one whose
	 * repository does not answer does not hold them up for long: it follows when it can.
	 */
	async resume(): Promise<void> {
		const { store, listen, log } = this.options;
		const { sessions, broken } = store.list();
		for (const { directory, error } of broken) log(`${directory}: not served: ${error}`);
		const byRepository = new Map<string, StoredSession[]>();
		for (const stored of sessions) {
			if (stored.record.state !== "open" || stored.record.listen !== listen) continue;
			const { repository } = stored.record;
			byRepository.set(repository, [...(byRepository.get(repository) ?? []), stored]);
			this.broken.set(stored.record.name, { stored, error: `${repository} does not answer yet` });
			this.options.datastore.expect(uuidOf(stored), true);
		}
		const resuming = [...byRepository.values()].map(async (list) => {
			for (const stored of list) await this.resumeOne(stored);
		});
		const patience = new AbortController();
		const late = sleep(RESUME_PATIENCE_MS, undefined, { signal: patience.signal }).catch(() => undefined);
		await Promise.race([Promise.all(resuming), late]);
		patience.abort();
		for (const [name, { error }] of this.broken) log(`session ${name}: not served: ${error}`);
	}

	/** Never rejects. A session that was closed or finished meanwhile is left alone. */
	private async resumeOne(stored: StoredSession): Promise<void> {
		const { name } = stored.record;
		if (this.broken.get(name)?.stored !== stored) return;
		try {
			await this.serve(stored, () => this.broken.get(name)?.stored === stored);
		} catch (error) {
			this.options.datastore.expect(uuidOf(stored), false);
			if (this.broken.get(name)?.stored === stored)
				this.broken.set(name, { stored, error: reasonOf(error, stored.record) });
		}
	}

	/** Opens a stored session over its restore point and serves it. @param wanted asked again once the repository answers */
	async serve(stored: StoredSession, wanted = () => true): Promise<OpenSession> {
		const { record, directory } = stored;
		const repository = await this.repository(record.repository);
		if (repository.id !== record.repositoryId)
			throw new ControlError(
				"REPOSITORY",
				`session "${record.name}": ${record.repository} is another repository now (${repository.id}); put ${record.repositoryId} back there`,
			);
		const point = await repository.resolve(`${record.vm}@${record.point}`);
		const images = await openDisks(repository, point);
		try {
			if (!wanted()) throw unknownSession(record.name);
			await this.noteUse(repository, point, stored);
			if (!wanted()) throw unknownSession(record.name);
			const tree = await openSession({ directory, bases: bases(images), now: this.options.nowNs, memory: this.memory });
			record.state = "open";
			this.options.store.save(stored);
			return this.add(stored, tree, images);
		} catch (error) {
			await Promise.all(images.map((image) => image.close()));
			throw error;
		}
	}

	/** Lets clients see an opened session. */
	add(stored: StoredSession, tree: SessionTree, images: Image[]): OpenSession {
		const { record } = stored;
		const served: ServedSession = {
			uuid: uuidOf(stored),
			number: record.number,
			name: record.name,
			tree,
			clients: record.clients,
			readOnly: record.readOnly,
			privilegedPorts: record.privilegedPorts === true,
			sync: record.sync === true,
			ownerUid: record.ownerUid,
		};
		this.options.datastore.add(served);
		const syncs = new LatencyHistogram();
		const nbd = new Meter(this.options.now);
		tree.observeSyncs?.((milliseconds) => syncs.record(milliseconds));
		const opened = { ...stored, served, tree, images, since: this.options.now().toISOString(), syncs, nbd };
		this.open.set(record.name, opened);
		this.broken.delete(record.name);
		this.options.log(`session ${record.name}: serving ${record.vm}@${record.point.slice(0, 8)}`);
		return opened;
	}

	/**
	 * Tells the repository that a session lies over this point, so that it stays while the session is parked or its server
	 * down. The disks are open, so it stays until then. Where it cannot be told, on the worst day, recovery comes first.
	 */
	async noteUse(repository: Repository, point: Point, { record }: StoredSession): Promise<void> {
		const session = { name: record.name, host: hostname(), state: this.options.store.paths.directory };
		try {
			const hold = { id: record.uuid, kind: "session", since: record.created, reason: "", session } as const;
			await inTime(repository.hold(point, hold));
		} catch (error) {
			this.options.log(
				`session ${record.name}: its use of ${record.vm}@${record.point.slice(0, 8)} is not noted in the repository (${(error as Error).message}): do not remove that point`,
			);
		}
	}

	/** A session that is gone uses nothing. What fails here is made up for by the next forget. */
	async dropUse({ record }: StoredSession): Promise<void> {
		try {
			await inTime(this.release(record));
		} catch (error) {
			this.options.log(`session ${record.name}: its use is still noted in the repository: ${(error as Error).message}`);
		}
	}

	private async release({ repository: path, uuid }: SessionRecord): Promise<void> {
		const repository = await this.repository(path);
		const use = (await repository.holds()).find(({ id }) => id === uuid);
		if (use) await repository.release(use);
	}

	/** Keeps `unprotected since` and the written bytes on disk current. Cheap; called every few seconds. */
	noteAll(): void {
		for (const session of this.open.values()) this.note(session);
	}

	/** Brings the record of a served session up to date. */
	note(session: OpenSession): void {
		const { record } = session;
		const usage = session.tree.usage();
		if (usage.failed && !session.failureLogged) {
			session.failureLogged = true;
			this.options.log(
				`session ${record.name}: takes no more writes: ${usage.failure}; restart the mount process once the disk is well`,
			);
		}
		const lastWrite = usage.lastWrite === 0n ? null : timeOf(usage.lastWrite);
		if (record.lastWrite === lastWrite && record.writtenBytes === writtenBytes(usage)) return;
		if (record.lastWrite !== lastWrite) record.unprotectedSince ??= lastWrite;
		record.lastWrite = lastWrite;
		record.writtenBytes = writtenBytes(usage);
		this.options.store.save(session);
	}

	/** A restore point has what was written until then. */
	noteProtected(uuid: string, until: string): void {
		const session = [...this.open.values()].find(({ record }) => record.uuid === uuid);
		if (session === undefined) return;
		this.note(session);
		const { record } = session;
		const later = record.lastWrite !== null && Date.parse(record.lastWrite) > Date.parse(until);
		record.unprotectedSince = later ? until : null;
		this.options.store.save(session);
	}

	/** Ends serving of every session without changing what they are: they are open again at the next start. */
	async shutdown(): Promise<void> {
		// What was written is closed properly; what is only read from a disk that hangs is left to the end of the process.
		const patience = sleep(SHUTDOWN_PATIENCE_MS, undefined, { ref: false });
		for (const name of [...this.open.keys()]) {
			try {
				await this.stop(name, patience);
			} catch (error) {
				this.options.log(`session ${name}: ${(error as Error).message}`);
			}
		}
		const closing = [...this.repositories.values()].map(async (repository) => (await repository).close());
		await Promise.race([Promise.all(closing), patience]);
	}

	/**
	 * Takes a session from clients and closes it; its record stays as it is. @param patience how long its restore point
	 * may take to close; default: as long as reads of it are in flight
	 */
	async stop(name: string, patience?: Promise<unknown>): Promise<StoredSession> {
		const broken = this.broken.get(name);
		if (broken) {
			this.broken.delete(name);
			this.options.datastore.expect(uuidOf(broken.stored), false);
			return broken.stored;
		}
		const session = this.open.get(name);
		if (!session) throw unknownSession(name);
		this.note(session);
		this.options.datastore.remove(name);
		this.open.delete(name);
		await session.tree.close();
		const closing = Promise.all(session.images.map((image) => image.close()));
		await (patience ? Promise.race([closing, patience]) : closing);
		this.options.log(`session ${name}: no longer served`);
		return session;
	}

	/** The repository at `path`, opened once. */
	repository(path: string): Promise<Repository> {
		const known = this.repositories.get(path);
		if (known) return known;
		const opening = openRepository(path, {
			cache: this.cache,
			key: { masterOf: (repository) => this.options.keys.get(repository) },
		});
		this.repositories.set(path, opening);
		opening.catch(() => this.repositories.delete(path));
		return opening;
	}
}

/** Rejects when the repository does not answer: other sessions wait for this one. What was begun goes on. */
async function inTime(work: Promise<unknown>): Promise<void> {
	const answered = new AbortController();
	const late = sleep(USE_PATIENCE_MS, undefined, { signal: answered.signal }).then(() => {
		throw new Error("the repository does not answer");
	});
	try {
		await Promise.race([work, late]);
	} finally {
		answered.abort();
	}
}

/** Why a session is not served, and the remedy. */
function reasonOf(error: unknown, { name, vm, repository }: SessionRecord): string {
	if ((error as { code?: string }).code !== "ENCRYPTED") return (error as Error).message;
	return `${repository} is encrypted and its key was only in memory; give it again with: springback publish ${vm} --session ${name}`;
}

/** The files that a session starts with are ours, not the guest's. */
export function writtenBytes({ lastWrite, liveBytes }: SessionUsage): number {
	return lastWrite === 0n ? 0 : liveBytes;
}

/** Every disk of a point, in its order. */
export async function openDisks(repository: Repository, point: Point): Promise<Image[]> {
	const images: Image[] = [];
	try {
		for (const disk of point.disks) images.push(await repository.openDisk(point, disk.name));
		return images;
	} catch (error) {
		await Promise.all(images.map((image) => image.close()));
		throw error;
	}
}

const uuidOf = ({ record }: StoredSession): Buffer => Buffer.from(record.uuid, "hex");

/** What a session lies over. */
export const bases = (images: Image[]): BaseDisk[] => images.map((base) => ({ base, size: paddedSize(base.size) }));

export function unknownSession(name: string): ControlError {
	return new ControlError("UNKNOWN_SESSION", `no session "${name}"; "springback sessions" lists them`);
}
