/**
 * Which backups run (docs/format.md, 10): each holds an exclusive lock on a file of its own for as long as it lasts, so
 * prune can tell those that began before it condemned something, also when they are stopped and go on days later.
 */
import { newId, type Random } from "./layout.js";
import type { Held, Store } from "./store.js";

const PREFIX = "backup-";
const TRIES = 8;

/** A running backup, known to others until `end`. Throws when no lock can be had. */
export const enrolBackup = async (store: Store, random: Random): Promise<{ end(): Promise<void> }> => {
	for (let attempt = 0; attempt < TRIES; attempt++) {
		const name = `locks/${PREFIX}${newId(random)}`;
		const held = await store.lock(name, 0, "exclusive");
		// Between creating and locking it a sweeper may have removed it; then nobody could see our lock.
		if (held !== undefined && (await store.size(name)) !== undefined) return { end: () => leave(store, name, held) };
		held?.release();
	}
	throw new Error(`${store.place}/locks: cannot take a lock for the backup`);
};

const leave = async (store: Store, name: string, held: Held): Promise<void> => {
	try {
		await store.remove(name);
	} catch {
		// The next sweep takes it.
	} finally {
		held.release();
	}
};

/** Ids of the backups that run now. */
export const runningBackups = async (store: Store): Promise<string[]> => {
	const running: string[] = [];
	for (const name of await store.list("locks")) {
		if (!name.startsWith(PREFIX)) continue;
		// Never made here: its owner must be able to tell by the name that the file he locked is still in its place.
		const held = await store.lockExisting(`locks/${name}`);
		if (held !== undefined) held.release();
		else if ((await store.size(`locks/${name}`)) !== undefined) running.push(name.slice(PREFIX.length));
	}
	return running;
};

/** When the oldest of the backups that run now began, ms since 1970 by the store's clock; infinity when none runs. */
export const startOfBackups = async (store: Store): Promise<number> => {
	let start = Number.POSITIVE_INFINITY;
	for (const id of await runningBackups(store))
		start = Math.min(start, (await store.modified(`locks/${PREFIX}${id}`)) ?? Number.POSITIVE_INFINITY);
	return start;
};
