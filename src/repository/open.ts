/** Makes and opens repositories, with one clear error for everything that is not one. */
import { randomBytes } from "node:crypto";
import { constants, readdirSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { sys } from "../../native/index.js";
import { BlockCache, createBlockCache } from "./cache.js";
import { DEFAULT_COMPRESSION, parseCompression } from "./compression.js";
import { type Config, decodeConfig, encodeConfig, FEATURE } from "./config.js";
import { keepConfigCopy } from "./config-copy.js";
import { type OpenOptions, type Repository, RepositoryError } from "./contract.js";
import { codeOf, storeError } from "./errors.js";
import { FileStore } from "./file-store.js";
import type { ScryptCost } from "./key-file.js";
import {
	BLOCK_SIZES,
	CHECKPOINT_RECORDS,
	CHECKPOINT_RECORDS_BESIDE,
	CONFIG,
	DEFAULT_BLOCK_SIZE,
	FOLDERS,
	FORMAT_VERSION,
	LOCK_PINS,
	LOCK_REPOSITORY,
	newId,
	type Random,
} from "./layout.js";
import { makeKeys } from "./manage-keys.js";
import { readConfig } from "./read-config.js";
import { FileRepository } from "./repository.js";
import { secondsText } from "./time.js";
import { openKeyring } from "./unlock.js";

/** Budget of the cache of a repository that is opened without one, bytes. */
const OWN_CACHE_BYTES = 64 * 1024 * 1024;

export interface InitOptions {
	/** bytes: a power of two from 64 KiB (default) to 1 MiB */
	blockSize?: number;
	/** "none", "lz4" (default), "zstd" or "zstd:LEVEL" */
	compression?: string;
	/** encrypts, and is the first passphrase */
	passphrase?: Buffer;
	/** of the first keys; default: about half a second for each guess */
	scrypt?: ScryptCost;
	/** injected clock and randomness */
	now?: () => Date;
	random?: Random;
}

export interface OpenRepositoryOptions extends OpenOptions {
	/** injected randomness for ids */
	random?: Random;
	/** new records after which a running backup makes what it has durable; default 262,144 (16 GiB of 64 KiB blocks) */
	checkpointRecords?: number;
	/** the same while backups of other processes run; default 4096 (256 MiB) */
	checkpointBeside?: number;
}

export interface InitResult {
	/** 32 hex digits */
	id: string;
	/** of an encrypted repository: shown once, kept nowhere */
	recoveryKey?: string;
}

/**
 * Makes a repository in a directory that is missing or empty. Rejects with RepositoryError EXISTS, NO_SPACE, READ_ONLY or IO.
 */
export const initRepository = async (path: string, options: InitOptions = {}): Promise<InitResult> => {
	const place = resolve(path);
	const blockSize = options.blockSize ?? DEFAULT_BLOCK_SIZE;
	if (!BLOCK_SIZES.includes(blockSize))
		throw new RangeError(`a block size of ${blockSize} bytes is not possible: choose 64k, 128k, 256k, 512k or 1m`);
	const compression = options.compression ?? DEFAULT_COMPRESSION;
	if (parseCompression(compression) === undefined)
		throw new RangeError(`compression "${compression}": use none, lz4, zstd or zstd:1 to zstd:19`);
	const random = options.random ?? randomBytes;
	try {
		makeFolder(place);
		const foreign = readdirSync(place).filter((name) => !(FOLDERS as readonly string[]).includes(name));
		if (foreign.includes(CONFIG)) throw new RepositoryError("EXISTS", `${place} is a repository already`);
		// What an init that was cut short leaves is only folders.
		if (foreign.length > 0)
			throw new RepositoryError(
				"EXISTS",
				`${place} is not empty (it has ${foreign[0]}): give an empty or new directory`,
			);
		refuseWithoutConfig(place);
		for (const folder of FOLDERS) makeFolder(join(place, folder));
		for (const name of [LOCK_REPOSITORY, LOCK_PINS])
			sys.close(sys.open(join(place, name), constants.O_RDWR | constants.O_CREAT, 0o666));
		sys.fsyncDirectory(join(place, "locks"));
		sys.fsyncDirectory(place);
		const config: Config = {
			version: FORMAT_VERSION,
			id: newId(random),
			created: secondsText((options.now ?? (() => new Date()))().getTime()),
			blockSize,
			compression,
			// zstd always, because nothing here is changed later and a backup may choose it.
			features: { compatible: [], readCompatible: [], incompatible: [FEATURE.zstd] },
		};
		const store = new FileStore(place, random, 1);
		try {
			let recoveryKey: string | undefined;
			if (options.passphrase !== undefined) {
				config.features.incompatible.push(FEATURE.encryption);
				recoveryKey = await makeKeys(store, config, options.passphrase, options.scrypt);
			}
			await store.put(CONFIG, Buffer.from(encodeConfig(config)));
			// The repository is there; should this fail, the first backup does it.
			await keepConfigCopy(store, config.id).catch(() => {});
			return { id: config.id, recoveryKey };
		} finally {
			await store.close();
		}
	} catch (error) {
		if (codeOf(error) === "EEXIST") throw new RepositoryError("EXISTS", `${place} is a repository already`);
		throw storeError(error, place, "making the repository");
	}
};

/** Data or keys without springback.json are of a repository that lost it: making a new one would make that final. */
const refuseWithoutConfig = (place: string): void => {
	for (const folder of ["points", "packs", "config"]) {
		const path = join(place, folder);
		if (statSync(path, { throwIfNoEntry: false }) !== undefined && readdirSync(path).length > 0)
			throw new RepositoryError(
				"EXISTS",
				`${place} has ${folder} of a repository that lost its ${CONFIG}: springback rebuild restores it`,
			);
	}
};

/** Like `mkdir -p`, durable. */
const makeFolder = (path: string): void => {
	try {
		sys.mkdir(path, 0o777);
	} catch (error) {
		if (codeOf(error) === "EEXIST" && statSync(path).isDirectory()) return;
		if (codeOf(error) !== "ENOENT" || dirname(path) === path) throw error;
		makeFolder(dirname(path));
		sys.mkdir(path, 0o777);
	}
	sys.fsyncDirectory(dirname(path));
};

/**
 * Opens a repository. Rejects with RepositoryError NOT_FOUND, NOT_A_REPOSITORY, DAMAGED, NEWER_FORMAT, ENCRYPTED
 * (no key given), WRONG_KEY or IO.
 */
export const openRepository = async (path: string, options: OpenRepositoryOptions = {}): Promise<Repository> => {
	const place = resolve(path);
	const cache = options.cache ?? createBlockCache(OWN_CACHE_BYTES);
	if (!(cache instanceof BlockCache)) throw new TypeError("the cache must come from createBlockCache");
	const random = options.random ?? randomBytes;
	const tuning = {
		random,
		checkpointRecords: options.checkpointRecords ?? CHECKPOINT_RECORDS,
		checkpointBeside: options.checkpointBeside ?? CHECKPOINT_RECORDS_BESIDE,
	};
	const store = new FileStore(place, random, options.readThreads ?? 8);
	try {
		const config = decodeConfig(await readConfig(store), place);
		const keyring = await openKeyring(store, config, options.key);
		if (options.hashContent) store.hashContent(keyring.identityKey);
		return await FileRepository.open(place, config, keyring, store, cache, tuning);
	} catch (error) {
		await store.close();
		throw storeError(error, place, "opening the repository");
	}
};
