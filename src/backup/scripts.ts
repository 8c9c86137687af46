/**
 * The user's programs around a run, on this machine. Their time is bounded, they are told what they are run for in
 * environment variables, and what they print is passed on line by line.
 */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { SourceError } from "./errors.js";

export interface ScriptRun {
	/** path of a program */
	path: string;
	/** added to our environment */
	env: Record<string, string>;
	/** ms that it may take; then it is ended */
	limitMs: number;
	/** takes a line that it printed */
	log: (line: string) => void;
	/** ends it */
	signal?: AbortSignal;
}

/** ms between asking a program to end and ending it. */
const GRACE_MS = 5_000;
/** ms that what it left running may keep us from its last line. */
const LAST_WORDS_MS = 300;

/** Rejects with SourceError SOURCE when it cannot be started, fails, or takes too long; INTERRUPTED after the signal. */
export async function runScript({ path, env, limitMs, log, signal }: ScriptRun): Promise<void> {
	const fail = (why: string) => new SourceError("SOURCE", `${path}: ${why}`);
	if (signal?.aborted) throw new SourceError("INTERRUPTED", `${path} was not started: interrupted`);
	// A process group of its own: all that it starts ends with it, and Ctrl-C reaches it through us only.
	const child = spawn(path, [], {
		detached: true,
		stdio: ["ignore", "pipe", "pipe"],
		env: { ...process.env, ...env },
	});
	for (const stream of [child.stdout, child.stderr]) createInterface({ input: stream }).on("line", log);
	let stopped: SourceError | undefined;
	let last: NodeJS.Timeout | undefined;
	const stop = (why: SourceError) => {
		stopped ??= why;
		killGroup(child.pid, "SIGTERM");
		last ??= setTimeout(() => killGroup(child.pid, "SIGKILL"), GRACE_MS);
	};
	const late = setTimeout(() => stop(fail(`still ran after ${limitMs / 1000} s and was ended`)), limitMs);
	const interrupt = () => stop(new SourceError("INTERRUPTED", `${path} was ended: interrupted`));
	signal?.addEventListener("abort", interrupt, { once: true });
	const closed = new Promise((resolve) => child.once("close", resolve));
	try {
		const [code, by] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve, reject) => {
			child.once("error", (error: NodeJS.ErrnoException) => reject(fail(STARTING[error.code ?? ""] ?? error.message)));
			child.once("exit", (status, killed) => resolve([status, killed]));
		});
		if (stopped !== undefined) killGroup(child.pid, "SIGKILL");
		await Promise.race([closed, sleep(LAST_WORDS_MS)]);
		if (stopped !== undefined) throw stopped;
		if (code !== 0) throw fail(by === null ? `failed with exit code ${code}` : `was ended by ${by}`);
	} finally {
		clearTimeout(late);
		clearTimeout(last);
		signal?.removeEventListener("abort", interrupt);
		// What it left running would keep our end of its pipes open.
		child.stdout.destroy();
		child.stderr.destroy();
	}
}

const STARTING: Readonly<Record<string, string>> = {
	ENOENT: "no such file, or the program that its first line names is missing",
	EACCES: "may not be run: chmod +x",
};

function killGroup(pid: number | undefined, signal: NodeJS.Signals): void {
	if (pid === undefined) return;
	try {
		process.kill(-pid, signal);
	} catch {
		// It has ended.
	}
}
