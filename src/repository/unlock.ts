/** From a passphrase to the master key: tells a wrong passphrase from damaged key files. */
import { randomBytes } from "node:crypto";
import { resolve } from "node:path";
import { type Config, decodeConfig, FEATURE } from "./config.js";
import { type KeySource, RepositoryError } from "./contract.js";
import { storeError } from "./errors.js";
import { FileStore } from "./file-store.js";
import { type KeyFile, readKeyFiles, unwrapMasterKey } from "./key-file.js";
import { Keyring, MASTER_KEY_BYTES } from "./keyring.js";
import { isId, keyName } from "./layout.js";
import { readConfig } from "./read-config.js";
import type { Store } from "./store.js";

export interface Unlocked {
	master: Buffer;
	/** the key that opened it */
	file: KeyFile;
}

/** Rejects with RepositoryError WRONG_KEY or DAMAGED. */
export const unlock = async (store: Store, repository: string, secret: Buffer): Promise<Unlocked> => {
	const { good, bad } = await readKeyFiles(store);
	for (const file of good) {
		const master = await unwrapMasterKey(file, secret, repository);
		if (master !== undefined) return { master, file };
	}
	const [damaged] = bad;
	const remedy = "restore it from a copy of the repository, or use another passphrase or the recovery key";
	if (good.length === 0)
		throw new RepositoryError(
			"DAMAGED",
			damaged === undefined
				? `${store.place}/keys is empty: without its keys nobody can open the repository; restore them from a copy`
				: `${store.place}/${keyName(damaged[0])} is damaged (${damaged[1]}): ${remedy}`,
		);
	const hint = damaged && `; ${keyName(damaged[0])} is damaged and may be the one it opens: ${remedy}`;
	throw new RepositoryError(
		"WRONG_KEY",
		`wrong passphrase: it opens none of the ${good.length} keys of ${store.place}${hint ?? ""}`,
	);
};

const needsKey = (config: Config): boolean => config.features.incompatible.includes(FEATURE.encryption);

/** The keyring of a repository that is being opened. */
export const openKeyring = async (store: Store, config: Config, source: KeySource | undefined): Promise<Keyring> =>
	needsKey(config)
		? new Keyring(config.id, await masterOf(store, config, source))
		: new Keyring((await refuseDowngrade(store, config, source)).id);

/** Who can write springback.json could make us write plain data beside the encrypted: what we know otherwise counts. */
const refuseDowngrade = async (store: Store, config: Config, source: KeySource | undefined): Promise<Config> => {
	if ((await store.list("keys")).some(isId))
		throw new RepositoryError(
			"DAMAGED",
			`${store.place} has keys, but its springback.json says that it is not encrypted: restore that file from a copy`,
		);
	if (source !== undefined && "passphrase" in source && source.expected === true)
		throw new RepositoryError(
			"UNSUPPORTED",
			`${store.place} is not encrypted, but a passphrase was given for it: is it the right repository? Give none if it is`,
		);
	return config;
};

const masterOf = async (store: Store, config: Config, source: KeySource | undefined): Promise<Buffer> => {
	if (source !== undefined && "passphrase" in source)
		return (await unlock(store, config.id, await source.passphrase())).master;
	const master = source?.masterOf(config.id);
	if (master === undefined)
		throw new RepositoryError(
			"ENCRYPTED",
			`${store.place} is encrypted: give --key-file FILE, or set SPRINGBACK_PASSPHRASE or SPRINGBACK_PASSPHRASE_FILE`,
		);
	if (master.length !== MASTER_KEY_BYTES) throw new RangeError("a master key has 32 bytes");
	return master;
};

/** The master key of an encrypted repository, for the process that will open it; undefined of a plain one. */
export const unlockRepository = async (
	path: string,
	source: KeySource | undefined,
): Promise<{ repository: string; master: Buffer } | undefined> => {
	const place = resolve(path);
	const store = new FileStore(place, randomBytes, 1);
	try {
		const config = decodeConfig(await readConfig(store), place);
		if (!needsKey(config)) {
			await refuseDowngrade(store, config, source);
			return undefined;
		}
		return { repository: config.id, master: await masterOf(store, config, source) };
	} catch (error) {
		throw storeError(error, place, "opening the repository");
	} finally {
		await store.close();
	}
};
