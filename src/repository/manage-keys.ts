/**
 * Passphrases and recovery keys of an encrypted repository: list, add, change, remove. Data is never rewritten: each
 * key only wraps the same master key.
 */
import { randomBytes } from "node:crypto";
import { resolve } from "node:path";
import { type Config, decodeConfig, FEATURE } from "./config.js";
import { RepositoryError } from "./contract.js";
import { storeError } from "./errors.js";
import { FileStore } from "./file-store.js";
import { encodeKeyFile, type KeyFile, readKeyFiles, SCRYPT_COST, type ScryptCost, wrapMasterKey } from "./key-file.js";
import { MASTER_KEY_BYTES } from "./keyring.js";
import { keyName, LOCK_BYTE, LOCK_REPOSITORY } from "./layout.js";
import { type KeyKind, newRecoveryKey } from "./passphrase.js";
import { readConfig } from "./read-config.js";
import type { Store } from "./store.js";
import { secondsText } from "./time.js";
import { type Unlocked, unlock } from "./unlock.js";

export interface KeyInfo {
	id: string;
	kind: KeyKind;
	/** UTC, ISO 8601, seconds precision */
	created: string;
}

/** The keys of a repository that is being made: a passphrase and a recovery key, which is returned. */
export const makeKeys = async (
	store: Store,
	config: Config,
	passphrase: Buffer,
	cost: ScryptCost = SCRYPT_COST,
): Promise<string> => {
	// Keys of an `init` that was cut short wrap a master key that nothing was encrypted with.
	for (const name of await store.list("keys")) await store.remove(`keys/${name}`);
	const master = randomBytes(MASTER_KEY_BYTES);
	const recoveryKey = newRecoveryKey();
	await put(store, await wrapMasterKey(master, passphrase, "passphrase", config.id, config.created, cost));
	await put(store, await wrapMasterKey(master, Buffer.from(recoveryKey), "recovery", config.id, config.created, cost));
	return recoveryKey;
};

const put = (store: Store, file: KeyFile): Promise<void> => store.put(keyName(file.id), encodeKeyFile(file));

const infoOf = ({ id, kind, created }: KeyFile): KeyInfo => ({ id, kind, created });

export interface KeyManagerOptions {
	/** injected clock */
	now?: () => Date;
	/** of keys that are made; what opens them is in their files */
	scrypt?: ScryptCost;
}

export class KeyManager {
	readonly #config: Config;
	readonly #store: FileStore;
	readonly #now: () => Date;
	readonly #cost: ScryptCost;

	private constructor(store: FileStore, config: Config, options: KeyManagerOptions) {
		this.#store = store;
		this.#config = config;
		this.#now = options.now ?? (() => new Date());
		this.#cost = options.scrypt ?? SCRYPT_COST;
	}

	/** Rejects with RepositoryError as openRepository does, and with UNSUPPORTED when the repository is not encrypted. */
	static async open(path: string, options: KeyManagerOptions = {}): Promise<KeyManager> {
		const place = resolve(path);
		const store = new FileStore(place, randomBytes, 1);
		try {
			const config = decodeConfig(await readConfig(store), place);
			if (config.features.incompatible.includes(FEATURE.encryption)) return new KeyManager(store, config, options);
			throw new RepositoryError("UNSUPPORTED", `${place} is not encrypted: it has no keys (init --encrypt makes some)`);
		} catch (error) {
			await store.close();
			throw storeError(error, place, "opening the repository");
		}
	}

	/** All keys; `bad`: damaged files by id, with the reason. Needs no passphrase. */
	async list(): Promise<{ keys: KeyInfo[]; bad: Map<string, string> }> {
		const { good, bad } = await readKeyFiles(this.#store);
		return { keys: good.map(infoOf), bad };
	}

	/** Proves a passphrase before more is asked for; rejects with WRONG_KEY or DAMAGED. */
	unlock(secret: Buffer): Promise<Unlocked> {
		return unlock(this.#store, this.#config.id, secret);
	}

	/** Adds a passphrase. */
	addPassphrase(unlocked: Unlocked, passphrase: Buffer): Promise<KeyInfo> {
		return this.#locked(() => this.#add(unlocked, passphrase, "passphrase"));
	}

	/** Adds a recovery key, which is shown once. */
	async addRecoveryKey(unlocked: Unlocked): Promise<KeyInfo & { recoveryKey: string }> {
		const recoveryKey = newRecoveryKey();
		const info = await this.#locked(() => this.#add(unlocked, Buffer.from(recoveryKey), "recovery"));
		return { ...info, recoveryKey };
	}

	/** Removes a key, also a damaged one, by the first digits of its id; never the last that can be used. */
	remove(_proof: Unlocked, id: string): Promise<{ id: string; kind: KeyKind | "damaged" }> {
		return this.#locked(async () => {
			const { good, bad } = await readKeyFiles(this.#store);
			const damaged = [...bad.keys()].map((name) => ({ id: name, kind: "damaged" as const }));
			const found = this.#find([...good.map(infoOf), ...damaged], id);
			if (found.kind !== "damaged" && good.length === 1)
				throw new RepositoryError(
					"UNSUPPORTED",
					`key ${found.id.slice(0, 8)} is the last one of ${this.#store.place}: add another before you remove it`,
				);
			await this.#store.remove(keyName(found.id));
			return found;
		});
	}

	/** Replaces a passphrase, by default the one that unlocked. The new one is durable before the old one goes. */
	change(unlocked: Unlocked, passphrase: Buffer, id = unlocked.file.id): Promise<KeyInfo> {
		return this.#locked(async () => {
			const { good } = await readKeyFiles(this.#store);
			const old = this.#find(good, id);
			if (old.kind === "recovery")
				throw new RepositoryError(
					"UNSUPPORTED",
					`key ${old.id.slice(0, 8)} is a recovery key: name the passphrase to change (springback key list), or use key add`,
				);
			const info = await this.#add(unlocked, passphrase, "passphrase");
			await this.#store.remove(keyName(old.id));
			return info;
		});
	}

	async #add({ master }: Unlocked, secret: Buffer, kind: KeyKind): Promise<KeyInfo> {
		const created = secondsText(this.#now().getTime());
		const file = await wrapMasterKey(master, secret, kind, this.#config.id, created, this.#cost);
		await put(this.#store, file);
		return infoOf(file);
	}

	#find<Key extends { id: string }>(files: Key[], id: string): Key {
		const found = id.length < 4 ? [] : files.filter((file) => file.id.startsWith(id));
		if (found.length === 1) return found[0];
		throw new RepositoryError(
			found.length === 0 ? "NOT_FOUND" : "AMBIGUOUS",
			`${found.length === 0 ? "no" : "more than one"} key "${id}" in ${this.#store.place}: springback key list shows them`,
		);
	}

	/** One change at a time, so that two cannot remove each other's last key. */
	async #locked<T>(work: () => Promise<T>): Promise<T> {
		try {
			const held = await this.#store.lock(LOCK_REPOSITORY, LOCK_BYTE.keys, "exclusive");
			if (held === undefined)
				throw new RepositoryError("LOCKED", `the keys of ${this.#store.place} are being changed: try again`);
			try {
				return await work();
			} finally {
				held.release();
			}
		} catch (error) {
			throw storeError(error, this.#store.place, "changing keys");
		}
	}

	async close(): Promise<void> {
		await this.#store.close();
	}
}
