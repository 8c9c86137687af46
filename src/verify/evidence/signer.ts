/** The key that signs reports: Ed25519 (RFC 8032), made at first use, in the state directory. */
import {
	createHash,
	createPrivateKey,
	createPublicKey,
	generateKeyPairSync,
	type KeyObject,
	sign,
	verify,
} from "node:crypto";
import { mkdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { readFileWhole, replaceFileDurably } from "../../../native/durable-file.js";
import { withLock } from "../../catalog/index.js";
import { EvidenceError } from "./errors.js";

export interface Signer {
	/** base64 of the public key as SubjectPublicKeyInfo (DER) */
	readonly publicKey: string;
	/** hex SHA-256 of those bytes */
	readonly fingerprint: string;
	/** held while a report takes its place in the chain of this key */
	readonly lock: string;
	/** base64, 64 bytes */
	sign(bytes: Uint8Array): string;
}

const PRIVATE = "report-key.pem";
const PUBLIC = "report-key.pub";
const LOCK = "report-key.lock";

/** Paths of the key in a state directory: the secret, and what may be given to anybody. */
export const signerPaths = (state: string): { private: string; public: string; lock: string } => ({
	private: join(state, PRIVATE),
	public: join(state, PUBLIC),
	lock: join(state, LOCK),
});

/** Rejects with EvidenceError KEY when the key is damaged or others can read it. */
export const loadSigner = async (state: string): Promise<Signer> => {
	mkdirSync(state, { recursive: true, mode: 0o700 });
	const paths = signerPaths(state);
	const key = readKey(paths.private) ?? (await withLock(paths.lock, () => readKey(paths.private) ?? makeKey(paths)));
	const publicKey = spkiOf(createPublicKey(key));
	return {
		publicKey,
		fingerprint: fingerprintOf(publicKey),
		lock: paths.lock,
		sign: (bytes) => sign(null, bytes, key).toString("base64"),
	};
};

/** Fingerprint of the key of a state directory, which is not made; undefined when there is none yet. */
export const ownFingerprint = (state: string): string | undefined => {
	const key = readKey(signerPaths(state).private);
	return key === undefined ? undefined : fingerprintOf(spkiOf(createPublicKey(key)));
};

const readKey = (path: string): KeyObject | undefined => {
	let text: Buffer;
	try {
		text = readFileWhole(path);
		if ((statSync(path).mode & 0o077) !== 0)
			throw new EvidenceError("KEY", `${path}: others can read the key that signs reports: chmod 600 ${path}`);
	} catch (error) {
		if ((error as { code?: string }).code === "ENOENT") return undefined;
		throw error;
	}
	try {
		const key = createPrivateKey(text);
		if (key.asymmetricKeyType !== "ed25519") throw new Error(`it is of type ${key.asymmetricKeyType}`);
		return key;
	} catch (cause) {
		throw new EvidenceError(
			"KEY",
			`${path} is no Ed25519 key any more: restore it from a copy, or move it away, then a new one is made and its reports are of a new key`,
			{ cause },
		);
	}
};

const makeKey = (paths: { private: string; public: string }): KeyObject => {
	const { privateKey, publicKey } = generateKeyPairSync("ed25519");
	replaceFileDurably(paths.public, Buffer.from(publicKey.export({ type: "spki", format: "pem" })), 0o644);
	replaceFileDurably(paths.private, Buffer.from(privateKey.export({ type: "pkcs8", format: "pem" })), 0o600);
	return privateKey;
};

const spkiOf = (key: KeyObject): string => key.export({ type: "spki", format: "der" }).toString("base64");

export const fingerprintOf = (publicKey: string): string =>
	createHash("sha256").update(Buffer.from(publicKey, "base64")).digest("hex");

/** Of a file with a public key (PEM), as `--key` takes it. Throws EvidenceError KEY. */
export const fingerprintOfFile = (path: string, text: Buffer): string => {
	try {
		const key = createPublicKey(text);
		if (key.asymmetricKeyType !== "ed25519") throw new Error("of another type");
		return fingerprintOf(spkiOf(key));
	} catch (cause) {
		throw new EvidenceError("KEY", `${path} holds no Ed25519 public key: give the report-key.pub of who signed`, {
			cause,
		});
	}
};

/** Whether 64 bytes in strict base64 are this key's signature of the bytes. Never throws. */
export const isSignature = (publicKey: string, bytes: Uint8Array, signature: string): boolean => {
	const raw = Buffer.from(signature, "base64");
	// The same bytes have several spellings in base64; only one is ours.
	if (raw.length !== 64 || raw.toString("base64") !== signature) return false;
	const der = Buffer.from(publicKey, "base64");
	if (der.toString("base64") !== publicKey) return false;
	try {
		const key = createPublicKey({ key: der, format: "der", type: "spki" });
		return key.asymmetricKeyType === "ed25519" && verify(null, bytes, key, raw);
	} catch {
		return false;
	}
};
