/** Finds processes by their command line. Use inside `enterNamespace`, where /proc shows only the test's own. */
import { readdirSync, readFileSync } from "node:fs";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

/** Processes one of whose arguments ends with `ending`, and another contains `word`. */
export function processes(ending: string, word = ""): number[] {
	return readdirSync("/proc")
		.filter((name) => /^\d+$/.test(name))
		.filter((pid) => {
			try {
				const args = readFileSync(`/proc/${pid}/cmdline`, "latin1").split("\0");
				return args.some((arg) => arg.endsWith(ending)) && args.some((arg) => arg.includes(word));
			} catch {
				return false;
			}
		})
		.map(Number);
}

/** kill -9 of the mount process of a state directory. Waits for one to be there, and until it is gone. */
export async function killMountdOf(state: string): Promise<void> {
	for (let tries = 0; tries < 3000; tries++) {
		const [pid] = processes("/mountd/main.js", `"${state}"`);
		if (pid !== undefined) {
			process.kill(pid, "SIGKILL");
			while (exists(pid)) await sleep(1);
			return;
		}
		await sleep(10);
	}
	throw new Error(`no mount process of ${state} within 30 s`);
}

/** Until its parent has collected it. */
function exists(pid: number): boolean {
	try {
		return process.kill(pid, 0);
	} catch {
		return false;
	}
}

/** Milliseconds until something listens on a port of 127.0.0.1. */
export async function untilListening(port: number): Promise<number> {
	const begin = Date.now();
	while (Date.now() - begin < 60_000) {
		const open = await new Promise<boolean>((resolve) => {
			const socket = connect(port, "127.0.0.1", () => {
				socket.destroy();
				resolve(true);
			});
			socket.on("error", () => resolve(false));
		});
		if (open) return Date.now() - begin;
		await sleep(10);
	}
	throw new Error(`nothing listens on port ${port} within 60 s`);
}
