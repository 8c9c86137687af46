/**
 * Sessions on disk: `sessions/<uuid>/` while open or parked, `trash/<uuid>/` for 7 days after a discard. Changes
 * are serialized between processes by a lock file; names are unique among open and parked sessions.
 */
import { randomBytes } from "node:crypto";
import {
	constants as C,
	lstatSync,
	mkdirSync,
	readdirSync,
	readFileSync,
	readlinkSync,
	rmSync,
	symlinkSync,
} from "node:fs";
import { join } from "node:path";
import { replaceFileDurably } from "../../native/durable-file.js";
import { sys } from "../../native/index.js";
import { type StatePaths, statePaths } from "./paths.js";
import { ControlError } from "./protocol.js";
import { readRecord, type SessionRecord, writeRecord } from "./session-record.js";

export const TRASH_DAYS = 7;
const DAY_MS = 86_400_000;
const NUMBER_MAX = 2 ** 23 - 1;
const LOCK_TRIES = 200;
const LOCK_WAIT_MS = 10;

export interface StoredSession {
	directory: string;
	record: SessionRecord;
}

/** A session directory that cannot be read, so that it is shown and not silently skipped. */
export interface BrokenSession {
	directory: string;
	error: string;
}

export class SessionStore {
	readonly paths: StatePaths;

	constructor(
		directory: string,
		private readonly random: (n: number) => Buffer = randomBytes,
	) {
		this.paths = statePaths(directory);
		for (const path of [directory, this.paths.sessions, this.paths.trash])
			mkdirSync(path, { recursive: true, mode: 0o700 });
	}

	list(): { sessions: StoredSession[]; broken: BrokenSession[] } {
		return this.read(this.paths.sessions);
	}

	trash(): { sessions: StoredSession[]; broken: BrokenSession[] } {
		return this.read(this.paths.trash);
	}

	private read(root: string) {
		const sessions: StoredSession[] = [];
		const broken: BrokenSession[] = [];
		for (const entry of readdirSync(root)) {
			const directory = join(root, entry);
			try {
				sessions.push({ directory, record: readRecord(directory) });
			} catch (error) {
				// A directory without a record is a session that was never finished being made: nobody was told of it.
				if ((error as { code?: string }).code !== "ENOENT") broken.push({ directory, error: (error as Error).message });
				else if (lstatSync(directory).isSymbolicLink())
					broken.push({ directory, error: `${readlinkSync(directory)} is not there: is its disk mounted?` });
			}
		}
		sessions.sort((a, b) => a.record.number - b.record.number);
		return { sessions, broken };
	}

	find(name: string): StoredSession | undefined {
		return this.list().sessions.find((session) => session.record.name === name);
	}

	/** Runs `work` while no other process changes the set of sessions. */
	async exclusively<T>(work: () => T | Promise<T>): Promise<T> {
		const fd = sys.open(this.paths.sessionsLock, C.O_RDWR | C.O_CREAT, 0o600);
		try {
			for (let tries = 0; !sys.lock(fd, "exclusive", 0, 1); tries++) {
				if (tries >= LOCK_TRIES)
					throw new ControlError(
						"LOCKED",
						`${this.paths.sessionsLock}: another process is changing sessions; try again`,
					);
				await new Promise((resolve) => setTimeout(resolve, LOCK_WAIT_MS));
			}
			return await work();
		} finally {
			sys.close(fd);
		}
	}

	/**
	 * A new, still empty session directory. Call inside `exclusively`; `save` makes it exist.
	 * @param elsewhere existing directory that holds it; a link is here then
	 */
	allocate(elsewhere?: string): { directory: string; uuid: Buffer; number: number } {
		const uuid = this.random(16);
		const directory = join(this.paths.sessions, uuid.toString("hex"));
		const number = this.nextNumber();
		const place = elsewhere === undefined ? directory : join(elsewhere, `springback-${uuid.toString("hex")}`);
		sys.mkdir(place, 0o700);
		if (elsewhere !== undefined) {
			sys.fsyncDirectory(elsewhere);
			symlinkSync(place, directory);
		}
		sys.fsyncDirectory(this.paths.sessions);
		return { directory, uuid, number };
	}

	/** Durable before use: a fileid must never come back with another meaning. */
	private nextNumber(): number {
		let last = 0;
		try {
			last = Number(readFileSync(this.paths.counter, "utf8"));
		} catch (error) {
			if ((error as { code?: string }).code !== "ENOENT") throw error;
		}
		if (!Number.isInteger(last) || last < 0)
			throw new ControlError(
				"DAMAGED",
				`${this.paths.counter}: not a number; put a number above every session's there`,
			);
		// Never below a number in use, even when the counter file was lost.
		for (const { record } of [...this.list().sessions, ...this.trash().sessions]) last = Math.max(last, record.number);
		if (last >= NUMBER_MAX)
			throw new ControlError(
				"FULL",
				`${this.paths.directory}: all ${NUMBER_MAX} session numbers are used; start a new state directory`,
			);
		replaceFileDurably(this.paths.counter, Buffer.from(`${last + 1}\n`));
		return last + 1;
	}

	save(session: StoredSession): void {
		writeRecord(session.directory, session.record);
	}

	/** Moves to the trash, where it stays for TRASH_DAYS. */
	discard(session: StoredSession, now: Date): void {
		session.record.trashed = now.toISOString();
		session.record.state = "parked";
		this.save(session);
		const directory = join(this.paths.trash, session.record.uuid);
		sys.rename(session.directory, directory);
		sys.fsyncDirectory(this.paths.trash);
		sys.fsyncDirectory(this.paths.sessions);
		session.directory = directory;
	}

	/** Takes the newest discarded session of that name back as a parked one. */
	async restore(name: string): Promise<SessionRecord> {
		return this.exclusively(() => {
			const found = this.trash()
				.sessions.filter((session) => session.record.name === name)
				.sort((a, b) => (a.record.trashed ?? "").localeCompare(b.record.trashed ?? ""))
				.pop();
			if (!found)
				throw new ControlError(
					"UNKNOWN_SESSION",
					`no session "${name}" in the trash; "springback sessions --json" lists it`,
				);
			if (this.find(name))
				throw new ControlError("EXISTS", `a session "${name}" exists; finish it first, then restore the other`);
			const directory = join(this.paths.sessions, found.record.uuid);
			sys.rename(found.directory, directory);
			sys.fsyncDirectory(this.paths.sessions);
			sys.fsyncDirectory(this.paths.trash);
			found.directory = directory;
			found.record.trashed = undefined;
			this.save(found);
			return found.record;
		});
	}

	/** Deletes a session for good: only ones never written, never finished being made, or out of the trash. */
	remove(directory: string): void {
		if (lstatSync(directory, { throwIfNoEntry: false })?.isSymbolicLink())
			rmSync(readlinkSync(directory), { recursive: true, force: true });
		rmSync(directory, { recursive: true, force: true });
	}

	/** Deletes what has been in the trash for longer than TRASH_DAYS. Returns their names. */
	purge(now: Date): string[] {
		const gone: string[] = [];
		for (const { directory, record } of this.trash().sessions) {
			if (!record.trashed || now.getTime() - Date.parse(record.trashed) < TRASH_DAYS * DAY_MS) continue;
			this.remove(directory);
			gone.push(record.name);
		}
		return gone;
	}

	/** When a discarded session is deleted, UTC. */
	static expires(record: SessionRecord): string | undefined {
		return record.trashed && new Date(Date.parse(record.trashed) + TRASH_DAYS * DAY_MS).toISOString();
	}
}
