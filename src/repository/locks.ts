/** Waits a little for locks on the repository that others hold for a short time (docs/format.md, 10). */
import { RepositoryError } from "./contract.js";
import { LOCK_REPOSITORY } from "./layout.js";
import type { Held, Store } from "./store.js";

const TRIES = 100;
const PAUSE_MS = 100;

/** Takes a lock; rejects with LOCKED after ten seconds, with a line that names who has it and `doing`. */
export const waitForLock = async (
	store: Store,
	byte: number,
	kind: "shared" | "exclusive",
	{ holder, doing, signal }: { holder: string; doing: string; signal?: AbortSignal },
): Promise<Held> => {
	for (let attempt = 0; attempt < TRIES && !signal?.aborted; attempt++) {
		const held = await store.lock(LOCK_REPOSITORY, byte, kind);
		if (held !== undefined) return held;
		await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
	}
	if (signal?.aborted) throw new RepositoryError("INTERRUPTED", `the ${doing} was interrupted before it began`);
	throw new RepositoryError("LOCKED", `${store.place}: ${holder} has it; start the ${doing} when that has ended`);
};
