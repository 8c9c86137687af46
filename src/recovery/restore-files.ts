/**
 * Files of a restore: written into a folder of their own on the target storage, and put into place together. A note there
 * says what is put into place and for which VM, so that the next run takes away what one that died left.
 */
import { constants as C, existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { basename, join } from "node:path";
import { replaceFileDurably } from "../../native/durable-file.js";
import { sys } from "../../native/index.js";
import { RecoveryError } from "./errors.js";
import type { Replaced } from "./records.js";

/** What is noted before files are put into place. */
export interface Placing {
	/** of the VM that gets them: when it is registered, all is done */
	id: string;
	/** files that were not there before */
	fresh: string[];
	/** a VM that was set aside, and what it is called */
	aside: { id: string; name: string; was: { id: string; name: string } } | null;
	/** the original, which was powered off and set aside; null: that was not wanted */
	replaced: Replaced | null;
}

export class RestoreFiles {
	readonly #stage: string;
	readonly #note: string;
	readonly #lock: number;
	#placing: Placing | undefined;

	/** @param to an existing folder. @param what name of what is restored. Throws BUSY. */
	constructor(
		private readonly to: string,
		what: string,
	) {
		this.#stage = join(to, `.springback-restore-${what.replaceAll("/", "_")}`);
		this.#note = join(this.#stage, "placing.json");
		mkdirSync(this.#stage, { recursive: true, mode: 0o700 });
		this.#lock = sys.open(join(this.#stage, "lock"), C.O_RDWR | C.O_CREAT, 0o600);
		if (!sys.lock(this.#lock, "exclusive", 0, 1)) {
			sys.close(this.#lock);
			throw new RecoveryError("BUSY", `another restore of ${what} to ${to} runs: try again when it has ended`);
		}
	}

	/** What a run that died was putting into place; undefined: nothing. */
	left(): Placing | undefined {
		if (!existsSync(this.#note)) return undefined;
		return JSON.parse(readFileSync(this.#note, "utf8")) as Placing;
	}

	/** Takes away what is there of a run that died: files, not VMs. */
	clean(left: Placing | undefined): void {
		for (const path of left?.fresh ?? []) rmSync(path, { force: true });
		rmSync(this.#note, { force: true });
	}

	/** Where a file is written first. */
	staged(path: string): string {
		return join(this.#stage, basename(path));
	}

	/** Where a disk will be. */
	path(vm: string, disk: string): string {
		return join(this.to, `${vm}-${disk}.raw`);
	}

	/** Notes what comes next. Call before a VM is set aside, and before `place`. */
	note(id: string, paths: string[], { aside = null, replaced = null }: Partial<Placing> = {}): void {
		this.#placing = { id, fresh: paths.filter((path) => !existsSync(path)), aside, replaced };
		replaceFileDurably(this.#note, Buffer.from(JSON.stringify(this.#placing)));
	}

	/** Puts staged files into place. Those that were there are replaced: call it when that is allowed. */
	place(paths: string[]): void {
		for (const path of paths) {
			if (this.#placing!.fresh.includes(path)) sys.renameNoReplace(this.staged(path), path);
			else sys.rename(this.staged(path), path);
		}
		sys.fsyncDirectory(this.to);
	}

	/** All is done, or nothing was. */
	end(undo: boolean): void {
		if (undo) this.clean(this.#placing);
		rmSync(this.#stage, { recursive: true, force: true });
		sys.close(this.#lock);
	}
}
