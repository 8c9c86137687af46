/**
 * Keeps one mount process alive: starts it, and starts it again when it dies. Holds no state but the keys of
 * encrypted repositories, in memory, and does nothing else, so there is hardly anything in it to fail. Ends when the mount process ends by itself (exit 0), or when its
 * first start fails.
 *
 * Guests wait while it is down, so the first restart is immediate, and one that keeps being killed is never kept
 * waiting for long. One that cannot even start (its port is taken) is retried ever more slowly but never given up.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync } from "node:fs";
import type { Duplex } from "node:stream";
import { fileURLToPath } from "node:url";
import { KEYS_FD, type MountdConfig, STARTED_FD } from "./config.js";
import { serveKeys } from "./keys.js";

/** Buffers go back to the kernel when they are freed; bytes. What the user has set counts. */
const MALLOC = { MALLOC_ARENA_MAX: "2", MALLOC_MMAP_THRESHOLD_: "262144", MALLOC_TRIM_THRESHOLD_: "1048576" };
const MAIN = fileURLToPath(new URL("./main.js", import.meta.url));
const STABLE_MS = 10_000;
/** the mount process' exit code when a restart failed */
const CANNOT_START = 75;
const DELAY_MAX_MS = 500;
const DELAY_MAX_CANNOT_START_MS = 5_000;

const config = JSON.parse(process.argv[2]) as MountdConfig;
/** master keys by repository id: what the mount process was given, for the one after it */
const keys = new Map<string, string>();
let child: ChildProcess | undefined;
let stopping = false;
let delay = 0;

function start(restart: boolean): void {
	const started = Date.now();
	const report = restart ? "ignore" : STARTED_FD;
	child = spawn(process.execPath, [MAIN, JSON.stringify({ ...config, restart })], {
		env: { ...MALLOC, ...process.env },
		stdio: ["ignore", "inherit", "inherit", report, "pipe"],
	});
	serveKeys(child.stdio[KEYS_FD] as Duplex, keys);
	// The starter reads until the last holder of this descriptor is gone.
	if (!restart) closeSync(STARTED_FD);
	child.on("exit", (code, signal) => {
		if (code === 0 || stopping || (!restart && code === 1)) process.exit(code ?? 0);
		const limit = code === CANNOT_START ? DELAY_MAX_CANNOT_START_MS : DELAY_MAX_MS;
		delay = Date.now() - started > STABLE_MS ? 0 : Math.min(limit, delay === 0 ? 50 : delay * 2);
		process.stdout.write(
			`${new Date().toISOString()} supervisor[${process.pid}] mount process ended (${signal ?? code}); starting it again\n`,
		);
		setTimeout(() => start(true), delay);
	});
}

process.on("SIGHUP", () => undefined);
for (const signal of ["SIGTERM", "SIGINT"] as const) {
	process.on(signal, () => {
		stopping = true;
		child?.kill(signal);
	});
}
start(false);
