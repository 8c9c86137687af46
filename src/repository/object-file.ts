/** A file that is one record of type 3 under a random id: restore points (docs/format.md, 9 and 11). */
import { decodeRecord, encodeRecord, sealRecords } from "../../native/index.js";
import type { Keyring } from "./keyring.js";
import { CODEC, TYPE } from "./layout.js";

/** The file's bytes. `id` must be new: with encryption it is what makes the key one that is used once. */
export const encodeObjectFile = (id: string, plain: Buffer, keyring: Keyring): Buffer => {
	const identity = keyring.identityOf(plain);
	const bytes = encodeRecord(plain, identity, TYPE.object, CODEC.lz4, undefined, keyring.encrypted);
	if (keyring.encrypted) sealRecords(bytes, Uint32Array.of(bytes.length), 0, keyring.objectSeal(id));
	return bytes;
};

/** Verifies and decodes; throws an Error that says what is wrong. */
export const decodeObjectFile = (id: string, bytes: Buffer, keyring: Keyring): Buffer => {
	const plain = decodeRecord(bytes, null, TYPE.object, keyring.encrypted ? keyring.objectSeal(id) : undefined, 0);
	if (!keyring.identityOf(plain).equals(bytes.subarray(24, 56)))
		throw new Error("its content differs from its identity");
	return plain;
};
