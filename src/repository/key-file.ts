/** `keys/<id>`: the master key, wrapped by one passphrase or recovery key (docs/format.md, 11). */
import { createCipheriv, createDecipheriv, randomBytes, type ScryptOptions, scrypt } from "node:crypto";
import { decodeRecord, encodeRecord, sha256 } from "../../native/index.js";
import { causeOf } from "./errors.js";
import { MASTER_KEY_BYTES } from "./keyring.js";
import { CODEC, isId, keyName, newId, TYPE } from "./layout.js";
import { type KeyKind, secretFor } from "./passphrase.js";
import type { Store } from "./store.js";

/** RFC 7914: CPU and memory cost, block size, parallelization */
export interface ScryptCost {
	N: number;
	r: number;
	p: number;
}

export interface KeyFile {
	version: 1;
	/** 32 hex digits: the file's name */
	id: string;
	kind: KeyKind;
	/** UTC, seconds precision */
	created: string;
	scrypt: ScryptCost;
	/** hex; `wrapped` ends with the tag */
	salt: string;
	nonce: string;
	wrapped: string;
}

/** 128 MiB and about half a second for each guess. */
export const SCRYPT_COST: ScryptCost = { N: 2 ** 17, r: 8, p: 1 };
/** Most memory that a key file may make us use, bytes. */
const MEMORY_MAX = 1024 * 1024 * 1024;
const KEY_FILE_MAX_BYTES = 64 * 1024;
const CIPHER = "aes-256-gcm";
const TAG_BYTES = 16;
const NONCE_BYTES = 12;

/** Wraps the master key anew; nothing is written yet. */
export const wrapMasterKey = async (
	master: Buffer,
	secret: Buffer,
	kind: KeyKind,
	repository: string,
	created: string,
	cost: ScryptCost,
): Promise<KeyFile> => {
	const salt = randomBytes(32).toString("hex");
	const nonce = randomBytes(NONCE_BYTES).toString("hex");
	const file: KeyFile = { version: 1, id: newId(randomBytes), kind, created, scrypt: cost, salt, nonce, wrapped: "" };
	const cipher = createCipheriv(CIPHER, await derive(file, secretFor(kind, secret)!), Buffer.from(nonce, "hex"));
	cipher.setAAD(boundTo(file, repository));
	file.wrapped = Buffer.concat([cipher.update(master), cipher.final(), cipher.getAuthTag()]).toString("hex");
	return file;
};

/** The master key; undefined when this passphrase is not the one. */
export const unwrapMasterKey = async (
	file: KeyFile,
	secret: Buffer,
	repository: string,
): Promise<Buffer | undefined> => {
	const meant = secretFor(file.kind, secret);
	if (meant === undefined) return undefined;
	const key = await derive(file, meant);
	const wrapped = Buffer.from(file.wrapped, "hex");
	const decipher = createDecipheriv(CIPHER, key, Buffer.from(file.nonce, "hex"), { authTagLength: TAG_BYTES });
	decipher.setAAD(boundTo(file, repository));
	decipher.setAuthTag(wrapped.subarray(MASTER_KEY_BYTES));
	try {
		return Buffer.concat([decipher.update(wrapped.subarray(0, MASTER_KEY_BYTES)), decipher.final()]);
	} catch {
		return undefined;
	}
};

/** Everything in the file that is not secret. */
const boundTo = ({ id, kind, created, scrypt: { N, r, p }, salt }: KeyFile, repository: string): Buffer =>
	Buffer.from(["springback key v1", repository, id, kind, created, N, r, p, salt].join("\n"));

const derive = ({ scrypt: { N, r, p }, salt }: KeyFile, secret: Buffer): Promise<Buffer> => {
	const options: ScryptOptions = { N, r, p, maxmem: 2 * MEMORY_MAX };
	return new Promise((resolve, reject) =>
		scrypt(secret, Buffer.from(salt, "hex"), MASTER_KEY_BYTES, options, (error, key) =>
			error ? reject(error) : resolve(key),
		),
	);
};

export const encodeKeyFile = (file: KeyFile): Buffer => {
	const plain = Buffer.from(JSON.stringify(file));
	return encodeRecord(plain, sha256(plain), TYPE.object, CODEC.raw);
};

/** Verifies and parses; throws an Error that says what is wrong. */
export const decodeKeyFile = (bytes: Buffer, id: string): KeyFile => {
	const plain = decodeRecord(bytes, null, TYPE.object);
	if (!sha256(plain).equals(bytes.subarray(24, 56))) throw new Error("SHA-256 differs");
	const file = JSON.parse(plain.toString()) as KeyFile;
	if (file.version !== 1 || file.id !== id) throw new Error("holds another key");
	const { N, r, p } = file.scrypt;
	const sane = N > 1 && (N & (N - 1)) === 0 && r >= 1 && p >= 1 && p <= 16 && 128 * N * r <= MEMORY_MAX;
	if (!sane) throw new Error("its scrypt parameters are impossible");
	if (file.wrapped.length !== 2 * (MASTER_KEY_BYTES + TAG_BYTES)) throw new Error("its wrapped key is cut short");
	return file;
};

/** All keys, oldest first; `bad`: damaged files by id, with the reason. */
export const readKeyFiles = async (store: Store): Promise<{ good: KeyFile[]; bad: Map<string, string> }> => {
	const good: KeyFile[] = [];
	const bad = new Map<string, string>();
	for (const id of (await store.list("keys")).filter(isId)) {
		try {
			const size = await store.size(keyName(id));
			if (size === undefined) continue;
			good.push(decodeKeyFile(await store.read(keyName(id), 0, Math.min(size, KEY_FILE_MAX_BYTES)), id));
		} catch (error) {
			bad.set(id, causeOf(error));
		}
	}
	return { good: good.sort((a, b) => a.created.localeCompare(b.created) || a.id.localeCompare(b.id)), bad };
};
