/** Verification reports: which there are, what each said of each VM. The reports themselves are files (src/verify/evidence). */
import type { Database } from "./sqlite.js";

export interface ReportNote {
	/** 32 hex digits: the run */
	run: string;
	/** id of the repository */
	repository: string;
	plan: string;
	result: string;
	/** UTC */
	started: string;
	ended: string;
	/** path of the JSON file; "" when it was never written */
	file: string;
	/** fingerprint of the key that signed it, place in that key's chain for this repository, and SHA-256 of the file: hex */
	signer: string;
	sequence: number;
	sha256: string;
}

export interface VerificationNote {
	vm: string;
	/** id of the restore point */
	point: string;
	result: string;
	fault: string | null;
	/** ms from power-on; null: it never served */
	timeToServiceMs: number | null;
	/** UTC */
	started: string;
}

export interface TrendEntry extends VerificationNote {
	run: string;
}

export class Reports {
	constructor(private readonly db: Database) {}

	/** Takes a report in; one that is known is replaced. */
	add(note: ReportNote, vms: readonly VerificationNote[]): void {
		this.db.exec("BEGIN IMMEDIATE");
		try {
			this.db.prepare("DELETE FROM reports WHERE run = ?").run(note.run);
			this.db.prepare("DELETE FROM verifications WHERE run = ?").run(note.run);
			this.db
				.prepare(
					`INSERT INTO reports (run, repository, plan, result, started, ended, file, signer, sequence, sha256)
					VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
				)
				.run(
					note.run,
					note.repository,
					note.plan,
					note.result,
					Date.parse(note.started),
					Date.parse(note.ended),
					note.file,
					note.signer,
					note.sequence,
					note.sha256,
				);
			const insert = this.db.prepare(
				`INSERT OR REPLACE INTO verifications (run, vm, point, result, fault, time_to_service, started, file)
				VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
			);
			for (const { vm, point, result, fault, timeToServiceMs, started } of vms)
				insert.run(note.run, vm, point, result, fault, timeToServiceMs, Date.parse(started), note.file);
			this.db.exec("COMMIT");
		} catch (error) {
			this.db.exec("ROLLBACK");
			throw error;
		}
	}

	/** Newest first; of one repository, or of runs in which a VM was verified, when given. */
	list({ repository, vm, limit = 1_000 }: { repository?: string; vm?: string; limit?: number } = {}): (ReportNote & {
		vms: VerificationNote[];
	})[] {
		const rows = this.db
			.prepare(
				`SELECT * FROM reports WHERE (?1 IS NULL OR repository = ?1)
				AND (?2 IS NULL OR run IN (SELECT run FROM verifications WHERE vm = ?2))
				ORDER BY started DESC, sequence DESC LIMIT ?3`,
			)
			.all(repository ?? null, vm ?? null, limit) as unknown as Stored<ReportNote>[];
		const of = this.db.prepare("SELECT * FROM verifications WHERE run = ? ORDER BY started, vm");
		return rows.map(({ started, ended, ...rest }) => ({
			...rest,
			started: utc(started),
			ended: utc(ended),
			vms: (of.all(rest.run) as unknown as Row[]).map(verificationOf),
		}));
	}

	/** All runs that have a report. */
	runs(): Set<string> {
		const rows = this.db.prepare("SELECT run FROM reports").all() as { run: string }[];
		return new Set(rows.map(({ run }) => run));
	}

	/** The last report of a key's chain for a repository. */
	head(repository: string, signer: string): { run: string; sequence: number; sha256: string } | undefined {
		const row = this.db
			.prepare(
				"SELECT run, sequence, sha256 FROM reports WHERE repository = ? AND signer = ? ORDER BY sequence DESC LIMIT 1",
			)
			.get(repository, signer) as { run: string; sequence: number; sha256: string } | undefined;
		return row === undefined ? undefined : { ...row };
	}

	/** How a VM did in the newest `limit` verifications that began by `until` (UTC), oldest first. */
	trend(repository: string, vm: string, limit: number, until: string): TrendEntry[] {
		const rows = this.db
			.prepare(
				`SELECT v.* FROM verifications v JOIN reports r ON r.run = v.run WHERE r.repository = ? AND v.vm = ?
				AND r.started <= ? ORDER BY v.started DESC LIMIT ?`,
			)
			.all(repository, vm, Date.parse(until), limit) as unknown as Row[];
		return rows.reverse().map((row) => ({ run: row.run, ...verificationOf(row) }));
	}

	/** Ids of the points that a run has judged: it passed, or failed for a reason of its own and not the host's. */
	verifiedPoints(repository: string): Set<string> {
		const rows = this.db
			.prepare(
				`SELECT DISTINCT v.point FROM verifications v JOIN reports r ON r.run = v.run WHERE r.repository = ?
				AND v.result IN ('passed', 'warning', 'failed') AND v.fault IS NOT 'infrastructure'`,
			)
			.all(repository) as { point: string }[];
		return new Set(rows.map(({ point }) => point));
	}
}

type Stored<T> = Omit<T, "started" | "ended"> & { started: number; ended: number };
interface Row extends Omit<VerificationNote, "started" | "timeToServiceMs"> {
	run: string;
	started: number;
	time_to_service: number | null;
}

const verificationOf = ({ vm, point, result, fault, time_to_service, started }: Row): VerificationNote => ({
	vm,
	point,
	result,
	fault,
	timeToServiceMs: time_to_service,
	started: utc(started),
});

const utc = (ms: number): string => new Date(ms).toISOString();
