/**
 * What a crash leaves of a repository: the fault layer's trace of the shipped code is replayed into a tree of folders, up
 * to any operation, as the kernel had it (the process died) or as a disk may have it (the power went): of what was not
 * synced, any mixture of sectors, and each folder's names as they are or as they were when it was last synced.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join, relative } from "node:path";
import type { TraceEntry } from "../../native/index.js";
import { ShadowFile } from "../overlay/crash-lab.js";

interface Folder {
	names: Map<string, ShadowFile>;
	/** as the disk certainly has them */
	durable: Map<string, ShadowFile>;
}

export class RepositoryShadow {
	readonly #folders = new Map<string, Folder>();
	/** folders that the disk certainly has */
	readonly #made = new Set<string>();

	/** Starts from what is in `root` now, all of it durable. */
	constructor(readonly root: string) {
		this.#load(root);
	}

	#load(path: string): void {
		const names = new Map<string, ShadowFile>();
		for (const entry of readdirSync(path, { withFileTypes: true })) {
			const child = join(path, entry.name);
			if (entry.isDirectory()) this.#load(child);
			else names.set(entry.name, new ShadowFile(readFileSync(child)));
		}
		this.#folders.set(path, { names, durable: new Map(names) });
		this.#made.add(path);
	}

	#folder(path: string): Folder {
		return this.#folders.get(dirname(path))!;
	}

	apply(entry: TraceEntry): void {
		const { op, path } = entry;
		const folder = this.#folder(path);
		const name = basename(path);
		switch (op) {
			case "mark":
				break;
			case "mkdir":
				this.#folders.set(path, { names: new Map(), durable: new Map() });
				break;
			case "open":
				if (!folder.names.has(name)) folder.names.set(name, new ShadowFile(Buffer.alloc(0)));
				break;
			case "pwrite":
				folder.names.get(name)!.write(entry.position!, entry.data!);
				break;
			case "fsync":
			case "fdatasync":
				folder.names.get(name)!.sync();
				break;
			case "rename": {
				const file = folder.names.get(name)!;
				folder.names.delete(name);
				this.#folder(entry.to!).names.set(basename(entry.to!), file);
				break;
			}
			case "unlink":
				folder.names.delete(name);
				break;
			case "fsyncDirectory": {
				const synced = this.#folders.get(path)!;
				synced.durable = new Map(synced.names);
				for (const child of this.#folders.keys()) if (dirname(child) === path) this.#made.add(child);
				break;
			}
			default:
				throw new Error(`the trace has ${op}`);
		}
	}

	/** The repository as the kernel had it when the process died. */
	kill(target: string): void {
		this.#write(
			target,
			(_, { names }) => names,
			(file) => file.kernel,
		);
	}

	/** The repository as a power loss may leave it. */
	powerLoss(target: string, chance: (limit: number) => number): void {
		this.#write(
			target,
			(path, { names, durable }) => {
				if (!this.#made.has(path) && chance(2) === 0) return undefined;
				return chance(2) === 0 ? names : durable;
			},
			(file) => file.afterPowerLoss(chance),
		);
	}

	#write(
		target: string,
		namesOf: (path: string, folder: Folder) => Map<string, ShadowFile> | undefined,
		contentOf: (file: ShadowFile) => Buffer,
	): void {
		rmSync(target, { recursive: true, force: true });
		for (const [path, folder] of this.#folders) {
			const names = namesOf(path, folder);
			if (names === undefined) continue;
			const place = join(target, relative(this.root, path));
			mkdirSync(place, { recursive: true });
			for (const [name, file] of names) writeFileSync(join(place, name), contentOf(file));
		}
	}
}
