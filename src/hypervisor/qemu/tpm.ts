/**
 * A VM's TPM: a swtpm process beside its QEMU. Both ends of their connection are handed over, so that swtpm ends when
 * QEMU does, however that ends. Only one whose QEMU never came up can stay: it is found by its pid.
 */
import { spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync, readFileSync, readlinkSync, realpathSync, rmSync } from "node:fs";
import type { Socket } from "node:net";
import { basename, relative } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { HypervisorError } from "../errors.js";
import type { VmPlaces } from "./layout.js";
import { findProgram } from "./start-process.js";
import { stateOf, tryLock, type Vm } from "./vm.js";

const END_MS = 5000;
/** of a VM that may have gone off just now */
const LEFT_MS = 1000;
const PACKAGE = "swtpm is not installed: apt install swtpm";

export const tpmProblem = (): string | undefined => (findProgram(["swtpm"]) === undefined ? PACKAGE : undefined);

/** `fd`: QEMU's end of the connection. */
export const tpmArguments = (fd: number): string[] => [
	...["-chardev", `socket,id=tpm,fd=${fd}`, "-tpmdev", "emulator,id=tpm0,chardev=tpm"],
	...["-device", "tpm-crb,tpmdev=tpm0"],
];

/**
 * QEMU's end of the connection. It must be handed over, and destroyed here, before anything else is awaited: what
 * swtpm answers is QEMU's to read. Throws UNSUPPORTED.
 */
export const startTpm = (places: VmPlaces): Socket => {
	const swtpm = findProgram(["swtpm"]);
	if (swtpm === undefined) throw new HypervisorError("UNSUPPORTED", `${places.definition}: ${PACKAGE}`);
	mkdirSync(places.tpm, { recursive: true, mode: 0o700 });
	const log = openSync(places.tpmLog, "w", 0o600);
	const child = spawn(
		swtpm,
		[
			...["socket", "--tpm2", "--tpmstate", `dir=${basename(places.tpm)},mode=0600`, "--terminate"],
			...["--ctrl", "type=unixio,clientfd=3", "--pid", `file=${relative(places.folder, places.tpmPid)}`],
		],
		// In the VM's folder: its options know no way to write a comma.
		{ stdio: ["ignore", log, log, "pipe"], detached: true, cwd: places.folder },
	);
	closeSync(log);
	// QEMU says that nobody answers.
	child.on("error", () => {});
	child.unref();
	return child.stdio[3] as Socket;
};

/** What swtpm said first, of a start that failed; what follows is of its end. */
export const tpmWords = (places: VmPlaces): string | undefined => {
	const [line] = textOf(places.tpmLog).split("\n");
	return /disconnected/.test(line) ? undefined : line || undefined;
};

/** What a crashed start left. True when there was something. */
export const endLeftTpm = async (vm: Vm): Promise<boolean> => {
	if (tpmPid(vm.places) === undefined || (await stateOf(vm)) !== "off") return false;
	const starting = tryLock(vm, vm.places.starting);
	if (starting === undefined) return false;
	try {
		return (await stateOf(vm)) === "off" && (await endTpm(vm.places, LEFT_MS));
	} finally {
		starting.release();
	}
};

/** Waits until the TPM of a VM that is off has ended; ends one that does not. True when there was one to end. */
export const endTpm = async (places: VmPlaces, patience = END_MS): Promise<boolean> => {
	const pid = tpmPid(places);
	if (pid === undefined) return false;
	for (let waited = 0; waited < patience; waited += 20) {
		if (tpmPid(places) === undefined) return false;
		await sleep(20);
	}
	process.kill(pid, "SIGTERM");
	for (let waited = 0; tpmPid(places) !== undefined; waited += 20) {
		if (waited === END_MS) process.kill(pid, "SIGKILL");
		await sleep(20);
	}
	rmSync(places.tpmPid, { force: true });
	return true;
};

/** The pid may be another process' by now: its command line and its folder tell. */
const tpmPid = (places: VmPlaces): number | undefined => {
	const pid = Number(textOf(places.tpmPid));
	if (!Number.isSafeInteger(pid) || pid <= 1) return undefined;
	try {
		const ours = /^[^\0]*swtpm\0/.test(readFileSync(`/proc/${pid}/cmdline`, "latin1"));
		return ours && readlinkSync(`/proc/${pid}/cwd`) === realpathSync(places.folder) ? pid : undefined;
	} catch {
		return undefined;
	}
};

const textOf = (path: string): string => {
	try {
		return readFileSync(path, "latin1");
	} catch {
		return "";
	}
};
