/** Small JSON documents as files of their own: one record of type 3, identity SHA-256 (docs/format.md, 9 and 10). */
import { createHash } from "node:crypto";
import { decodeRecord, encodeRecord } from "../../native/index.js";
import { codeOf } from "./errors.js";
import { CODEC, TYPE } from "./layout.js";
import type { Store } from "./store.js";

export const encodeJson = (document: unknown): Buffer => {
	const payload = Buffer.from(JSON.stringify(document));
	return encodeRecord(payload, createHash("sha256").update(payload).digest(), TYPE.object, CODEC.lz4);
};

/** Verifies and parses; throws an Error that says what is wrong. */
export const decodeJson = (bytes: Buffer): unknown => {
	const payload = decodeRecord(bytes, null, TYPE.object);
	if (!createHash("sha256").update(payload).digest().equals(bytes.subarray(24, 56))) throw new Error("SHA-256 differs");
	return JSON.parse(payload.toString());
};

/** The document in a file, or undefined when the file is gone; rejects when it is damaged or cannot be read. */
export const readJson = async (store: Store, name: string): Promise<unknown> => {
	try {
		const size = await store.size(name);
		return size === undefined ? undefined : decodeJson(await store.read(name, 0, size));
	} catch (error) {
		if (codeOf(error) === "ENOENT") return undefined;
		throw error;
	}
};
