/** Open descriptors of repository files, least recently used first; none is closed while somebody reads from it. */
import { constants } from "node:fs";
import { join } from "node:path";
import { type Lane, sys } from "../../native/index.js";

export interface OpenFile {
	readonly name: string;
	readonly fd: number;
	users: number;
	/** removed from the cache: closed by its last user */
	detached: boolean;
}

interface Opening {
	waiters: number;
	detached: boolean;
	file: Promise<OpenFile>;
}

export class DescriptorCache {
	readonly #files = new Map<string, OpenFile>();
	readonly #opening = new Map<string, Opening>();

	/** Files are opened on `lane`: opening waits for the disk. */
	constructor(
		readonly place: string,
		readonly lane: Lane,
		readonly limit: number,
	) {}

	/** Opens or finds a file; rejects with SystemError. Each call needs one `release`. */
	acquire(name: string): OpenFile | Promise<OpenFile> {
		const file = this.#files.get(name);
		if (file !== undefined) {
			this.#files.delete(name);
			this.#files.set(name, file);
			file.users += 1;
			return file;
		}
		let opening = this.#opening.get(name);
		if (opening === undefined) {
			opening = { waiters: 0, detached: false, file: undefined as never };
			opening.file = this.#open(name, opening);
			this.#opening.set(name, opening);
		}
		opening.waiters += 1;
		return opening.file;
	}

	/** As `acquire`, but undefined when the file is not open, and does not open it. */
	acquireOpen(name: string): OpenFile | undefined {
		return this.#files.has(name) ? (this.acquire(name) as OpenFile) : undefined;
	}

	async #open(name: string, opening: Opening): Promise<OpenFile> {
		const done = () => {
			if (this.#opening.get(name) === opening) this.#opening.delete(name);
		};
		let fd: number;
		try {
			fd = await this.lane.open(join(this.place, name), constants.O_RDONLY);
		} catch (error) {
			done();
			throw error;
		}
		done();
		const file = { name, fd, users: opening.waiters, detached: opening.detached };
		if (!file.detached) {
			this.#shrink();
			this.#files.set(name, file);
		}
		return file;
	}

	release(file: OpenFile): void {
		file.users -= 1;
		if (file.users === 0 && file.detached) sys.close(file.fd);
	}

	/** Drops a name, for example because its file is removed. */
	forget(name: string): void {
		const opening = this.#opening.get(name);
		if (opening !== undefined) {
			opening.detached = true;
			this.#opening.delete(name);
		}
		const file = this.#files.get(name);
		if (file === undefined) return;
		this.#files.delete(name);
		file.detached = true;
		if (file.users === 0) sys.close(file.fd);
	}

	#shrink(): void {
		if (this.#files.size < this.limit) return;
		for (const file of this.#files.values()) {
			if (file.users > 0) continue;
			this.forget(file.name);
			return;
		}
	}

	/** After the lane was closed: nothing is opened any more. */
	close(): void {
		for (const name of [...this.#files.keys(), ...this.#opening.keys()]) this.forget(name);
	}
}
