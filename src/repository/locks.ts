/** Locks on the repository (docs/format.md, 10): taken at once, or waited for a little where others hold them for a short time. */
import { RepositoryError } from "./contract.js";
import { LOCK_REPOSITORY } from "./layout.js";
import type { Held, Store } from "./store.js";

const TRIES = 100;
const PAUSE_MS = 100;

/** Who may have the lock, and what is to be done with it. */
export interface Purpose {
	holder: string;
	doing: string;
	signal?: AbortSignal;
}

type Kind = "shared" | "exclusive";

/** Takes a lock; rejects with LOCKED when somebody has it, with a line that names who and `doing`. */
export const takeLock = async (store: Store, byte: number, kind: Kind, purpose: Purpose): Promise<Held> => {
	const held = await store.lock(LOCK_REPOSITORY, byte, kind);
	if (held === undefined) throw locked(store, purpose);
	return held;
};

/** The same, but waits ten seconds before it rejects. */
export const waitForLock = async (store: Store, byte: number, kind: Kind, purpose: Purpose): Promise<Held> => {
	const { doing, signal } = purpose;
	for (let attempt = 0; attempt < TRIES && !signal?.aborted; attempt++) {
		const held = await store.lock(LOCK_REPOSITORY, byte, kind);
		if (held !== undefined) return held;
		await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
	}
	if (signal?.aborted) throw new RepositoryError("INTERRUPTED", `the ${doing} was interrupted before it began`);
	throw locked(store, purpose);
};

const locked = ({ place }: Store, { holder, doing }: Purpose): RepositoryError =>
	new RepositoryError("LOCKED", `${place}: ${holder} has it; start the ${doing} when that has ended`);
