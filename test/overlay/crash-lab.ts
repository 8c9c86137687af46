/**
 * What a crash leaves: the fault layer's trace of the shipped code is replayed into files, up to any entry, as the
 * kernel had them (the process died) or as a disk may have them (the power went): synced content plus any mixture of
 * 512-byte sectors of what was not synced yet.
 */
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { TraceEntry } from "../../native/index.js";
import type { SessionTree } from "../../src/overlay/index.js";
import { readAll } from "./lab.js";
import type { Model } from "./model.js";

const SECTOR = 512;

export class ShadowFile {
	/** what the kernel has */
	kernel: Buffer;
	/** what the disk certainly has */
	disk: Buffer;
	/** per sector, versions since the last sync, oldest first */
	pending = new Map<number, Buffer[]>();

	constructor(content: Buffer) {
		this.kernel = Buffer.from(content);
		this.disk = Buffer.from(content);
	}

	write(position: number, data: Buffer): void {
		const end = position + data.length;
		this.#grow(end);
		data.copy(this.kernel, position);
		for (let sector = Math.floor(position / SECTOR); sector * SECTOR < end; sector++) {
			const versions = this.pending.get(sector) ?? [];
			versions.push(Buffer.from(this.kernel.subarray(sector * SECTOR, (sector + 1) * SECTOR)));
			this.pending.set(sector, versions);
		}
	}

	resize(length: number): void {
		this.#grow(length);
		this.kernel = this.kernel.subarray(0, length);
		for (const sector of this.pending.keys()) if (sector * SECTOR >= length) this.pending.delete(sector);
	}

	#grow(length: number): void {
		if (length > this.kernel.length) {
			this.kernel = Buffer.concat([this.kernel, Buffer.alloc(length - this.kernel.length)]);
		}
	}

	sync(): void {
		const disk = Buffer.alloc(this.kernel.length);
		this.disk.copy(disk);
		for (const sector of this.pending.keys())
			this.kernel.copy(disk, sector * SECTOR, sector * SECTOR, (sector + 1) * SECTOR);
		this.disk = disk;
		this.pending.clear();
	}

	/** What Linux does when a sync fails: the pages count as clean from then on, and never reach the disk. */
	lose(): void {
		this.pending.clear();
	}

	clone(): ShadowFile {
		const copy = new ShadowFile(this.kernel);
		copy.disk = Buffer.from(this.disk);
		copy.pending = new Map([...this.pending].map(([sector, versions]) => [sector, [...versions]]));
		return copy;
	}

	/** One of the contents that a power loss may leave. */
	afterPowerLoss(chance: (limit: number) => number): Buffer {
		const out = Buffer.alloc(this.kernel.length);
		this.disk.copy(out, 0, 0, Math.min(out.length, this.disk.length));
		const mood = chance(4);
		for (const [sector, versions] of this.pending) {
			// None, nearly none, nearly all, or half of them arrived.
			const arrived = [0, chance(8) === 0, chance(8) !== 0, chance(2) === 0][mood];
			if (arrived) versions[chance(versions.length)].copy(out, sector * SECTOR);
		}
		return out;
	}
}

/** The files of one directory, at one moment of the trace. */
export class Shadow {
	readonly files = new Map<string, ShadowFile>();
	/** names as the disk certainly has them */
	#durable = new Map<string, ShadowFile>();

	/** Starts from what is in `directory` now, all of it durable. */
	constructor(
		readonly directory: string,
		load = true,
	) {
		if (!load) return;
		for (const name of readdirSync(directory))
			this.files.set(name, new ShadowFile(readFileSync(join(directory, name))));
		this.#durable = new Map(this.files);
	}

	/** The same moment, for the story of another directory with the same files. */
	clone(directory: string): Shadow {
		const copy = new Shadow(directory, false);
		for (const [name, file] of this.files) copy.files.set(name, file.clone());
		copy.#durable = new Map([...this.#durable.keys()].map((name) => [name, copy.files.get(name)!]));
		return copy;
	}

