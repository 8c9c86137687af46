/**
 * A program on this machine, in a process group of its own: all that it started ends with it. What it prints is kept up to
 * a limit, and it is not slowed down by what is not kept.
 */
import { spawn } from "node:child_process";
import { accessSync, constants } from "node:fs";
import type { Socket } from "node:net";
import { delimiter, join } from "node:path";
import type { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";

export interface ProgramRun {
	/** path, or a name to be found in PATH */
	program: string;
	args: string[];
	/** the whole environment */
	env: Record<string, string>;
	cwd: string;
	/** ends it: SIGTERM to its group, SIGKILL later */
	signal: AbortSignal;
	/** becomes its file descriptor 3; ours is closed then */
	channel?: Socket;
	/** ms between SIGTERM and SIGKILL; default 2000 */
	graceMs?: number;
}

export interface ProgramResult {
	/** null: ended by a signal */
	code: number | null;
	by: NodeJS.Signals | null;
	/** both streams as they came: the first and the last 64 KiB */
	output: string;
	/** `signal` ended it */
	interrupted: boolean;
}

/** ms between asking a program to end and ending it */
const GRACE_MS = 2000;
/** ms that what it left running may keep us from its last line */
const LAST_WORDS_MS = 300;
const KEPT_BYTES = 64 * 1024;

/** Rejects with a system error when it cannot be started. When it resolves, nothing of its group is left. */
export const runProgram = async ({
	program,
	args,
	env,
	cwd,
	signal,
	channel,
	graceMs = GRACE_MS,
}: ProgramRun): Promise<ProgramResult> => {
	if (signal.aborted) return { code: null, by: "SIGTERM", output: "", interrupted: true };
	const more = channel === undefined ? [] : [channel];
	const child = spawn(program, args, { detached: true, stdio: ["ignore", "pipe", "pipe", ...more], env, cwd });
	channel?.destroy();
	const [stdout, stderr] = [child.stdout as Readable, child.stderr as Readable];
	const kept = new KeptOutput();
	for (const stream of [stdout, stderr]) stream.on("data", (piece: Buffer) => kept.add(piece));
	let last: NodeJS.Timeout | undefined;
	const stop = () => {
		killGroup(child.pid, "SIGTERM");
		last ??= setTimeout(() => killGroup(child.pid, "SIGKILL"), graceMs);
	};
	signal.addEventListener("abort", stop, { once: true });
	const closed = new Promise((resolve) => child.once("close", resolve));
	try {
		const [code, by] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve, reject) => {
			child.once("error", reject);
			child.once("exit", (status, killed) => resolve([status, killed]));
		});
		await Promise.race([closed, sleep(LAST_WORDS_MS, undefined, { ref: false })]);
		return { code, by, output: kept.text(), interrupted: signal.aborted };
	} finally {
		clearTimeout(last);
		signal.removeEventListener("abort", stop);
		// What it left running in the background.
		killGroup(child.pid, "SIGKILL");
		stdout.destroy();
		stderr.destroy();
	}
};

/** Path of the first that is installed. `more`: folders besides PATH. */
export const findProgram = (names: string[], more = ["/usr/sbin", "/sbin", "/usr/bin"]): string | undefined => {
	for (const name of names)
		for (const folder of [...(process.env.PATH ?? "").split(delimiter), ...more]) {
			const path = join(folder, name);
			try {
				accessSync(path, constants.X_OK);
				return path;
			} catch {
				// The next.
			}
		}
	return undefined;
};

/** "exit code 3", "was ended by SIGSEGV" */
export const ending = ({ code, by }: ProgramResult): string =>
	by === null ? `exit code ${code}` : `was ended by ${by}`;

class KeptOutput {
	readonly #head: Buffer[] = [];
	readonly #tail: Buffer[] = [];
	#headBytes = 0;
	#tailBytes = 0;
	#lost = 0;

	add(piece: Buffer): void {
		const first = piece.subarray(0, KEPT_BYTES - this.#headBytes);
		if (first.length > 0) this.#head.push(first);
		this.#headBytes += first.length;
		const rest = piece.subarray(first.length);
		if (rest.length === 0) return;
		this.#tail.push(rest);
		this.#tailBytes += rest.length;
		while (this.#tailBytes - this.#tail[0].length >= KEPT_BYTES) {
			this.#lost += this.#tail[0].length;
			this.#tailBytes -= (this.#tail.shift() as Buffer).length;
		}
	}

	text(): string {
		const head = Buffer.concat(this.#head).toString("utf8");
		const tail = Buffer.concat(this.#tail).toString("utf8");
		return this.#lost === 0 ? head + tail : `${head}\n… ${this.#lost} bytes left out …\n${tail}`;
	}
}

function killGroup(pid: number | undefined, signal: NodeJS.Signals): void {
	if (pid === undefined) return;
	try {
		process.kill(-pid, signal);
	} catch {
		// It has ended.
	}
}
