/**
 * Where a benchmark keeps things: inputs stay in the cache from run to run, everything else lies in one directory that
 * is gone afterwards. One benchmark at a time: two would measure each other.
 */
import { constants, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { sys } from "../../native/index.js";
import { cacheDirectory } from "../../scripts/lab/acceleration.js";

/** Tells the process inside the namespace where its directory is. */
const VARIABLE = "SPRINGBACK_BENCH_DIRECTORY";

/** What is worth keeping: images. On the same disk as the run's directory. */
export const keptDirectory = (): string => join(cacheDirectory(), "bench");

/**
 * Makes the run's directory and removes it when this process ends, however the processes inside it ended. Also removes
 * what a killed run left behind. Fails when another benchmark runs.
 */
export function openRunDirectory(): void {
	const kept = keptDirectory();
	mkdirSync(kept, { recursive: true });
	const lock = sys.open(join(kept, "lock"), constants.O_RDWR | constants.O_CREAT, 0o600);
	if (!sys.lock(lock, "exclusive", 0, 0)) {
		sys.close(lock);
		throw new Error(`another benchmark runs (it holds ${join(kept, "lock")}): wait for it, or end it`);
	}
	for (const name of readdirSync(kept)) if (name.startsWith("run-")) remove(join(kept, name));
	const directory = mkdtempSync(join(kept, "run-"));
	process.env[VARIABLE] = directory;
	process.on("exit", () => remove(directory));
}

/** The run's directory, inside or outside the namespace. */
export function runDirectory(): string {
	const directory = process.env[VARIABLE];
	if (!directory) throw new Error("the run's directory is not open");
	return directory;
}

/** A new empty directory of the run. */
export function freshDirectory(...parts: string[]): string {
	const path = join(runDirectory(), ...parts);
	remove(path);
	mkdirSync(path, { recursive: true });
	return path;
}

/** Processes that are being killed may write until they are gone; hence the retries. */
export function remove(path: string): void {
	rmSync(path, { recursive: true, force: true, maxRetries: 30, retryDelay: 100 });
}

/** Fails when the disk cannot take `bytes` more. */
export function requireSpace(bytes: number): void {
	const { available } = sys.statfs(keptDirectory());
	if (available < bytes) {
		const gib = (amount: number) => `${(amount / 2 ** 30).toFixed(1)} GiB`;
		throw new Error(
			`${keptDirectory()} has ${gib(available)} free and ${gib(bytes)} are needed: free some, or set SPRINGBACK_CACHE to a larger disk`,
		);
	}
}
