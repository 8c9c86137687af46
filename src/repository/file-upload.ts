/** A file in `tmp/` on its way to its name: append, sync, rename. */
import { constants } from "node:fs";
import { type Lane, sys } from "../../native/index.js";
import { codeOf } from "./errors.js";
import type { Upload } from "./store.js";

const { O_WRONLY, O_CREAT, O_EXCL } = constants;

export class FileUpload implements Upload {
	readonly #path: string;
	readonly #writing: Lane;
	readonly #syncing: Lane;
	readonly #inFlight = new Set<Promise<void>>();
	#fd: number;
	#length = 0;
	#named = false;

	constructor(path: string, writing: Lane, syncing: Lane) {
		this.#path = path;
		this.#writing = writing;
		this.#syncing = syncing;
		this.#fd = sys.open(path, O_WRONLY | O_CREAT | O_EXCL, 0o666);
	}

	get length(): number {
		return this.#length;
	}

	append(parts: Uint8Array[], ready?: Promise<unknown>): Promise<void> {
		const position = this.#length;
		for (const part of parts) this.#length += part.length;
		const write = () => this.#writing.write(this.#fd, parts, position, false);
		const written = ready === undefined ? write() : ready.then(write);
		this.#inFlight.add(written);
		const done = () => this.#inFlight.delete(written);
		written.then(done, done);
		return written;
	}

	async seal(): Promise<void> {
		await Promise.all(this.#inFlight);
		await this.#syncing.fsync(this.#fd);
		this.#close();
	}

	/** Gives the file its name; EEXIST when taken, ENOENT when the folder is missing. Not yet durable. */
	rename(target: string): void {
		sys.renameNoReplace(this.#path, target);
		this.#named = true;
	}

	async abandon(): Promise<void> {
		if (this.#named) return;
		await Promise.allSettled(this.#inFlight);
		this.#close();
		this.#named = true;
		try {
			sys.unlink(this.#path);
		} catch (error) {
			// Best effort: what stays in tmp/ is swept by the next writer.
			if (codeOf(error) === "") throw error;
		}
	}

	#close(): void {
		if (this.#fd < 0) return;
		sys.close(this.#fd);
		this.#fd = -1;
	}
}
