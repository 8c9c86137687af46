/** Disks with real file systems, made by their own tools, for tests of the kind "filesystem". */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
	closeSync,
	copyFileSync,
	ftruncateSync,
	mkdirSync,
	openSync,
	readFileSync,
	readSync,
	statSync,
	writeFileSync,
	writeSync,
} from "node:fs";
import { dirname, join } from "node:path";
import type { Test } from "tap";
import { openRaw } from "../../../src/image/index.js";
import type { TestContext } from "../../../src/verify/tests/contract.js";

export const MIB = 1024 * 1024;

export const run = (program: string, args: string[], input?: string): string =>
	execFileSync(program, args, {
		input,
		stdio: ["pipe", "pipe", "pipe"],
		encoding: "utf8",
		env: { PATH: `${process.env.PATH}:/usr/sbin:/sbin`, LC_ALL: "C" },
	});

const empty = (path: string, size: number): string => {
	mkdirSync(dirname(path), { recursive: true });
	const fd = openSync(path, "w");
	ftruncateSync(fd, size);
	closeSync(fd);
	return path;
};

/** An ext4 file system with some folders and files. */
export const ext4 = (t: Test, size = 64 * MIB): string => {
	const folder = t.testdir();
	const content = join(folder, "content");
	for (let d = 0; d < 8; d++) {
		mkdirSync(join(content, `d${d}`), { recursive: true });
		for (let f = 0; f < 8; f++) writeFileSync(join(content, `d${d}`, `f${f}`), `${d} ${f}\n`.repeat(2000));
	}
	const path = empty(join(folder, "ext4.img"), size);
	run("mkfs.ext4", ["-q", "-F", "-b", "4096", "-d", content, path]);
	return path;
};

export const made = (t: Test, program: string, args: string[], size: number): string => {
	const path = empty(join(t.testdirName, `${program}.img`), size);
	run(program, [...args, path]);
	return path;
};

export const debugfs = (path: string, commands: string[]): string =>
	run("debugfs", ["-w", "-f", "-", path], `${commands.join("\n")}\n`);

export const overwrite = (path: string, at: number, bytes: Buffer): void => {
	const fd = openSync(path, "r+");
	writeSync(fd, bytes, 0, bytes.length, at);
	closeSync(fd);
};

export const bytesOf = (path: string, at: number, length: number): Buffer => {
	const fd = openSync(path, "r");
	const bytes = Buffer.alloc(length);
	readSync(fd, bytes, 0, length, at);
	closeSync(fd);
	return bytes;
};

export const copyOf = (path: string): string => {
	copyFileSync(path, `${path}.copy`);
	return `${path}.copy`;
};

/** A disk of these volumes, each at a whole MiB, with a table by sfdisk(8): "TYPE" lines say what each is. */
export const disk = (t: Test, table: string, volumes: [number, string | Buffer][], size: number): string => {
	const path = empty(join(t.testdirName, "disk.img"), size);
	run("sfdisk", ["--quiet", path], table);
	for (const [at, volume] of volumes)
		overwrite(path, at * MIB, typeof volume === "string" ? readFileSync(volume) : volume);
	return path;
};

export const hashOf = (path: string): string => createHash("sha256").update(readFileSync(path)).digest("hex");

export const disksOf = (...paths: string[]): Pick<TestContext, "disks"> => ({
	disks: paths.map((path, i) => ({ name: `disk${i}`, size: statSync(path).size, open: async () => openRaw(path) })),
});
