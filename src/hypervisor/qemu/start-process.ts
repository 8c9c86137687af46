/** Starts QEMU so that it goes on without us, and tells why when it does not come up. */
import { spawn } from "node:child_process";
import { accessSync, closeSync, constants, openSync, readFileSync } from "node:fs";
import type { Socket } from "node:net";
import { delimiter, join } from "node:path";
import { causeOf, HypervisorError } from "../errors.js";

const NAMES = ["qemu-system-x86_64", "qemu-kvm"];
export const CHANNEL = 3;

/** Path of QEMU; undefined where none is installed. */
export const findQemu = (): string | undefined => findProgram(NAMES);

export const findProgram = (names: string[]): string | undefined => {
	const folders = [...(process.env.PATH ?? "").split(delimiter), "/usr/bin", "/usr/sbin", "/usr/libexec"];
	for (const name of names)
		for (const folder of folders) {
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

/**
 * Resolves when QEMU has opened everything and answers. Rejects with FAILED and QEMU's last words. `channel` makes a
 * socket that QEMU gets as its file descriptor CHANNEL. `before` is a command that runs QEMU elsewhere.
 */
export const startProcess = async (
	name: string,
	args: string[],
	log: string,
	channel?: () => Socket,
	before: string[] = [],
): Promise<void> => {
	const qemu = findQemu();
	if (qemu === undefined)
		throw new HypervisorError("UNSUPPORTED", `${NAMES[0]} is not installed (package qemu-system-x86)`);
	const fd = openSync(log, "w", 0o600);
	const more = channel === undefined ? [] : [channel()];
	const [program, ...all] = [...before, qemu, ...args, "-daemonize"];
	const child = spawn(program, all, { stdio: ["ignore", fd, fd, ...more], cwd: "/" });
	for (const socket of more) socket.destroy();
	closeSync(fd);
	const code = await new Promise<number | null>((resolve, reject) => {
		child.once("error", (error) => reject(new HypervisorError("FAILED", `cannot run ${qemu}: ${causeOf(error)}`)));
		child.once("exit", resolve);
	});
	if (code === 0) return;
	const words = readFileSync(log, "utf8")
		.trim()
		.split("\n")
		.filter((line) => !/warning:/.test(line));
	throw new HypervisorError("FAILED", `${name}: QEMU does not start: ${inWords(words.at(-1) ?? `exit ${code}`)}`);
};

const inWords = (line: string): string => {
	const message = line.replace(/^[^:]*qemu[^:]*: /, "");
	const used = /another process using the image \[(.*)\]\?$|Failed to get .* lock/.exec(message);
	return used === null ? message : `another process uses ${used[1] ?? "a disk"}: a VM, or a backup of it`;
};
