/**
 * What a run has made and not yet taken away, noted durably before it is made: the next run takes away what one that was
 * killed has left. A run holds a lock for as long as its process lives.
 */
import { constants as C, mkdirSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { readFileWhole, replaceFileDurably } from "../../native/durable-file.js";
import { sys } from "../../native/index.js";
import { VerifyError } from "./errors.js";

export interface RunNote {
	version: 1;
	run: string;
	/** by its name in `springback hosts`; null: the one of our own */
	host: string | null;
	labs: string[];
	sessions: string[];
	/** names of VMs on the host */
	vms: string[];
}

export class Notes {
	constructor(private readonly directory: string) {}

	/** Begins to note a run. The lock goes with the process, or with `end`. */
	begin(run: string, host: string | null): RunNotes {
		mkdirSync(this.directory, { recursive: true, mode: 0o700 });
		const fd = this.#tryLock(run);
		if (fd === undefined) throw new VerifyError("BUSY", `run ${run} is there already`);
		return new RunNotes(this.#path(run), fd, { version: 1, run, host, labs: [], sessions: [], vms: [] });
	}

	/** Of runs that were killed before their first note, or behind their last: nothing was made yet, or all is gone. */
	tidy(): void {
		for (const name of this.#names()) {
			const run = /^([0-9a-f]{32})\.(?:lock|json\.new)$/.exec(name)?.[1];
			if (run === undefined || this.#runs().includes(run)) continue;
			const fd = this.#tryLock(run);
			if (fd === undefined) continue;
			// It may have noted something before we had the lock.
			if (!this.#runs().includes(run))
				for (const end of ["json.new", "lock"]) remove(join(this.directory, `${run}.${end}`));
			sys.close(fd);
		}
	}

	/** Runs that did not end, and whose process is gone. Each is locked by `adopt` before anything is taken away. */
	left(): string[] {
		return this.#runs().filter((run) => {
			const fd = this.#tryLock(run);
			if (fd !== undefined) sys.close(fd);
			return fd !== undefined;
		});
	}

	/** Runs that live, and have noted something. */
	living(): string[] {
		const left = new Set(this.left());
		return this.#runs().filter((run) => !left.has(run));
	}

	/** Labs of runs that live. */
	liveLabs(): Set<string> {
		return new Set(this.living().flatMap((run) => this.#read(run)?.labs ?? []));
	}

	/** Undefined: another process was faster, or it has ended. */
	adopt(run: string): RunNotes | undefined {
		const fd = this.#tryLock(run);
		if (fd === undefined) return undefined;
		const note = this.#read(run);
		if (note !== undefined) return new RunNotes(this.#path(run), fd, note);
		sys.close(fd);
		return undefined;
	}

	#runs(): string[] {
		return this.#names().flatMap((name) => /^([0-9a-f]{32})\.json$/.exec(name)?.[1] ?? []);
	}

	#names(): string[] {
		try {
			return readdirSync(this.directory);
		} catch (error) {
			if ((error as { code?: string }).code === "ENOENT") return [];
			throw error;
		}
	}

	#read(run: string): RunNote | undefined {
		try {
			return JSON.parse(readFileWhole(this.#path(run)).toString("utf8")) as RunNote;
		} catch (error) {
			if ((error as { code?: string }).code === "ENOENT") return undefined;
			throw new VerifyError("FAILED", `${this.#path(run)} cannot be read: what that run left must be found by hand`);
		}
	}

	#tryLock(run: string): number | undefined {
		const path = join(this.directory, `${run}.lock`);
		for (;;) {
			const fd = sys.open(path, C.O_RDWR | C.O_CREAT, 0o600);
			const locked = sys.lock(fd, "exclusive", 0, 1);
			// Whoever had it before may have taken the file away: a lock on that keeps nobody out.
			if (locked && statSync(path, { throwIfNoEntry: false })?.ino === sys.fstat(fd).ino) return fd;
			sys.close(fd);
			if (!locked) return undefined;
		}
	}

	#path(run: string): string {
		return join(this.directory, `${run}.json`);
	}
}

const remove = (path: string): void => {
	try {
		sys.unlink(path);
	} catch (error) {
		if ((error as { code?: string }).code !== "ENOENT") throw error;
	}
};

type Kind = "labs" | "sessions" | "vms";

export class RunNotes {
	constructor(
		private readonly path: string,
		private readonly fd: number,
		readonly note: RunNote,
	) {}

	/** Durable when it returns: then it may be made. */
	add(kind: Kind, name: string): void {
		if (this.note[kind].includes(name)) return;
		this.note[kind].push(name);
		this.#save();
	}

	/** It is gone. */
	drop(kind: Kind, name: string): void {
		this.note[kind] = this.note[kind].filter((one) => one !== name);
		this.#save();
	}

	get empty(): boolean {
		return [this.note.labs, this.note.sessions, this.note.vms].every((list) => list.length === 0);
	}

	/** The run is over. What is still noted stays noted, for the next one. */
	end(): void {
		if (this.empty) {
			for (const path of [this.path, this.path.replace(/json$/, "lock")]) remove(path);
		}
		sys.close(this.fd);
	}

	#save(): void {
		replaceFileDurably(this.path, Buffer.from(`${JSON.stringify(this.note, null, "\t")}\n`));
	}
}
