/** Starts QEMU so that it goes on without us, and tells why when it does not come up. */
import { spawn } from "node:child_process";
import { accessSync, closeSync, constants, openSync, readFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { causeOf, HypervisorError } from "../errors.js";

const NAMES = ["qemu-system-x86_64", "qemu-kvm"];

/** Path of QEMU; undefined where none is installed. */
export const findQemu = (): string | undefined => {
	const folders = [...(process.env.PATH ?? "").split(delimiter), "/usr/bin", "/usr/libexec"];
	for (const name of NAMES)
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

/** Resolves when QEMU has opened everything and answers. Rejects with FAILED and QEMU's last words. */
export const startProcess = async (name: string, args: string[], log: string): Promise<void> => {
	const qemu = findQemu();
	if (qemu === undefined)
		throw new HypervisorError("UNSUPPORTED", `${NAMES[0]} is not installed (package qemu-system-x86)`);
	const fd = openSync(log, "w", 0o600);
	const child = spawn(qemu, [...args, "-daemonize"], { stdio: ["ignore", fd, fd], cwd: "/" });
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
