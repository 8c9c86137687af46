/**
 * One file for each recovery: what is to be done and how far it is. Written durably before each effect outside, so that a
 * run that dies at any moment can be continued or undone by the next. One run at a time works on a recovery.
 */
import { constants as C, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { readFileWhole, replaceFileDurably } from "../../native/durable-file.js";
import { sys } from "../../native/index.js";
import type { VmConfig } from "../vm/index.js";
import { RecoveryError } from "./errors.js";

/** What is being done, in this order; `ready` when all is. */
export type Phase = "publishing" | "replacing" | "registering" | "starting" | "ready" | "undoing" | "finishing";

/** The VM that is replaced: powered off, then called `aside`. */
export interface Replaced {
	host: string;
	name: string;
	id: string;
	wasRunning: boolean;
	aside: { name: string; id: string };
}

/** Result of comparing a disk's old and new place. */
export interface MovedDisk {
	disk: string;
	/** bytes of both that were compared; what both know as zeros counts */
	compared: number;
	/** SHA-256 of all that is not zero, with its offsets */
	sha256: string;
	/** true: the guest stood still, or nothing differed */
	verified: boolean;
	/** bytes in pieces that differ */
	different: number;
	/** ms that the guest stood still */
	pausedMs: number;
	/** s that the copy took, up to the change-over */
	copySeconds: number;
}

export interface Migration {
	to: string;
	/** UTC */
	began: string;
	/** the guest may be paused by us */
	pausing: boolean;
	disks: MovedDisk[];
	/** UTC; null while it is not done */
	finished: string | null;
}

export interface RecoveryRecord {
	version: 1;
	session: string;
	/** as the repository calls it */
	vm: string;
	point: string;
	pointTime: string;
	repository: string;
	host: string;
	/** of the VM on the host */
	name: string;
	id: string;
	config: VmConfig;
	networks: Record<string, string>;
	listen: string | null;
	/** uid that opens the VM's disks, where a UNIX socket of ours is closed to it; it comes over loopback then */
	diskUser: number | null;
	redirect: string | null;
	powerOn: boolean;
	/** ms between backups of what the VM writes; null: none */
	protectMs: number | null;
	/** the session was made by this recovery, and may go with it */
	madeSession: boolean;
	/** it was being served before */
	wasServed: boolean;
	replaced: Replaced | null;
	/** UTC */
	began: string;
	phase: Phase;
	/** UTC of the first time that all was done: from then on nothing is undone by itself */
	ready: string | null;
	migration: Migration | null;
}

export class Records {
	constructor(private readonly directory: string) {}

	/** All, by session. One that cannot be read throws: it may be of a VM that runs. */
	list(): RecoveryRecord[] {
		let names: string[];
		try {
			names = readdirSync(this.directory);
		} catch (error) {
			if ((error as { code?: string }).code === "ENOENT") return [];
			throw error;
		}
		return names
			.filter((name) => name.endsWith(".json"))
			.sort()
			.flatMap((name) => this.find(name.slice(0, -".json".length)) ?? []);
	}

	find(session: string): RecoveryRecord | undefined {
		const path = this.#path(session);
		try {
			const record = JSON.parse(readFileWhole(path).toString("utf8")) as RecoveryRecord;
			if (record.version === 1 && record.session === session) return record;
		} catch (error) {
			if ((error as { code?: string }).code === "ENOENT") return undefined;
			if (!(error instanceof SyntaxError)) throw error;
		}
		throw new RecoveryError("FAILED", `${path}: not a recovery of this version: move it away if you know its VM`);
	}

	save(record: RecoveryRecord): void {
		this.#make();
		replaceFileDurably(this.#path(record.session), Buffer.from(`${JSON.stringify(record, null, "\t")}\n`));
	}

	remove(session: string): void {
		try {
			sys.unlink(this.#path(session));
			sys.fsyncDirectory(this.directory);
		} catch (error) {
			if ((error as { code?: string }).code !== "ENOENT") throw error;
		}
	}

	/** Runs `work` while no other process works on this recovery. Rejects with BUSY at once. */
	async alone<T>(session: string, work: () => Promise<T>): Promise<T> {
		this.#make();
		const fd = sys.open(join(this.directory, `${session}.lock`), C.O_RDWR | C.O_CREAT, 0o600);
		try {
			if (!sys.lock(fd, "exclusive", 0, 1))
				throw new RecoveryError("BUSY", `another command works on session ${session}: try again when it has ended`);
			return await work();
		} finally {
			sys.close(fd);
		}
	}

	#path(session: string): string {
		return join(this.directory, `${session}.json`);
	}

	#make(): void {
		mkdirSync(this.directory, { recursive: true, mode: 0o700 });
	}
}
