/**
 * Clients of the guest's NFS server. Each has a part of the disk and a directory of its own and one call in flight, so
 * that what it may find after a power loss is the state after the first k of its operations. Time is the length of the
 * log of the guest's disk, so that each acknowledgement has its place among the writes and flushes of the disk.
 */
import { statSync } from "node:fs";
import { type NfsClient, P, sattr } from "../../nfs/nfs-client.js";
import { xdr } from "../../nfs/raw-client.js";
import { bytesOf } from "../content.js";

export const REGION = 2 ** 20;
const WRITE_MAX = 500_000;
const FILE_MAX = 20_000;
const FILES_MAX = 6;

/** What a writer knows of its part: content by name in its directory, and its part of the disk. */
export interface Part {
	region: Buffer;
	files: Map<string, Buffer>;
}

export const samePart = (one: Part, other: Part): boolean =>
	one.region.equals(other.region) &&
	one.files.size === other.files.size &&
	[...one.files].every(([name, content]) => other.files.get(name)?.equals(content));

interface Operation {
	/** length of the log when it was sent */
	began: number;
	/** length of the log when it was acknowledged as stable */
	stable?: number;
	/** absent: it changes nothing, and need not reach the disk */
	apply?(part: Part): void;
}

export class Writer {
	readonly operations: Operation[] = [];
	readonly directory: string;
	#handles = new Map<string, Buffer>();
	#own: Buffer = Buffer.alloc(0);
	#part: Part;
	#content: number;

	constructor(
		readonly index: number,
		/** content of its region when everything began */
		readonly initial: Buffer,
		readonly log: string,
		readonly chance: () => number,
	) {
		this.directory = `writer-${index}`;
		this.#part = { region: Buffer.from(initial), files: new Map() };
		this.#content = 1 + index * 1_000_000;
	}

	/** Makes its directory; the test begins after it. */
	async enter(client: NfsClient, root: Buffer): Promise<void> {
		const made = await client.make(P.MKDIR, xdr().opaque(root).opaque(this.directory).raw(sattr()).done());
		if (!made.handle) throw new Error(`MKDIR answers ${made.status}`);
		this.#own = made.handle;
	}

	/** Works until `ended`, or until the connection is lost. */
	async work(client: NfsClient, disk: Buffer, ended: () => boolean): Promise<void> {
		while (!ended()) {
			try {
				await this.#next(client, disk);
			} catch (error) {
				if (ended()) return;
				throw error;
			}
		}
	}

	/**
	 * Which of its states a crash may leave: those after k operations, `least` ≤ k ≤ `most`, when the entries that
	 * begin before `end` in the log had reached the disk, or those up to the last flush among them.
	 */
	bounds(end: number): { least: number; most: number } {
		let [least, most] = [0, 0];
		for (const [index, { began, stable, apply }] of this.operations.entries()) {
			if (began < end || (!apply && began === end)) most = index + 1;
			if (stable !== undefined && stable <= end) least = index + 1;
		}
		return { least, most };
	}

	/** Shows its states after `least` to `most` operations until `look` returns true; that number, or -1. */
	find(least: number, most: number, look: (part: Part) => boolean): number {
		const part: Part = { region: Buffer.from(this.initial), files: new Map() };
		for (let count = 0; ; count++) {
			if (count >= least && look(part)) return count;
			if (count === most) return -1;
			this.operations[count].apply?.(part);
		}
	}

