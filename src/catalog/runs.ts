/** Runs: what was done, when, with which result, by whom. One that was killed is found and marked. */

import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { hostname, userInfo } from "node:os";
import type { Database } from "./sqlite.js";

export type RunResult = "running" | "ok" | "warnings" | "fault" | "failed" | "interrupted" | "killed";

export interface Run {
	/** 32 hex digits */
	id: string;
	/** the command: "backup", "check", … */
	what: string;
	/** what it was about: names of VMs or points, or "" */
	subject: string;
	/** id of the repository, where it is known */
	repository: string | null;
	/** UTC */
	started: string;
	ended: string | null;
	result: RunResult;
	/** the error in one line */
	message: string | null;
	/** user who started it */
	by: string;
	host: string;
}

/** Older ones are removed. */
export const RUNS_KEPT = 10_000;

/** "root", or "root for alice" under sudo */
export const whoStarts = (): string => {
	let user: string;
	try {
		user = userInfo().username;
	} catch {
		user = `uid ${process.getuid?.() ?? "?"}`;
	}
	const behind = process.env.SUDO_USER;
	return behind && behind !== user ? `${user} for ${behind}` : user;
};

/** Tells a process from a later one with its number: "PID STARTTIME" (proc(5), stat field 22); undefined when there is none. */
const processMark = (pid: number): string | undefined => {
	try {
		const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
		// The name in parentheses may hold anything.
		return `${pid} ${stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]}`;
	} catch {
		return undefined;
	}
};

export class Runs {
	constructor(
		private readonly db: Database,
		private readonly now: () => Date,
	) {}

	/** Durable when it returns; the run counts as killed once this process is gone. */
	begin(what: string, subject: string): string {
		const id = randomBytes(16).toString("hex");
		this.db
			.prepare(
				`INSERT INTO runs (id, what, subject, started, result, "by", host, process) VALUES (?, ?, ?, ?, 'running', ?, ?, ?)`,
			)
			.run(id, what, subject, this.now().getTime(), whoStarts(), hostname(), processMark(process.pid) ?? null);
		this.db.prepare("DELETE FROM runs WHERE number <= (SELECT max(number) FROM runs) - ?").run(RUNS_KEPT);
		return id;
	}

	end(id: string, result: Exclude<RunResult, "running">, message?: string, repository?: string): void {
		this.db
			.prepare("UPDATE runs SET ended = ?, result = ?, message = ?, repository = ?, process = NULL WHERE id = ?")
			.run(this.now().getTime(), result, message ?? null, repository ?? null, id);
	}

	/** As if it had never begun: the command line was wrong. */
	cancel(id: string): void {
		this.db.prepare("DELETE FROM runs WHERE id = ?").run(id);
	}

	/** Newest first. */
	list(limit = RUNS_KEPT): Run[] {
		this.#markKilled();
		const rows = this.db.prepare("SELECT * FROM runs ORDER BY started DESC, number DESC LIMIT ?").all(limit);
		return (rows as unknown as (Omit<Run, "started" | "ended"> & { started: number; ended: number | null })[]).map(
			({ id, what, subject, repository, started, ended, result, message, by, host }) => ({
				id,
				what,
				subject,
				repository,
				started: utc(started)!,
				ended: utc(ended),
				result,
				message,
				by,
				host,
			}),
		);
	}

	/** Takes in runs of another catalogue; those that are known stay as they are. */
	restore(runs: readonly Run[]): void {
		const insert = this.db.prepare(
			`INSERT OR IGNORE INTO runs (id, what, subject, repository, started, ended, result, message, "by", host)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		);
		for (const run of [...runs].reverse())
			insert.run(
				run.id,
				run.what,
				run.subject,
				run.repository,
				Date.parse(run.started),
				run.ended === null ? null : Date.parse(run.ended),
				// Whatever still ran when it was noted has not survived the machine.
				run.result === "running" ? "killed" : run.result,
				run.message,
				run.by,
				run.host,
			);
	}

	#markKilled(): void {
		const running = this.db
			.prepare("SELECT id, process FROM runs WHERE result = 'running' AND host = ?")
			.all(hostname()) as { id: string; process: string | null }[];
		for (const { id, process } of running)
			if (process === null || processMark(Number(process.split(" ")[0])) !== process)
				this.db
					.prepare("UPDATE runs SET result = 'killed', process = NULL WHERE id = ? AND result = 'running'")
					.run(id);
	}
}

const utc = (ms: number | null): string | null => (ms === null ? null : new Date(ms).toISOString());
