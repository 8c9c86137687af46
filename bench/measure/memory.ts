/**
 * What a process keeps in memory of its own, and what it works. Anonymous memory only: file pages are the kernel's to take back at any
 * time, and are counted as resident all the same.
 */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { text } from "node:stream/consumers";

/** Often enough for a peak that lasts, ms. */
const LOOK_EVERY_MS = 20;

/** Resident anonymous bytes of a process (proc(5), RssAnon); 0 when it is gone. */
export function anonymousBytes(pid: number): number {
	try {
		return Number(/^RssAnon:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) * 1024;
	} catch {
		return 0;
	}
}

/** Processor seconds of a process so far (proc(5), stat: utime and stime, in ticks of 10 ms); 0 when it is gone. */
function processorSeconds(pid: number): number {
	try {
		// The name may hold anything; what is wanted are the 14th and 15th field.
		const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
			.replace(/^.*\) /s, "")
			.split(" ");
		return (Number(fields[11]) + Number(fields[12])) / 100;
	} catch {
		return 0;
	}
}

export interface Watched {
	seconds: number;
	/** of the process, as of the last look: what others do to the machine is not in it */
	cpuSeconds: number;
	stdout: string;
	/** most anonymous bytes that were resident at once */
	peak: number;
}

/** Runs a program to its end and watches its memory. Fails with its last words when it exits with anything but 0. */
export async function watched(command: string[]): Promise<Watched> {
	const started = performance.now();
	const child = spawn(command[0], command.slice(1), { stdio: ["ignore", "pipe", "pipe"] });
	let peak = 0;
	let cpuSeconds = 0;
	const look = setInterval(() => {
		peak = Math.max(peak, anonymousBytes(child.pid!));
		cpuSeconds = Math.max(cpuSeconds, processorSeconds(child.pid!));
	}, LOOK_EVERY_MS);
	try {
		const [stdout, stderr, code] = await Promise.all([
			text(child.stdout),
			text(child.stderr),
			new Promise<number | null>((resolve, reject) => {
				child.once("error", reject);
				child.once("close", resolve);
			}),
		]);
		const seconds = (performance.now() - started) / 1000;
		if (code !== 0) throw new Error(`${command.join(" ")} failed (${code}): ${(stderr || stdout).trim().slice(-400)}`);
		return { seconds, cpuSeconds, stdout, peak };
	} finally {
		clearInterval(look);
	}
}
