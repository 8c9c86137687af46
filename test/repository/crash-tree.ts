/**
 * What a crash leaves of a tree of folders: the fault layer's trace of the shipped code is replayed up to any entry. When
 * the process dies, the kernel has everything. When the power goes, at worst nothing arrived that was not synced: no
 * content since the last sync of a file, no name since the last sync of its folder.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { TraceEntry } from "../../native/index.js";
import { filesOf } from "./damage-lab.js";

interface File {
	kernel: Buffer;
	disk: Buffer;
}

export class CrashTree {
	/** names as the kernel has them, relative */
	#names = new Map<string, File>();
	/** names as the disk certainly has them */
	#durable = new Map<string, File>();
	readonly #folders = new Set<string>();
	readonly #durableFolders = new Set<string>();

	/** Starts from what is in `root` now, all of it durable; `folders` are those that may be empty. */
	constructor(
		private readonly root: string,
		folders: readonly string[],
	) {
		for (const name of filesOf(root)) {
			const content = readFileSync(join(root, name));
			this.#names.set(name, { kernel: content, disk: content });
			for (let folder = dirname(name); folder !== "."; folder = dirname(folder)) this.#folders.add(folder);
		}
		for (const folder of folders) this.#folders.add(folder);
		for (const folder of this.#folders) this.#durableFolders.add(folder);
		this.#durable = new Map(this.#names);
	}

	#relative(path: string): string {
		return path.slice(this.root.length + 1);
	}

	apply({ op, path, to, position, data }: TraceEntry): void {
		const name = this.#relative(path);
		const file = this.#names.get(name);
		switch (op) {
			case "open":
				if (!file) this.#names.set(name, { kernel: Buffer.alloc(0), disk: Buffer.alloc(0) });
				break;
			case "pwrite": {
				const length = Math.max(file!.kernel.length, position! + data!.length);
				const content = Buffer.concat([file!.kernel, Buffer.alloc(length - file!.kernel.length)]);
				data!.copy(content, position);
				file!.kernel = content;
				break;
			}
			case "fsync":
			case "fdatasync":
				file!.disk = file!.kernel;
				break;
			case "rename":
				this.#names.delete(name);
				this.#names.set(this.#relative(to!), file!);
				break;
			case "unlink":
				this.#names.delete(name);
				break;
			case "mkdir":
				this.#folders.add(name);
				break;
			case "fsyncDirectory":
				this.#syncFolder(name === "" ? "." : name);
				break;
			default:
				throw new Error(`the trace has ${op}`);
		}
	}

	#syncFolder(folder: string): void {
		for (const name of this.#durable.keys())
			if (dirname(name) === folder && !this.#names.has(name)) this.#durable.delete(name);
		for (const [name, file] of this.#names) if (dirname(name) === folder) this.#durable.set(name, file);
		for (const name of this.#folders) if (dirname(name) === folder) this.#durableFolders.add(name);
	}

	/** The files when the process died. */
	kill(target: string): void {
		write(
			target,
			this.#folders,
			[...this.#names].map(([name, { kernel }]) => [name, kernel]),
		);
	}

	/** The files when the power went, and nothing arrived that was not synced. */
	powerLoss(target: string): void {
		const reachable = (name: string): boolean =>
			dirname(name) === "." || (this.#durableFolders.has(dirname(name)) && reachable(dirname(name)));
		const files = [...this.#durable].filter(([name]) => reachable(name));
		write(
			target,
			this.#durableFolders,
			files.map(([name, { disk }]) => [name, disk]),
		);
	}
}

const write = (target: string, folders: ReadonlySet<string>, files: [string, Buffer][]): void => {
	rmSync(target, { recursive: true, force: true });
	mkdirSync(target);
	for (const folder of folders) mkdirSync(join(target, folder), { recursive: true });
	for (const [name, content] of files) writeFileSync(join(target, name), content);
};
