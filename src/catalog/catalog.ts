/** The catalogue: runs, who changed which document when, and what was last written into which repository. */

import { openDatabase } from "./database.js";
import type { CatalogPaths } from "./paths.js";
import { Reports } from "./reports.js";
import { Runs } from "./runs.js";
import type { Database } from "./sqlite.js";

export interface DocumentNote {
	kind: "host" | "plan";
	name: string;
	/** as JSON for a host, the file's text for a plan */
	content: string;
	/** UTC */
	changed: string;
	/** null: somebody edited the file */
	by: string | null;
}

/** Settings objects by their ids. */
export interface Put {
	/** the last one that is known to be there */
	object: string;
	/** the last one that was begun */
	intent: string;
	/** of the content of `object`; "" when it is to be written again */
	digest: string;
}

export class Catalog {
	readonly runs: Runs;
	readonly reports: Reports;

	private constructor(
		private readonly db: Database,
		private readonly now: () => Date,
		/** a damaged catalogue was moved there, and this is a new one */
		readonly setAside: { path: string; why: string } | undefined,
	) {
		this.runs = new Runs(db, now);
		this.reports = new Reports(db);
	}

	/** See `openDatabase`. */
	static async open(paths: CatalogPaths, now: () => Date = () => new Date()): Promise<Catalog> {
		const { db, setAside } = await openDatabase(paths, now);
		return new Catalog(db, now, setAside);
	}

	/** Notes all documents of a kind as they are now; what changed gets this time and `by`. */
	noteDocuments(kind: DocumentNote["kind"], documents: Map<string, string>, by: string | null): void {
		this.#atomically(() => {
			const known = new Map(this.documents(kind).map(({ name, content }) => [name, content]));
			const put = this.db.prepare(
				`INSERT INTO documents (kind, name, content, changed, "by") VALUES (?, ?, ?, ?, ?)
				ON CONFLICT DO UPDATE SET content = excluded.content, changed = excluded.changed, "by" = excluded."by"`,
			);
			for (const [name, content] of documents)
				if (known.get(name) !== content) put.run(kind, name, content, this.now().getTime(), by);
			for (const name of known.keys())
				if (!documents.has(name)) this.db.prepare("DELETE FROM documents WHERE kind = ? AND name = ?").run(kind, name);
		});
	}

	documents(kind: DocumentNote["kind"]): DocumentNote[] {
		const rows = this.db.prepare("SELECT * FROM documents WHERE kind = ? ORDER BY name").all(kind);
		return (rows as unknown as (Omit<DocumentNote, "changed"> & { changed: number })[]).map((row) => ({
			...row,
			changed: new Date(row.changed).toISOString(),
		}));
	}

	/** Takes in notes of another catalogue, so that who changed what stays known. */
	restoreDocuments(notes: readonly DocumentNote[]): void {
		const put = this.db.prepare(
			`INSERT OR REPLACE INTO documents (kind, name, content, changed, "by") VALUES (?, ?, ?, ?, ?)`,
		);
		for (const { kind, name, content, changed, by } of notes) put.run(kind, name, content, Date.parse(changed), by);
	}

	/** What this state put into a repository last. */
	lastPut(repository: string): Put | undefined {
		return this.db.prepare("SELECT object, intent, digest FROM puts WHERE repository = ?").get(repository) as
			| Put
			| undefined;
	}

	notePut(repository: string, { object, intent, digest }: Put): void {
		this.db
			.prepare("INSERT OR REPLACE INTO puts (repository, object, intent, digest) VALUES (?, ?, ?, ?)")
			.run(repository, object, intent, digest);
	}

	close(): void {
		this.db.close();
	}

	#atomically(work: () => void): void {
		this.db.exec("BEGIN IMMEDIATE");
		try {
			work();
			this.db.exec("COMMIT");
		} catch (error) {
			this.db.exec("ROLLBACK");
			throw error;
		}
	}
}
