/**
 * The schema, as steps: database version N is what the first N steps made. A step is never changed once it was
 * released; a new release adds steps.
 */

import { CatalogError } from "./errors.js";
import type { Database } from "./sqlite.js";

export const MIGRATIONS: readonly string[] = [
	`
	CREATE TABLE runs (
		number INTEGER PRIMARY KEY AUTOINCREMENT,
		id TEXT NOT NULL UNIQUE,
		what TEXT NOT NULL,
		subject TEXT NOT NULL,
		repository TEXT,
		started INTEGER NOT NULL,
		ended INTEGER,
		result TEXT NOT NULL CHECK (result IN ('running', 'ok', 'warnings', 'fault', 'failed', 'interrupted', 'killed')),
		message TEXT,
		"by" TEXT NOT NULL,
		host TEXT NOT NULL,
		process TEXT
	) STRICT;
	CREATE INDEX runs_started ON runs (started);
	CREATE TABLE documents (
		kind TEXT NOT NULL,
		name TEXT NOT NULL,
		content TEXT NOT NULL,
		changed INTEGER NOT NULL,
		"by" TEXT,
		PRIMARY KEY (kind, name)
	) STRICT;
	CREATE TABLE puts (
		repository TEXT PRIMARY KEY,
		object TEXT NOT NULL,
		intent TEXT NOT NULL,
		digest TEXT NOT NULL
	) STRICT;
	`,
	`
	CREATE TABLE reports (
		run TEXT PRIMARY KEY,
		repository TEXT NOT NULL,
		plan TEXT NOT NULL,
		result TEXT NOT NULL,
		started INTEGER NOT NULL,
		ended INTEGER NOT NULL,
		file TEXT NOT NULL,
		signer TEXT NOT NULL,
		sequence INTEGER NOT NULL,
		sha256 TEXT NOT NULL
	) STRICT;
	CREATE INDEX reports_chain ON reports (repository, signer, sequence);
	CREATE TABLE verifications (
		run TEXT NOT NULL,
		vm TEXT NOT NULL,
		point TEXT NOT NULL,
		result TEXT NOT NULL,
		fault TEXT,
		time_to_service INTEGER,
		started INTEGER NOT NULL,
		file TEXT NOT NULL,
		PRIMARY KEY (run, vm, point)
	) STRICT;
	CREATE INDEX verifications_vm ON verifications (vm, started);
	`,
];

/** Brings a database to the version of `steps`, each step whole or not at all. Throws NEWER_FORMAT. */
export const migrate = (db: Database, path: string, steps: readonly string[] = MIGRATIONS): void => {
	const version = () => Number(db.prepare("PRAGMA user_version").get()!.user_version);
	if (version() === steps.length) return;
	// Immediate: of two processes that start together one migrates, and the other finds it done.
	db.exec("BEGIN IMMEDIATE");
	try {
		const from = version();
		if (from > steps.length)
			throw new CatalogError(
				"NEWER_FORMAT",
				`${path} was written by a newer springback (version ${from}, this one knows ${steps.length}): install that one`,
			);
		for (const step of steps.slice(from)) db.exec(step);
		db.exec(`PRAGMA user_version = ${steps.length}`);
		db.exec("COMMIT");
	} catch (error) {
		db.exec("ROLLBACK");
		throw error;
	}
};
