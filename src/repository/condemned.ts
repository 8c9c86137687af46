/**
 * Packs that prune is about to delete (docs/format.md, 10.3). From the moment a list is there, a backup that starts does
 * not count on these packs; they are deleted once every backup that started before has ended. Plain with encryption, too:
 * a list says nothing of what is stored, and nothing is deleted because of a list alone.
 */
import { RepositoryError } from "./contract.js";
import { causeOf } from "./errors.js";
import { encodeJson, readJson } from "./json-file.js";
import { isId, newId, type Random } from "./layout.js";
import type { Store } from "./store.js";

export interface Condemned {
	/** file name under `condemned/` */
	id: string;
	/** ms since 1970 UTC */
	at: number;
	packs: string[];
	/** backups that ran when the list was already there; absent: not noted yet */
	writers?: string[];
}

/** Packs in one list: keeps a list well below the largest record. */
const LIST_PACKS = 8192;

const fileName = (id: string): string => `condemned/${id}`;

/**
 * All lists. Rejects with RepositoryError DAMAGED when one cannot be trusted: nobody knows then which packs go. One that is
 * gone when it is to be read may have been replaced by another with the same packs, so the folder is listed again.
 */
export const readCondemned = async (store: Store): Promise<Condemned[]> => {
	for (;;) {
		const ids = (await store.list("condemned")).filter(isId);
		const lists: Condemned[] = [];
		for (const id of ids) {
			const list = await readOne(store, id);
			if (list !== undefined) lists.push(list);
		}
		if (lists.length === ids.length) return lists;
	}
};

const readOne = async (store: Store, id: string): Promise<Condemned | undefined> => {
	const damaged = (why: string) =>
		new RepositoryError(
			"DAMAGED",
			`${store.place}/${fileName(id)} is damaged (${why}): wait until no backup runs, then remove this file; no data is in it`,
		);
	let document: { version?: number; at: number; packs: string[]; writers?: string[] };
	try {
		document = (await readJson(store, fileName(id))) as typeof document;
	} catch (error) {
		throw damaged(causeOf(error));
	}
	if (document === undefined) return undefined;
	if (document.version !== 1 || !Array.isArray(document.packs)) throw damaged("not a list of this version");
	const { at, packs, writers } = document;
	return { id, at, packs, writers };
};

/** Every pack that is on a list. */
export const condemnedPacks = (lists: Condemned[]): Set<string> => new Set(lists.flatMap(({ packs }) => packs));

/** Puts lists of these packs, with the writers or, undefined, before these are known. */
export const putCondemned = async (
	store: Store,
	random: Random,
	{ at, packs, writers }: Omit<Condemned, "id">,
): Promise<Condemned[]> => {
	const lists: Condemned[] = [];
	for (let from = 0; from < packs.length; from += LIST_PACKS) {
		const list = { id: newId(random), at, packs: packs.slice(from, from + LIST_PACKS), writers };
		await store.put(fileName(list.id), encodeJson({ version: 1, at, packs: list.packs, writers }));
		lists.push(list);
	}
	return lists;
};

export const removeCondemned = async (store: Store, { id }: Condemned): Promise<void> => store.remove(fileName(id));
