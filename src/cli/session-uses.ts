/**
 * Which restore points the sessions of this machine's state directory lie over. The repository knows of uses itself; this
 * is for what it was never told: sessions of earlier releases, or made while it could not be written.
 */
import { existsSync, lstatSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { statePaths } from "../mountd/paths.js";
import { SessionStore } from "../mountd/session-store.js";
import type { Repository } from "../repository/index.js";

/** Point ids and what uses them, trash included. */
export function sessionUses(repository: Repository, state: string): Map<string, string> {
	const uses = new Map<string, string>();
	for (const { record } of recordsOf(state))
		if (record.repositoryId === repository.id) uses.set(record.point, `used by session ${record.name}`);
	return uses;
}

/** Takes away uses by sessions of this state directory that are no more: discarded for good, or never finished. */
export async function dropStaleUses(repository: Repository, state: string): Promise<void> {
	const { counter, sessions, trash } = statePaths(state);
	// Without its counter this is not the directory in which they were made: its disk is not mounted, perhaps.
	if (!existsSync(counter)) return;
	for (const hold of await repository.holds()) {
		if (hold.kind !== "session" || hold.session?.host !== hostname() || hold.session.state !== state) continue;
		// The use is noted before the session's record: one that is being made has none yet.
		const young = Date.now() - Date.parse(hold.since) < 60_000;
		// A link may lead to a disk that is not mounted: then the session is there, too.
		const isThere = (directory: string) => lstatSync(join(directory, hold.id), { throwIfNoEntry: false }) !== undefined;
		if (!young && !isThere(sessions) && !isThere(trash)) await repository.release(hold);
	}
}

function recordsOf(state: string) {
	if (!existsSync(state)) return [];
	const store = new SessionStore(state);
	return [...store.list().sessions, ...store.trash().sessions];
}
