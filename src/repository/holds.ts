/**
 * What keeps a point from being removed beyond any process (docs/format.md, 10.2): a person's hold, or a session that lies
 * over it, open or parked. One small file each, so that nothing but the repository is needed to know.
 */
import { causeOf, codeOf } from "./errors.js";
import { encodeJson, readJson } from "./json-file.js";
import { isId } from "./layout.js";
import type { Store } from "./store.js";

export interface Hold {
	/** file name under `holds/`, 32 hex digits; a session's is its UUID */
	id: string;
	/** the point's id */
	point: string;
	kind: "person" | "session";
	/** UTC */
	since: string;
	/** a person's words, or "" */
	reason: string;
	/** of a session: its name, and the machine and state directory that it is kept in */
	session?: { name: string; host: string; state: string };
}

const holdName = (id: string): string => `holds/${id}`;

/** All holds. One that is damaged is reported in `bad`: its point is unknown, so nothing may be removed. */
export const readHolds = async (store: Store): Promise<{ holds: Hold[]; bad: { file: string; why: string }[] }> => {
	const holds: Hold[] = [];
	const bad: { file: string; why: string }[] = [];
	for (const id of store.list("holds").filter(isId)) {
		try {
			const document = (await readJson(store, holdName(id))) as (Hold & { version: number }) | undefined;
			if (document === undefined) continue;
			const { version, point, kind, since, reason, session } = document;
			if (version !== 1 || !isId(point)) throw new Error("not a hold of this version");
			holds.push({ id, point, kind, since, reason, session });
		} catch (error) {
			bad.push({ file: holdName(id), why: causeOf(error) });
		}
	}
	return { holds, bad };
};

/** Durable when it resolves. A session's is put again at each start: that it is there already is well. */
export const putHold = async (store: Store, { id, ...rest }: Hold): Promise<void> => {
	if (store.size(holdName(id)) !== undefined) return;
	try {
		await store.put(holdName(id), encodeJson({ version: 1, ...rest }));
	} catch (error) {
		if (codeOf(error) !== "EEXIST") throw error;
	}
};

export const removeHold = async (store: Store, id: string): Promise<void> => store.remove(holdName(id));

/** "held (reason)" or "session NAME on HOST": why a point stays. */
export const holdText = ({ kind, reason, session }: Hold): string =>
	kind === "session"
		? `used by session ${session?.name ?? "?"} on ${session?.host ?? "?"}`
		: reason === ""
			? "held"
			: `held: ${reason}`;
