/**
 * Programs run to their end and timed from outside, and servers that are watched while others load them.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";

export interface Timed {
	/** wall time of the whole process, start included */
	seconds: number;
	/** user + system time of the process and its children */
	cpuSeconds: number;
	stdout: string;
}

export interface RunOptions {
	env?: Record<string, string>;
	cwd?: string;
	/** stdout goes into this new file instead of memory */
	outputFile?: string;
}

/** Runs a program to its end. Fails with its last words when it exits with anything but 0. */
export async function run(command: string[], options: RunOptions = {}): Promise<Timed> {
	// bash's `time` reports what the kernel accounted to the process and its children, on a descriptor of its own.
	const timer = 'TIMEFORMAT="%3R %3U %3S"; { time "$@" 2>&4; } 4>&2 2>&3';
	const output = options.outputFile === undefined ? "pipe" : openSync(options.outputFile, "w");
	const child = spawn("bash", ["-c", timer, "bash", ...command], {
		stdio: ["ignore", output, "pipe", "pipe"],
		env: { ...process.env, ...options.env },
		cwd: options.cwd,
	});
	if (typeof output === "number") closeSync(output);
	const [stdout, stderr, times, code] = await Promise.all([
		child.stdout ? text(child.stdout) : "",
		text(child.stderr as NodeJS.ReadableStream & AsyncIterable<Buffer>),
		text(child.stdio[3] as NodeJS.ReadableStream & AsyncIterable<Buffer>),
		exitOf(child),
	]);
	if (code !== 0) throw new Error(`${command.join(" ")} failed (${code}): ${lastLines(stderr || stdout)}`);
	const [seconds, user, system] = times.trim().split(/\s+/).map(Number);
	return { seconds, cpuSeconds: user + system, stdout };
}

/** A server of ours or of a peer, ended by its process id when the measurement is over. */
export class Server {
	readonly process: ChildProcess;
	readonly #log: string;
	readonly #exited: Promise<number | string>;
	#over = false;

	/** @param log file that takes the program's stderr, and its stdout when `piped` is not set */
	constructor(command: string[], log: string, options: { env?: Record<string, string>; piped?: boolean } = {}) {
		this.#log = log;
		const descriptor = openSync(log, "a");
		this.process = spawn(command[0], command.slice(1), {
			stdio: ["ignore", options.piped ? "pipe" : descriptor, descriptor],
			env: { ...process.env, ...options.env },
		});
		closeSync(descriptor);
		this.#exited = exitOf(this.process).finally(() => {
			this.#over = true;
		});
		this.#exited.catch(() => undefined);
	}

	get running(): boolean {
		return !this.#over;
	}

	/** Tries `probe` until it returns something; fails when the server ends first or `milliseconds` are over. */
	async ready<T>(probe: () => Promise<T | undefined>, milliseconds: number): Promise<T> {
		const deadline = Date.now() + milliseconds;
		while (!this.#over && Date.now() < deadline) {
			const answer = await probe();
			if (answer !== undefined) return answer;
			await sleep(50);
		}
		throw new Error(`${this.process.spawnfile} did not come up: ${this.lastWords}`);
	}

	get lastWords(): string {
		return lastLines(readFileSync(this.#log, "utf8"));
	}

	/** Asks the server to end, and kills it when it does not. */
	async stop(milliseconds = 20_000): Promise<void> {
		if (!this.#over) this.process.kill("SIGTERM");
		const late = await Promise.race([this.#exited.then(() => false), sleep(milliseconds, true, { ref: false })]);
		if (late) this.process.kill("SIGKILL");
		await this.#exited.catch(() => undefined);
	}
}

/** Resolves with the exit code or the signal's name. */
function exitOf(child: ChildProcess): Promise<number | string> {
	return new Promise((resolve, reject) => {
		child.once("error", reject);
		child.once("close", (code, signal) => resolve(code ?? signal ?? "unknown"));
	});
}

function lastLines(output: string): string {
	return output.trim().split("\n").slice(-4).join(" | ") || "it said nothing";
}

/** Resident memory of a process in bytes; 0 when it is gone. */
export function residentBytes(pid: number): number {
	try {
		const status = readFileSync(`/proc/${pid}/status`, "utf8");
		return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0) * 1024;
	} catch {
		return 0;
	}
}
