/** Deterministic images, randomness and repositories for the tests of this room. */
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Test } from "tap";
import type { Extent, Image } from "../../src/image/image.js";
import {
	type BackupRequest,
	initRepository,
	type OpenRepositoryOptions,
	openRepository,
	type Repository,
	unlockRepository,
} from "../../src/repository/index.js";

export const KIB = 1024;
export const MIB = 1024 * 1024;
export const BLOCK = 64 * KIB;

/** Repeatable bytes from a seed. */
export class Dice {
	#state: number;

	constructor(seed: number) {
		this.#state = seed >>> 0 || 1;
	}

	/** 32 bits (xorshift) */
	next(): number {
		this.#state ^= this.#state << 13;
		this.#state ^= this.#state >>> 17;
		this.#state ^= this.#state << 5;
		this.#state >>>= 0;
		return this.#state;
	}

	below(limit: number): number {
		return this.next() % limit;
	}

	bytes(length: number): Buffer {
		const bytes = Buffer.alloc(length);
		for (let at = 0; at + 4 <= length; at += 4) bytes.writeUInt32LE(this.next(), at);
		for (let at = length & ~3; at < length; at++) bytes[at] = this.next();
		return bytes;
	}
}

/** Ids that repeat from run to run and differ from call to call. */
export const randomFrom = (seed: string) => {
	let calls = 0;
	return (bytes: number): Buffer => createHash("sha256").update(`${seed} ${calls++}`).digest().subarray(0, bytes);
};

/** An Image over memory; reads outside its data extents throw, because backup must not make them. */
export class MemoryImage implements Image {
	reads = 0;

	constructor(
		readonly content: Buffer,
		readonly holes: { offset: number; length: number }[] = [],
	) {}

	get size(): number {
		return this.content.length;
	}

	read(offset: number, target: Buffer): void {
		if (offset + target.length > this.size) throw new RangeError("beyond the end");
		for (const hole of this.holes)
			if (offset < hole.offset + hole.length && hole.offset < offset + target.length)
				throw new Error(`read of a hole at ${offset}`);
		this.reads += 1;
		this.content.copy(target, 0, offset, offset + target.length);
	}

	extents(offset: number, length: number): Extent[] {
		const end = offset + length;
		const runs: Extent[] = [];
		let at = offset;
		for (const hole of this.holes) {
			const from = Math.max(hole.offset, at);
			const to = Math.min(hole.offset + hole.length, end);
			if (to <= from) continue;
			if (from > at) runs.push({ offset: at, length: from - at, kind: "data" });
			runs.push({ offset: from, length: to - from, kind: "unallocated" });
			at = to;
		}
		if (at < end) runs.push({ offset: at, length: end - at, kind: "data" });
		return runs;
	}

	async close(): Promise<void> {}
}

export const START = Date.UTC(2026, 10, 21, 1, 2, 3);

/** A backup request for one VM; `minute` sets the clock. */
export const request = (
	vm: string,
	disks: Image | Record<string, Image>,
	minute = 0,
	more: Partial<BackupRequest> = {},
): BackupRequest => ({
	vm,
	disks:
		"read" in disks
			? [{ name: "disk0", image: disks as Image }]
			: Object.entries(disks).map(([name, image]) => ({ name, image })),
	config: { firmware: "bios" },
	files: [],
	consistency: "crash",
	facts: {},
	now: () => new Date(START + minute * 60_000),
	...more,
});

/** For child processes: without the loaders that the test runner puts into its own. */
export const childEnvironment: NodeJS.ProcessEnv = { ...process.env, NODE_OPTIONS: "" };

/** A folder that is removed after the test. */
export const folder = (t: Test): string => {
	const path = mkdtempSync(join(tmpdir(), "springback-repository-"));
	t.teardown(() => rmSync(path, { recursive: true, force: true }));
	return path;
};

/** The same in memory, where there is such a place: for tests in which no power is lost but in play. */
export const memoryFolder = (t: Test): string => {
	const memory = "/dev/shm";
	const path = mkdtempSync(join(existsSync(memory) ? memory : tmpdir(), "springback-repository-"));
	t.teardown(() => rmSync(path, { recursive: true, force: true }));
	return path;
};

/** Opens a repository that is closed after the test. */
export const open = async (t: Test, path: string, options: OpenRepositoryOptions = {}): Promise<Repository> => {
	const repository = await openRepository(path, options);
	t.teardown(() => repository.close());
	return repository;
};

/** A new repository, open. */
export const fresh = async (t: Test, blockSize = BLOCK): Promise<Repository> => {
	const path = join(folder(t), "repository");
	await initRepository(path, { blockSize });
	return open(t, path);
};

/** The whole disk. */
export const readAll = async (repository: Repository, spec: string, disk = "disk0"): Promise<Buffer> => {
	const image = await repository.openDisk(await repository.resolve(spec), disk);
	try {
		const bytes = Buffer.alloc(image.size, 0xee);
		await image.read(0, bytes);
		return bytes;
	} finally {
		await image.close();
	}
};

/** Files below a folder, relative. */
export const filesOf = (path: string, below = ""): string[] =>
	readdirSync(join(path, below), { withFileTypes: true }).flatMap((entry) =>
		entry.isDirectory() ? filesOf(path, join(below, entry.name)) : [join(below, entry.name)],
	);

/** What the packs of a repository take, bytes. */
export const packBytes = ({ path }: Repository): number =>
	filesOf(join(path, "packs")).reduce((sum, name) => sum + statSync(join(path, "packs", name)).size, 0);

/** Keys that cost nothing to try. */
export const CHEAP = { scrypt: { N: 16, r: 1, p: 1 } };

/** Opens the repositories that `encrypted` makes. */
export const PASSPHRASE = { key: { passphrase: () => Buffer.from("open sesame") } };

/** A new encrypted repository, open, with its master key. */
export const encrypted = async (t: Test, compression?: string): Promise<Repository & { master: Buffer }> => {
	const path = join(folder(t), "repository");
	await initRepository(path, { ...CHEAP, compression, passphrase: PASSPHRASE.key.passphrase() });
	const { master } = (await unlockRepository(path, PASSPHRASE.key))!;
	return Object.assign(await open(t, path, { key: { masterOf: () => master } }), { master });
};
