/** Finds the mount process of a state directory and address, or starts it, detached from the terminal. */
import { spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync, readFileSync, renameSync, statSync } from "node:fs";
import { fileURLToPath } from "node:url";
import {
	DEFAULT_CACHE_BYTES,
	DEFAULT_MOUNT_PORT,
	DEFAULT_NFS_PORT,
	type MountdConfig,
	type RememberedConfig,
	type Started,
} from "./config.js";
import { ControlClient } from "./control-client.js";
import { addressPaths } from "./paths.js";
import { ControlError } from "./protocol.js";

const SUPERVISOR = fileURLToPath(new URL("./supervisor.js", import.meta.url));
const LOG_MAX_BYTES = 10 * 1024 * 1024;
const RETRY_MS = 50;
const RETRIES = 200;

/** undefined: none is running there. */
export function findMountd(state: string, listen: string): Promise<ControlClient | undefined> {
	return ControlClient.connect(addressPaths(state, listen).socket);
}

/**
 * How to start the mount process of an address when nobody says how: as the last time, so that the sessions it
 * takes up again are where their clients look for them.
 */
export function lastConfig(state: string, listen: string): MountdConfig {
	const defaults: RememberedConfig = {
		nfsPort: DEFAULT_NFS_PORT,
		mountPort: DEFAULT_MOUNT_PORT,
		portmap: "auto",
		clients: [],
		cacheBytes: DEFAULT_CACHE_BYTES,
	};
	let last: Partial<RememberedConfig> = {};
	try {
		last = JSON.parse(readFileSync(addressPaths(state, listen).ports, "utf8"));
	} catch {
		// Never started here, or not readable: the defaults are what most clients expect.
	}
	return { ...defaults, ...last, state, listen };
}

/** Connects to the running mount process, or starts one and connects. */
export async function findOrStartMountd(config: MountdConfig): Promise<ControlClient> {
	for (let tries = 0; ; tries++) {
		const found = await findMountd(config.state, config.listen);
		if (found) return found;
		const outcome = await startOnce(config);
		if (outcome.event === "error" && (outcome.code !== "RUNNING" || tries >= RETRIES))
			throw new ControlError(outcome.code, outcome.message);
		// RUNNING: another command is starting it, or the old one is just ending.
		if (outcome.event === "error") await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
	}
}

async function startOnce(config: MountdConfig): Promise<Started> {
	mkdirSync(config.state, { recursive: true, mode: 0o700 });
	const { log } = addressPaths(config.state, config.listen);
	rotate(log);
	const output = openSync(log, "a", 0o600);
	// Its own process group and no terminal: closing the terminal must not take a running VM's disk away.
	const supervisor = spawn(process.execPath, [SUPERVISOR, JSON.stringify(config)], {
		detached: true,
		stdio: ["ignore", output, output, "pipe"],
		cwd: "/",
	});
	closeSync(output);
	supervisor.unref();
	const report = supervisor.stdio[3] as import("node:net").Socket;
	let text = "";
	report.setEncoding("utf8");
	for await (const chunk of report) {
		text += chunk;
		if (text.includes("\n")) break;
	}
	report.destroy();
	if (!text) return { event: "error", code: "START", message: `the mount process did not start; see ${log}` };
	return JSON.parse(text.slice(0, text.indexOf("\n"))) as Started;
}

function rotate(log: string): void {
	try {
		if (statSync(log).size > LOG_MAX_BYTES) renameSync(log, `${log}.1`);
	} catch (error) {
		if ((error as { code?: string }).code !== "ENOENT") throw error;
	}
}
