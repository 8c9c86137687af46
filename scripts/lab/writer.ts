/**
 * Disks of the writer guest (writer.s), which boots within a second from any kind of disk and writes all the time; and
 * the check of what it has written: every count up to the header's must be where it belongs.
 */
import { spawnSync } from "node:child_process";
import { closeSync, ftruncateSync, openSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { projectDirectory } from "./guests.js";

const SECTOR = 512;
/** Sectors from here on hold the counts, modulo SLOTS. */
const FIRST = 2048;
const SLOTS = 256;
/** bytes that the guest uses */
export const WRITER_BYTES = (FIRST + SLOTS) * SECTOR;

/** A raw disk of `size` bytes that boots into the writer. */
export function writerDisk(path: string, size: number): void {
	const source = join(projectDirectory, "scripts/lab/writer.s");
	const linked = ["-nostdlib", "-m32", "-no-pie", "-Wl,-Ttext=0x7c00,--oformat=binary,-melf_i386,--build-id=none"];
	const run = spawnSync("cc", ["-x", "assembler", source, ...linked, "-o", `${path}.boot`], { encoding: "utf8" });
	if (run.status !== 0) throw new Error(`cc ${source}: ${run.stderr}`);
	const copied = spawnSync("cp", ["--no-preserve=mode", `${path}.boot`, path], { encoding: "utf8" });
	if (copied.status !== 0) throw new Error(copied.stderr);
	rmSync(`${path}.boot`);
	const fd = openSync(path, "r+");
	ftruncateSync(fd, size);
	closeSync(fd);
}

/** Fills a part that the guest does not use, so that there is something to copy. @param content at an offset, never empty */
export function fillDisk(path: string, from: number, to: number, content: (at: number) => Buffer): void {
	const fd = openSync(path, "r+");
	try {
		for (let at = from; at < to; ) at += writeSync(fd, content(at), 0, undefined, at);
	} finally {
		closeSync(fd);
	}
}

/** The count that the header has. Throws when the content is not what the guest can have written, whole and in order. */
export function checkWriter(content: Buffer): number {
	const count = content.readUInt32LE(SECTOR);
	const expect = (sector: number, wanted: number[]): void => {
		const at = sector * SECTOR;
		const found = content.readUInt32LE(at);
		if (!wanted.includes(found)) throw new Error(`sector ${sector} holds ${found}, not ${wanted.join(" or ")}`);
		for (let byte = 0; byte < SECTOR; byte += 4)
			if (content.readUInt32LE(at + byte) !== found) throw new Error(`sector ${sector} is torn`);
	};
	expect(1, [count]);
	for (let slot = 0; slot < SLOTS; slot++) {
		const newest = count - ((((count - slot) % SLOTS) + SLOTS) % SLOTS);
		// The sector of the next count is written before its header.
		const next = (count + 1) % SLOTS === slot ? [count + 1] : [];
		expect(FIRST + slot, [Math.max(0, newest), ...next]);
	}
	return count;
}