	#below(limit: number): number {
		return Math.floor(this.chance() * limit);
	}

	#now(): number {
		return statSync(this.log).size;
	}

	/** `send` returns true when the effect is acknowledged as stable. */
	async #do(send: () => Promise<boolean>, apply?: (part: Part) => void): Promise<void> {
		const operation: Operation = { began: this.#now(), apply };
		this.operations.push(operation);
		if (await send()) operation.stable = this.#now();
		apply?.(this.#part);
	}

	async #next(client: NfsClient, disk: Buffer): Promise<void> {
		const { files } = this.#part;
		const choice = this.chance();
		const name = [...files.keys()][this.#below(files.size)];
		if (choice < 0.5) {
			const length = 1 + this.#below(this.chance() < 0.3 ? WRITE_MAX : 6000);
			const sector = this.chance() < 0.5 ? 512 : 1;
			const at = Math.floor(this.#below(REGION - length) / sector) * sector;
			const region = this.index * REGION;
			await this.#write(client, disk, region + at, length, (part, data) => data.copy(part.region, at));
		} else if (choice < 0.58) {
			await this.#do(() => this.#call(client, "COMMIT", xdr().opaque(disk).u64(0).u32(0).done()));
		} else if (name === undefined || (choice < 0.7 && files.size < FILES_MAX)) await this.#create(client);
		else if (choice < 0.85) {
			const length = 1 + this.#below(FILE_MAX / 2);
			const at = this.#below(FILE_MAX - length);
			await this.#write(client, this.#handles.get(name)!, at, length, (part, data) => {
				const old = part.files.get(name)!;
				const content = Buffer.alloc(Math.max(old.length, at + length));
				old.copy(content);
				data.copy(content, at);
				part.files.set(name, content);
			});
		} else if (choice < 0.9) {
			const size = this.#below(FILE_MAX);
			await this.#do(
				() => this.#call(client, "SETATTR", xdr().opaque(this.#handles.get(name)!).raw(sattr({ size })).u32(0).done()),
				(part) => {
					const content = Buffer.alloc(size);
					part.files.get(name)!.copy(content);
					part.files.set(name, content);
				},
			);
		} else if (choice < 0.95) await this.#rename(client, name);
		else
			await this.#do(
				() => this.#call(client, "REMOVE", xdr().opaque(this.#own).opaque(name).done()),
				(part) => void part.files.delete(name),
			);
	}

	async #call(client: NfsClient, name: keyof typeof P, args: Buffer): Promise<boolean> {
		const { status } = await client.call(P[name], args);
		if (status !== 0) throw new Error(`${name} answers ${status}`);
		return true;
	}

	async #write(
		client: NfsClient,
		handle: Buffer,
		at: number,
		length: number,
		apply: (part: Part, data: Buffer) => void,
	): Promise<void> {
		const stable = this.#below(3);
		const data = bytesOf(this.#content++, length);
		await this.#do(
			async () => {
				const { status, count, committed } = await client.write(handle, at, data, stable);
				if (status !== 0 || count !== length || committed < stable)
					throw new Error(`WRITE answers ${status}, ${count} of ${length} bytes, committed ${committed} for ${stable}`);
				return committed > 0;
			},
			(part) => apply(part, data),
		);
	}

	async #create(client: NfsClient): Promise<void> {
		const name = `file-${this.#content++}`;
		await this.#do(
			async () => {
				const { status, handle } = await client.create(this.#own, name, "guarded");
				if (!handle) throw new Error(`CREATE answers ${status}`);
				this.#handles.set(name, handle);
				return true;
			},
			(part) => void part.files.set(name, Buffer.alloc(0)),
		);
	}

	/** To a new name, or over another file. */
	async #rename(client: NfsClient, from: string): Promise<void> {
		const others = [...this.#part.files.keys()].filter((name) => name !== from);
		const to =
			others.length > 0 && this.chance() < 0.5 ? others[this.#below(others.length)] : `moved-${this.#content++}`;
		await this.#do(
			async () => {
				const args = xdr().opaque(this.#own).opaque(from).opaque(this.#own).opaque(to);
				const done = await this.#call(client, "RENAME", args.done());
				this.#handles.set(to, this.#handles.get(from)!);
				return done;
			},
			(part) => {
				const content = part.files.get(from)!;
				part.files.delete(from);
				part.files.set(to, content);
			},
		);
	}
}
