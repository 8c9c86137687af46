/**
 * What lies in the kernel's page cache is part of every figure, so each run puts it there, or takes it out, on purpose.
 */
import { spawnSync } from "node:child_process";
import { closeSync, openSync, readdirSync, readSync, statSync } from "node:fs";
import { join } from "node:path";

/** Reads a file, or every file of a directory, once, so that the next reader finds it in memory. */
export function warm(path: string): void {
	const buffer = Buffer.alloc(4 * 2 ** 20);
	for (const name of filesOf(path)) {
		const file = openSync(name, "r");
		while (readSync(file, buffer, 0, buffer.length, null) > 0);
		closeSync(file);
	}
}

/** Takes one file, or every file of a directory, out of the page cache. Other files stay, so nobody else is slowed. */
export function dropFromCache(path: string): void {
	for (const file of filesOf(path)) {
		// Only clean pages go: sync first. posix_fadvise(POSIX_FADV_DONTNEED) of the whole file, by dd's own name for it.
		must("sync", ["--data", file]);
		must("dd", [`if=${file}`, "iflag=nocache", "count=0", "status=none"]);
	}
}

/** Writes back whatever is dirty on the machine: no run pays for what an earlier one left. */
export const settle = (): void => must("sync", []);

/** Bytes of the files in a directory, by their lengths. */
export function storedBytes(directory: string): number {
	return filesOf(directory).reduce((sum, path) => sum + statSync(path).size, 0);
}

function filesOf(path: string): string[] {
	if (!statSync(path).isDirectory()) return [path];
	return readdirSync(path, { withFileTypes: true, recursive: true })
		.filter((entry) => entry.isFile())
		.map((entry) => join(entry.path, entry.name));
}

function must(program: string, args: string[]): void {
	const { status, error, stderr } = spawnSync(program, args, { encoding: "utf8" });
	if (status !== 0) throw new Error(`${program} ${args.join(" ")} failed: ${error?.message ?? stderr.trim()}`);
}
