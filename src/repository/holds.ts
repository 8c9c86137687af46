/**
 * What keeps a point from being removed beyond any process (docs/format.md, 10.2): a person's hold, or a session that lies
 * over it, open or parked. One small file each, so that nothing but the repository is needed to know.
 */
import { randomBytes } from "node:crypto";
import { causeOf, codeOf } from "./errors.js";
import type { Keyring } from "./keyring.js";
import { isId } from "./layout.js";
import { decodeObjectFile, encodeObjectFile } from "./object-file.js";
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

/** With encryption a random id comes before the record, and its key from that: a session puts its hold again under one name. */
const KEY_ID_BYTES = 16;

const encodeHold = (hold: Hold, keyring: Keyring): Buffer => {
	const keyId = randomBytes(KEY_ID_BYTES);
	const record = encodeObjectFile(keyId.toString("hex"), Buffer.from(JSON.stringify({ version: 1, ...hold })), keyring);
	return keyring.encrypted ? Buffer.concat([keyId, record]) : record;
};

/** Throws an Error that says what is wrong. */
const decodeHold = (id: string, bytes: Buffer, keyring: Keyring): Hold => {
	const at = keyring.encrypted ? KEY_ID_BYTES : 0;
	if (bytes.length < at) throw new Error("it is cut short");
	const plain = decodeObjectFile(bytes.toString("hex", 0, at), bytes.subarray(at), keyring);
	const { version, ...hold } = JSON.parse(plain.toString()) as Hold & { version: number };
	if (version !== 1 || hold.id !== id || !isId(hold.point)) throw new Error("not a hold of this version and name");
	return hold;
};

const readHold = async (store: Store, id: string, keyring: Keyring): Promise<Hold | undefined> => {
	try {
		const size = await store.size(holdName(id));
		return size === undefined ? undefined : decodeHold(id, await store.read(holdName(id), 0, size), keyring);
	} catch (error) {
		if (codeOf(error) === "ENOENT") return undefined;
		throw error;
	}
};

/** All holds. One that is damaged is reported in `bad`: its point is unknown, so nothing may be removed. */
export const readHolds = async (
	store: Store,
	keyring: Keyring,
): Promise<{ holds: Hold[]; bad: { file: string; why: string }[] }> => {
	const holds: Hold[] = [];
	const bad: { file: string; why: string }[] = [];
	for (const id of (await store.list("holds")).filter(isId)) {
		try {
			const hold = await readHold(store, id, keyring);
			if (hold !== undefined) holds.push(hold);
		} catch (error) {
			bad.push({ file: holdName(id), why: causeOf(error) });
		}
	}
	return { holds, bad };
};

/** Durable when it resolves. A session's is put again at each start: that it is there already is well. */
export const putHold = async (store: Store, hold: Hold, keyring: Keyring): Promise<void> => {
	const name = holdName(hold.id);
	if ((await store.size(name)) !== undefined) return;
	try {
		await store.put(name, encodeHold(hold, keyring));
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
