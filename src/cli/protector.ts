/**
 * A process beside a recovered VM: every now and then what the VM wrote becomes a restore point (`backup --session`), and a
 * guest that stopped because its disks were away goes on when they are back, until the recovery has ended or its storage
 * has moved. Argument: one JSON document (ProtectorOptions).
 */
import { execFile } from "node:child_process";
import { appendFileSync, constants as C, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { sys } from "../../native/index.js";
import { type Hypervisor, openHost } from "../hypervisor/index.js";
import { SessionStore } from "../mountd/session-store.js";
import { Records, type RecoveryRecord } from "../recovery/index.js";
import type { ProtectorOptions } from "./protect.js";

const MAIN = fileURLToPath(new URL("./main.js", import.meta.url));
const TICK_MS = 5_000;
/** How often the VM is looked at. */
const WATCH_MS = 2_000;
/** Behind a backup that failed, at most. */
const AGAIN_MS = 60_000;
const LOG_MAX_BYTES = 1024 * 1024;

const { state, session, keyFile, backups, host } = JSON.parse(process.argv[2] ?? "{}") as ProtectorOptions;
const folder = join(state, "recoveries");
const records = new Records(folder);
const lock = join(folder, `${session}.protect.lock`);
const log = join(folder, `${session}.protect.log`);

/** Undefined: there is nothing to protect any more. */
const wanted = (): RecoveryRecord | undefined => {
	const record = records.find(session);
	return record?.migration?.finished == null ? record : undefined;
};

const note = (line: string): void => {
	if ((statSync(log, { throwIfNoEntry: false })?.size ?? 0) > LOG_MAX_BYTES) rmSync(log);
	appendFileSync(log, `${new Date().toISOString()} ${line}\n`, { mode: 0o600 });
};

/** True when it is in a restore point now, or nothing was written since the last one. */
const backUp = async ({ repository }: RecoveryRecord): Promise<boolean> => {
	if (new SessionStore(state).find(session)?.record.unprotectedSince == null) return true;
	const places = ["--repo", repository, "--state", state, ...(keyFile === undefined ? [] : ["--key-file", keyFile])];
	try {
		await promisify(execFile)(process.execPath, [MAIN, "backup", "--session", session, "--quiet", ...places]);
		return true;
	} catch (error) {
		const { stderr, message } = error as { stderr?: string; message: string };
		note((stderr?.trim() || message).split("\n")[0]);
		return false;
	}
};

/** Undefined where guests go on by themselves. */
const watched = async (): Promise<Hypervisor | undefined> => {
	const opened = host === undefined ? undefined : await openHost(host.type, host.uri);
	return opened?.stoppedByDisk === undefined ? undefined : opened;
};

/** While the server is still away it stops again at once. One that is being moved has its disks' new place to wait for. */
const letGoOn = async (hypervisor: Hypervisor, { id, phase, migration }: RecoveryRecord): Promise<void> => {
	if (phase !== "ready" || migration?.pausing === true) return;
	try {
		if (!(await hypervisor.stoppedByDisk!(id))) return;
		await hypervisor.power(id, "resume");
		note("the guest stopped because its disks were away, and goes on");
	} catch {
		// The host is away, or the VM is: the next look tells.
	}
};

const run = async (): Promise<void> => {
	const fd = sys.open(lock, C.O_RDWR | C.O_CREAT, 0o600);
	if (!sys.lock(fd, "exclusive", 0, 1)) return;
	const hypervisor = await watched();
	const tick = hypervisor === undefined ? TICK_MS : WATCH_MS;
	let next: number | undefined;
	for (let record = wanted(); record !== undefined; record = wanted()) {
		const every = backups ? record.protectMs : null;
		if (every === null && hypervisor === undefined) break;
		next ??= Date.now() + (every ?? Number.POSITIVE_INFINITY);
		if (every !== null && Date.now() >= next) {
			const done = await backUp(record);
			next = Date.now() + (done ? every : Math.min(every, AGAIN_MS));
		}
		if (hypervisor !== undefined) await letGoOn(hypervisor, record);
		await sleep(Math.max(1, Math.min(tick, next - Date.now())));
	}
	await hypervisor?.close();
	if (records.find(session) === undefined) for (const path of [log, lock]) rmSync(path, { force: true });
};

run().catch((error: Error) => {
	note(`ended: ${error.message}`);
	process.exitCode = 1;
});