	apply(entry: TraceEntry): void {
		const name = entry.path.slice(this.directory.length + 1);
		const file = this.files.get(name);
		switch (entry.op) {
			case "open":
				if (!file) this.files.set(name, new ShadowFile(Buffer.alloc(0)));
				break;
			case "pwrite":
				file!.write(entry.position!, entry.data!);
				break;
			case "ftruncate":
				file!.resize(entry.length!);
				break;
			case "fallocate":
				if (entry.flags === 3) file!.write(entry.position!, Buffer.alloc(entry.length!));
				else if (name !== "reserve") file!.resize(Math.max(file!.kernel.length, entry.position! + entry.length!));
				break;
			case "fdatasync":
			case "fsync":
				file!.sync();
				break;
			case "rename":
				this.files.delete(name);
				this.files.set(entry.to!.slice(this.directory.length + 1), file!);
				break;
			case "unlink":
				this.files.delete(name);
				break;
			case "fsyncDirectory":
				this.#durable = new Map(this.files);
				break;
			default:
				throw new Error(`the trace has ${entry.op}`);
		}
	}

	/** Writes the files as the kernel had them when the process died. */
	kill(target: string): void {
		emptied(target);
		for (const [name, file] of this.files) writeFileSync(join(target, name), file.kernel);
	}

	/** As `kill`, but of the last entry only `sectors` sectors had been written. */
	tear(target: string, last: TraceEntry, sectors: number): void {
		this.kill(target);
		const name = last.path.slice(this.directory.length + 1);
		const kernel = Buffer.from(this.files.get(name)!.kernel);
		const data = last.data!.subarray(0, sectors * SECTOR);
		const length = Math.max(kernel.length, last.position! + data.length);
		const torn = Buffer.concat([kernel, Buffer.alloc(length - kernel.length)]);
		data.copy(torn, last.position!);
		writeFileSync(join(target, name), torn);
	}

	/** Writes the files as a power loss may leave them; names not synced may be as before. */
	powerLoss(target: string, chance: (limit: number) => number): void {
		emptied(target);
		const names = chance(2) === 0 ? this.files : this.#durable;
		for (const [name, file] of names) writeFileSync(join(target, name), file.afterPowerLoss(chance));
	}
}

const emptied = (target: string): void => {
	rmSync(target, { recursive: true, force: true });
	mkdirSync(target);
};

const digest = (content: Buffer): string => createHash("sha1").update(content).digest("base64");

/** What a client can see of a session, as one string. */
export const fingerprint = async (tree: SessionTree): Promise<string> => {
	const lines: string[] = [];
	const visit = async (id: number, path: string): Promise<void> => {
		const inode = tree.inode(id);
		if (!inode) throw new Error(`${path} leads to no inode`);
		if (inode.kind === "directory") {
			lines.push(`${path} ${inode.nlink}`);
			const { entries } = tree.list(id, 0n, 1_000_000);
			for (const { name, id: child } of entries.sort((x, y) => (x.name < y.name ? -1 : 1))) {
				await visit(child, `${path}/${name}`);
			}
		} else if (inode.kind === "symlink") lines.push(`${path} -> ${digest(inode.target!)}`);
		else {
			const content = await readAll(tree, id, 0, inode.size);
			lines.push(`${path} ${id} ${inode.nlink} ${inode.size} ${digest(content)}`);
		}
	};
	await visit(1, "");
	return digest(Buffer.from(lines.join("\n")));
};

/** The same of a model. */
export const modelFingerprint = (model: Model): string => {
	const lines: string[] = [];
	const visit = (id: number, path: string): void => {
		const node = model.node(id);
		if (node.kind === "directory") {
			lines.push(`${path} ${node.nlink}`);
			for (const [name, child] of [...node.entries].sort(([x], [y]) => (x < y ? -1 : 1)))
				visit(child, `${path}/${name}`);
		} else if (node.kind === "symlink") lines.push(`${path} -> ${digest(node.content)}`);
		else lines.push(`${path} ${id} ${node.nlink} ${node.content.length} ${digest(node.content)}`);
	};
	visit(1, "");
	return digest(Buffer.from(lines.join("\n")));
};
