/**
 * Duplicate request cache: a request that must not be carried out twice is known by its key, and a replay (a
 * client that reconnected sends again what it got no answer for) is given the same reply bytes. Bounded in
 * entries, bytes and age. Replays after a restart are the file system's business (`FileSystem.replayed`).
 */
import { createHash } from "node:crypto";
import type { RequestKey } from "../../vfs/vfs.js";

const MAX_ENTRIES = 4096;
const MAX_BYTES = 4 * 1024 * 1024;
/** Longer than a client keeps trying (ESXi gives a datastore up after 140 s). */
const MAX_AGE_NS = 300_000_000_000n;
const MAX_WAITERS = 16;

export type Waiter = (reply: Buffer | undefined) => void;

interface Entry {
	/** undefined while the first request is carried out */
	reply?: Buffer;
	at: bigint;
	waiters: Waiter[];
}

export class ReplayCache {
	readonly #now: () => bigint;
	/** in order of insertion, oldest first */
	readonly #entries = new Map<RequestKey, Entry>();
	#bytes = 0;

	constructor(now: () => bigint) {
		this.#now = now;
	}

	/** Completed reply, or "busy" after `waiter` was queued, or undefined: it is new and now marked in progress. */
	claim(key: RequestKey, waiter: Waiter): Buffer | "busy" | undefined {
		this.#expire();
		const entry = this.#entries.get(key);
		if (entry?.reply !== undefined) return entry.reply;
		if (entry !== undefined) {
			if (entry.waiters.length < MAX_WAITERS) entry.waiters.push(waiter);
			else waiter(undefined);
			return "busy";
		}
		this.#entries.set(key, { at: this.#now(), waiters: [] });
		return undefined;
	}

	/** Ends what `claim` began. Without `keep` the reply only goes to those who wait. */
	settle(key: RequestKey, reply: Buffer, keep: boolean): void {
		const entry = this.#entries.get(key);
		if (entry === undefined) return;
		if (keep) {
			entry.reply = reply;
			this.#bytes += reply.length;
		} else this.#entries.delete(key);
		const waiters = entry.waiters;
		entry.waiters = [];
		for (const waiter of waiters) waiter(reply);
	}

	/** The request turned out not to be one (arguments did not parse). */
	abandon(key: RequestKey): void {
		const entry = this.#entries.get(key);
		this.#entries.delete(key);
		for (const waiter of entry?.waiters ?? []) waiter(undefined);
	}

	#expire(): void {
		const oldest = this.#now() - MAX_AGE_NS;
		for (const [key, entry] of this.#entries) {
			if (this.#entries.size < MAX_ENTRIES && this.#bytes < MAX_BYTES && entry.at >= oldest) return;
			// A request in progress keeps its place; there are never many of them (connections are bounded).
			if (entry.reply === undefined) continue;
			this.#bytes -= entry.reply.length;
			this.#entries.delete(key);
		}
	}
}

/**
 * The key: a digest over the peer's address (without the port, which changes when it reconnects), XID,
 * procedure and argument bytes.
 */
export function requestKey(
	address: string,
	xid: number,
	program: number,
	version: number,
	procedure: number,
	args: Buffer,
): RequestKey {
	const hash = createHash("sha256");
	hash.update(`${address}\0${xid} ${program} ${version} ${procedure}\0`);
	hash.update(args);
	return hash.digest().toString("latin1", 0, 16);
}
