/**
 * The disk that is backed up and read: an ext4 file system of 1 GiB full of this machine's own Debian files. Real
 * programs, libraries, documentation and data compress and repeat as a VM's disk does; zeros and random bytes do not.
 *
 * Which files: a sample of /usr in the order of a hash of their paths, so that every kind of file is in it; the same on
 * every run for as long as /usr stays the same.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
	closeSync,
	copyFileSync,
	constants as fsConstants,
	lstatSync,
	mkdirSync,
	openSync,
	readdirSync,
	readSync,
	renameSync,
	statSync,
	truncateSync,
	utimesSync,
	writeSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { freshDirectory, keptDirectory, remove, requireSpace } from "./places.js";
import { Random } from "./random.js";

/** bytes of the disk */
export const IMAGE_SIZE = 2 ** 30;
/** bytes of files put on it; the rest is metadata and free space */
const CONTENT_SIZE = 940 * 2 ** 20;
const LARGEST_FILE = 64 * 2 ** 20;
const SOURCE = "/usr";
export const BLOCK_SIZE = 65_536;
/** share of the blocks that differ in the changed image */
const CHANGED_SHARE = 0.01;
/** Says how the image is made: to be changed with the recipe, so that a cached image of another one is not taken. */
const RECIPE = "1";

export interface Images {
	/** raw */
	base: string;
	/** the same, 1% of its 64 KiB blocks rewritten */
	changed: string;
	/** bytes allocated in `base` */
	data: number;
	files: number;
}

interface Chosen {
	path: string;
	size: number;
	mtime: number;
}

/** Builds the images, or finds them in the cache. */
export function images(say: (line: string) => void): Images {
	const chosen = choose();
	const key = createHash("sha256").update(RECIPE);
	for (const { path, size, mtime } of chosen) key.update(`\n${path} ${size} ${mtime}`);
	const name = `usr-${key.digest("hex").slice(0, 16)}`;
	const base = join(keptDirectory(), `${name}.raw`);
	const changed = join(keptDirectory(), `${name}-changed.raw`);
	if (!exists(base) || !exists(changed)) {
		for (const file of readdirSync(keptDirectory()))
			if (/^usr-.*\.raw$/.test(file)) remove(join(keptDirectory(), file));
		requireSpace(4 * IMAGE_SIZE);
		say(`building the 1 GiB image from ${chosen.length} files of ${SOURCE}`);
		build(chosen, base);
		change(base, changed);
	}
	return { base, changed, data: statSync(base).blocks * 512, files: chosen.length };
}

/** Files in the order of a hash of their path, until they fill the disk. */
function choose(): Chosen[] {
	const found: { path: string; order: string }[] = [];
	const walk = (directory: string) => {
		// What not everybody may read is left out, so that every user gets the same image.
		if ((lstatSync(directory).mode & 0o005) !== 0o005) return;
		for (const entry of readdirSync(directory, { withFileTypes: true })) {
			const path = join(directory, entry.name);
			if (entry.isDirectory()) walk(path);
			else if (entry.isFile()) found.push({ path, order: createHash("sha1").update(path).digest("hex") });
		}
	};
	walk(SOURCE);
	found.sort((a, b) => (a.order < b.order ? -1 : 1));
	const chosen: Chosen[] = [];
	const inodes = new Set<string>();
	let total = 0;
	for (const { path } of found) {
		const { size, mode, mtimeMs, dev, ino, nlink } = lstatSync(path);
		const inode = `${dev}:${ino}`;
		const used = Math.ceil(size / 4096) * 4096;
		if ((mode & 0o004) === 0 || size > LARGEST_FILE || total + used > CONTENT_SIZE || (nlink > 1 && inodes.has(inode)))
			continue;
		inodes.add(inode);
		total += used;
		chosen.push({ path, size, mtime: Math.floor(mtimeMs / 1000) });
		if (total > CONTENT_SIZE - 65_536) break;
	}
	return chosen;
}

/** mke2fs fills the file system itself: no loop device, no root. */
function build(chosen: Chosen[], target: string): void {
	const work = freshDirectory("image");
	const tree = join(work, "tree");
	for (const { path, mtime } of chosen) {
		const copy = join(tree, path);
		mkdirSync(dirname(copy), { recursive: true });
		copyFileSync(path, copy, fsConstants.COPYFILE_FICLONE);
		utimesSync(copy, mtime, mtime);
	}
	const raw = join(work, "disk.raw");
	closeSync(openSync(raw, "w"));
	truncateSync(raw, IMAGE_SIZE);
	const uuid = "5b5b5b5b-5b5b-4b5b-8b5b-5b5b5b5b5b5b";
	const made = spawnSync(
		"mke2fs",
		[
			...["-q", "-F", "-t", "ext4", "-L", "bench", "-U", uuid, "-m", "0", "-N", String(chosen.length * 2)],
			...["-E", `hash_seed=${uuid},lazy_itable_init=0,lazy_journal_init=0,nodiscard`, "-d", tree, raw],
		],
		{ encoding: "utf8", env: { ...process.env, E2FSPROGS_FAKE_TIME: "1700000000" } },
	);
	if (made.status !== 0) throw new Error(`mke2fs failed: ${made.error?.message ?? made.stderr.trim()}`);
	renameSync(raw, target);
	remove(work);
}

/** The blocks that differ, as a change tracker would name them, in bytes. */
export const changedExtents = (): { offset: number; length: number }[] =>
	changedBlocks(new Random(1)).map((block) => ({ offset: block * BLOCK_SIZE, length: BLOCK_SIZE }));

function changedBlocks(random: Random): number[] {
	const blocks = IMAGE_SIZE / BLOCK_SIZE;
	return [...random.distinct(Math.round(blocks * CHANGED_SHARE), blocks)];
}

/** Rewrites whole blocks, here and there, with other blocks' content turned by a few bytes: new, and as compressible. */
function change(base: string, target: string): void {
	const part = `${target}.part`;
	const copied = spawnSync("cp", ["--sparse=always", base, part], { encoding: "utf8" });
	if (copied.status !== 0) throw new Error(`cp failed: ${copied.stderr.trim()}`);
	const file = openSync(part, "r+");
	const random = new Random(1);
	const blocks = IMAGE_SIZE / BLOCK_SIZE;
	const block = Buffer.alloc(BLOCK_SIZE);
	const turned = Buffer.alloc(BLOCK_SIZE);
	for (const at of changedBlocks(random)) {
		const turn = 1 + random.below(511);
		do readSync(file, block, 0, BLOCK_SIZE, random.below(blocks) * BLOCK_SIZE);
		while (block.every((byte) => byte === 0));
		block.copy(turned, 0, turn);
		block.copy(turned, BLOCK_SIZE - turn, 0, turn);
		writeSync(file, turned, 0, BLOCK_SIZE, at * BLOCK_SIZE);
	}
	closeSync(file);
	renameSync(part, target);
}

function exists(path: string): boolean {
	return statSync(path, { throwIfNoEntry: false }) !== undefined;
}
