/** A file in `tmp/` on its way to its name: append, sync, rename. Nothing here waits for the disk on the event loop. */
import { constants } from "node:fs";
import { type Lane, sys } from "../../native/index.js";
import { codeOf } from "./errors.js";
import type { Upload } from "./store.js";

const { O_WRONLY, O_CREAT, O_EXCL } = constants;

export class FileUpload implements Upload {
	readonly #writing: Lane;
	readonly #syncing: Lane;
	readonly #inFlight = new Set<Promise<void>>();
	readonly #opened: Promise<void>;
	#path = "";
	#fd = -1;
	#length = 0;
	#named = false;

	/** Makes the file once its path is known; that it could not be made is told to `append` and `seal`. */
	constructor(path: Promise<string>, writing: Lane, syncing: Lane) {
		this.#writing = writing;
		this.#syncing = syncing;
		this.#opened = this.#open(path);
		this.#opened.catch(() => {});
	}

	async #open(path: Promise<string>): Promise<void> {
		const made = await path;
		this.#fd = await this.#writing.open(made, O_WRONLY | O_CREAT | O_EXCL, 0o666);
		this.#path = made;
	}

	get length(): number {
		return this.#length;
	}

	append(parts: Uint8Array[], ready?: Promise<unknown>): Promise<void> {
		const position = this.#length;
		for (const part of parts) this.#length += part.length;
		const write = () => this.#writing.write(this.#fd, parts, position, false);
		const written = this.#fd >= 0 && ready === undefined ? write() : Promise.all([this.#opened, ready]).then(write);
		this.#inFlight.add(written);
		const done = () => this.#inFlight.delete(written);
		written.then(done, done);
		return written;
	}

	async seal(): Promise<void> {
		await this.#opened;
		await Promise.all(this.#inFlight);
		await this.#syncing.fsync(this.#fd);
		this.#close();
	}

	/** Gives the file its name; EEXIST when taken, ENOENT when the folder is missing. Not yet durable. */
	async rename(target: string): Promise<void> {
		await this.#syncing.renameNoReplace(this.#path, target);
		this.#named = true;
	}

	async abandon(): Promise<void> {
		if (this.#named) return;
		this.#named = true;
		await Promise.allSettled([this.#opened, ...this.#inFlight]);
		this.#close();
		if (this.#path === "") return;
		try {
			await this.#writing.unlink(this.#path);
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
