/**
 * The SQLite file: opened, verified, migrated. One that is damaged is set aside and begun anew, because everything in
 * it is also in files or in repositories, and no backup or recovery may wait for it.
 */
import { existsSync, mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { sys } from "../../native/index.js";
import { CatalogError, causeOf } from "./errors.js";
import { withLock } from "./file-lock.js";
import { migrate } from "./migrations.js";
import type { CatalogPaths } from "./paths.js";
import { type Database, openFile } from "./sqlite.js";

const BUSY_MS = 10_000;
/** SQLite's primary result codes of a file that is no sound database. */
const CORRUPT = new Set([11, 26]);

export interface OpenedDatabase {
	db: Database;
	/** where a damaged one was moved, and why */
	setAside?: { path: string; why: string };
}

/** Opens the catalogue, which is made if need be. Rejects with CatalogError NEWER_FORMAT or IO. */
export const openDatabase = async (
	{ state, database, databaseLock }: CatalogPaths,
	now: () => Date = () => new Date(),
): Promise<OpenedDatabase> => {
	mkdirSync(state, { recursive: true, mode: 0o700 });
	try {
		return { db: openSound(database) };
	} catch (error) {
		if (error instanceof CatalogError) throw error;
		if (!isCorrupt(error))
			throw new CatalogError(
				"IO",
				`${database}: cannot be used (${causeOf(error)}): check its owner, and the disk it is on`,
				{ cause: error },
			);
	}
	return withLock(databaseLock, () => {
		// Another process may have done it meanwhile: what it made must not be set aside.
		try {
			return { db: openSound(database) };
		} catch (error) {
			if (!isCorrupt(error)) throw error;
			const path = freeName(`${database}.damaged-${now().toISOString().replaceAll(/[:.]/g, "")}`);
			for (const suffix of ["", "-wal", "-shm"])
				if (existsSync(database + suffix)) sys.rename(database + suffix, path + suffix);
			sys.fsyncDirectory(dirname(database));
			return { db: openSound(database), setAside: { path, why: causeOf(error) } };
		}
	});
};

class CorruptError extends Error {}

const isCorrupt = (error: unknown): boolean =>
	error instanceof CorruptError || CORRUPT.has(Number((error as { errcode?: number }).errcode) & 0xff);

const freeName = (wanted: string): string => {
	let name = wanted;
	for (let n = 2; existsSync(name); n++) name = `${wanted}-${n}`;
	return name;
};

const openSound = (path: string): Database => {
	const old = process.umask(0o077);
	let db: Database;
	try {
		db = openFile(path);
	} finally {
		process.umask(old);
	}
	try {
		db.exec(`PRAGMA busy_timeout = ${BUSY_MS}; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL`);
		const [first] = db.prepare("PRAGMA quick_check(1)").all() as { quick_check: string }[];
		if (first.quick_check !== "ok") throw new CorruptError(first.quick_check);
		migrate(db, path);
		return db;
	} catch (error) {
		db.close();
		throw error;
	}
};
