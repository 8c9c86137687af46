/**
 * Applications of a Windows guest: there a freeze is a snapshot of VSS, whose writers are the applications. They are at
 * rest only if each says so before and after it. The backup is of VSS's type "copy", so that logs go on as they were.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Snapshot } from "./contract.js";
import { causeOf } from "./errors.js";
import { type AgentCall, agentRun } from "./guest-agent.js";
import { parseWriters, stillWaiting, unstable, type Writer } from "./vss-writers.js";

export type Rest = Pick<Snapshot, "consistency" | "why" | "frozenMs">;

const OSINFO_MS = 3_000;
const VSSADMIN_MS = 30_000;
const REG_MS = 10_000;
/** How long writers may take to be told that the backup is over. */
const SETTLE_MS = 30_000;
const SETTLE_STEP_MS = 1_000;

/** Where QEMU's guest agent looks for the type of its backups, since version 7.1. */
const KEY = "HKLM\\SYSTEM\\CurrentControlSet\\Services\\QEMU Guest Agent VSS Provider";
const VALUE = "VssOption";
/** VSS_BACKUP_TYPE of Windows */
const COPY = 5;
const OFFERS_TYPE = [7, 1] as const;

/** Does `freeze`; of a Windows guest whose writers all were and are stable more is true than `freeze` can know. */
export const withApplications = async (call: AgentCall, vm: string, freeze: () => Promise<Rest>): Promise<Rest> => {
	if (!(await isWindows(call))) return freeze();
	const before = await writersOf(call, vm);
	const undo = await copyType(call, vm);
	let rest: Rest;
	try {
		rest = await freeze();
	} finally {
		await undo().catch(() => undefined);
	}
	if (rest.consistency !== "filesystem") return rest;
	if (typeof before === "string") return { ...rest, why: before };
	const why = unstable(before) ?? (await after(call, vm, before));
	return { ...rest, consistency: why === null ? "application" : "filesystem", why };
};

/** One that cannot say so is none, or freezing will show what is the matter. */
const isWindows = (call: AgentCall): Promise<boolean> =>
	call<{ id?: unknown } | null>("guest-get-osinfo", {}, OSINFO_MS).then(
		(info) => info?.id === "mswindows",
		() => false,
	);

/** A sentence when they cannot be had. */
const writersOf = async (call: AgentCall, vm: string): Promise<Writer[] | string> => {
	try {
		const { code, stdout } = await agentRun(call, vm, "vssadmin.exe", ["list", "writers"], VSSADMIN_MS);
		return code === 0 ? parseWriters(stdout) : `vssadmin list writers fails in the guest (exit ${code})`;
	} catch (error) {
		return `the guest does not tell the state of its VSS writers: ${causeOf(error)}`;
	}
};

const after = async (call: AgentCall, vm: string, before: Writer[]): Promise<string | null> => {
	for (const until = Date.now() + SETTLE_MS; ; await sleep(SETTLE_STEP_MS)) {
		const now = await writersOf(call, vm);
		if (typeof now === "string") return now;
		if (!stillWaiting(now) || Date.now() > until) return unstable(now, before);
	}
};

/** Has the agent make copies, where it can; resolves with what puts its setting back. */
const copyType = async (call: AgentCall, vm: string): Promise<() => Promise<unknown>> => {
	const reg = (...args: string[]) => agentRun(call, vm, "reg.exe", args, REG_MS);
	const set = (type: number) => reg("add", KEY, "/v", VALUE, "/t", "REG_DWORD", "/d", String(type), "/f");
	try {
		const { code, stdout } = await reg("query", KEY, "/v", VALUE);
		const found = /\bREG_DWORD\s+0x([0-9a-f]{1,8})\b/i.exec(stdout)?.[1];
		const type = code === 0 && found !== undefined ? Number.parseInt(found, 16) : undefined;
		if (type === COPY || (type === undefined && !(await offersType(call)))) return async () => undefined;
		await set(COPY);
		return () => (type === undefined ? reg("delete", KEY, "/v", VALUE, "/f") : set(type));
	} catch {
		// An agent that runs no programs: its backups are of the type that it was installed with.
		return async () => undefined;
	}
};

const offersType = async (call: AgentCall): Promise<boolean> => {
	const { version } = await call<{ version?: unknown }>("guest-info");
	const [major = 0, minor = 0] = String(version).split(".").map(Number);
	return major > OFFERS_TYPE[0] || (major === OFFERS_TYPE[0] && minor >= OFFERS_TYPE[1]);
};
