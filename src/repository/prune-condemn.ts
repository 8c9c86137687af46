/** Lists of what prune is about to delete: put, then put again with the backups that must end first (docs/format.md, 10.3). */
import { runningBackups } from "./backup-locks.js";
import { type Condemned, putCondemned, removeCondemned } from "./condemned.js";
import type { Random } from "./layout.js";
import type { Store } from "./store.js";

interface Context {
	store: Store;
	random: Random;
}

/** Notes the writers of lists that a prune put and was killed before it could. */
export const completeLists = async (context: Context, lists: Condemned[]): Promise<Condemned[]> => {
	const done = lists.filter(({ writers }) => writers !== undefined);
	for (const list of lists) if (list.writers === undefined) done.push(...(await noteWriters(context, list)));
	return done;
};

/** The list is there, so a backup that is not found running now will see it. */
const noteWriters = async ({ store, random }: Context, list: Condemned): Promise<Condemned[]> => {
	const noted = await putCondemned(store, random, { ...list, writers: await runningBackups(store) });
	await removeCondemned(store, list);
	return noted;
};

/** Condemns packs; resolves with their lists, writers noted. */
export const condemn = async (context: Context, packs: string[], now: Date): Promise<Condemned[]> => {
	if (packs.length === 0) return [];
	const noted: Condemned[] = [];
	for (const list of await putCondemned(context.store, context.random, { at: now.getTime(), packs }))
		noted.push(...(await noteWriters(context, list)));
	return noted;
};
