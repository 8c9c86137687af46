/** A repository and disk files to back up, in a temporary folder that goes with the test. */
import { execFileSync } from "node:child_process";
import { createCipheriv } from "node:crypto";
import {
	chmodSync,
	closeSync,
	ftruncateSync,
	mkdtempSync,
	openSync,
	readdirSync,
	readFileSync,
	rmSync,
	writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Test } from "tap";
import { backup, exportDisk } from "../../src/backup/index.js";
import { initRepository, openRepository, type Repository } from "../../src/repository/index.js";

// A folder of this process, so that what it leaves behind can be told from what others have. QEMU's user must
// be able to pass through it.
const root = mkdtempSync(join(tmpdir(), "springback-test-backup-"));
chmodSync(root, 0o755);
process.env.TMPDIR = root;
process.once("exit", () => rmSync(root, { recursive: true, force: true }));

export interface Lab {
	folder: string;
	repository: Repository;
	path(name: string): string;
	backup(vm: string, disks: string[], config?: string): ReturnType<typeof backup>;
	/** the bytes of a point's disk, through a file */
	exported(vm: string, disk?: string): Promise<Buffer>;
}

export async function lab(t: Test): Promise<Lab> {
	const folder = mkdtempSync(join(tmpdir(), "lab-"));
	t.teardown(() => rmSync(folder, { recursive: true, force: true }));
	const path = (name: string) => join(folder, name);
	await initRepository(path("repo"));
	const repository = await openRepository(path("repo"));
	t.teardown(() => repository.close());
	let exports = 0;
	return {
		folder,
		repository,
		path,
		backup: (vm, disks, config) => backup(repository, { vm, disks, config, now: () => new Date(1795226425000) }),
		async exported(vm, disk = "0") {
			const file = path(`export${exports++}.raw`);
			await exportDisk(repository, await repository.resolve(vm), disk, file);
			return readFileSync(file);
		},
	};
}

/** Bytes that do not repeat; the same for the same seed. */
export function noise(seed: number, length: number): Buffer {
	const key = Buffer.alloc(16);
	key.writeUInt32LE(seed);
	return createCipheriv("aes-128-ctr", key, Buffer.alloc(16)).update(Buffer.alloc(length));
}

/** A sparse file of `size` bytes with data at some offsets. */
export function sparseFile(path: string, size: number, pieces: { at: number; data: Buffer }[]): Buffer {
	const fd = openSync(path, "w");
	ftruncateSync(fd, size);
	for (const { at, data } of pieces) writeSync(fd, data, 0, data.length, at);
	closeSync(fd);
	return readFileSync(path);
}

export const qemuImg = (...args: string[]): void => {
	execFileSync("qemu-img", args, { stdio: ["ignore", "ignore", "inherit"] });
};

/** Our QEMU processes and socket folders that are still there. */
export function leftOvers(): string[] {
	const folders = readdirSync(tmpdir()).filter((name) => /^springback-[A-Za-z0-9]{6}$/.test(name));
	return [...folders, ...childrenOf(process.pid)];
}

export function childrenOf(pid: number): string[] {
	const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim();
	return children === "" ? [] : children.split(" ").map((child) => `process ${child}`);
}
