/**
 * Makes `springback.json` anew when it is lost or damaged: from the repository's copy of it, else from what packs, points and
 * keys tell. A damaged one is moved aside.
 */
import { randomBytes } from "node:crypto";
import { resolve } from "node:path";
import { DEFAULT_COMPRESSION } from "./compression.js";
import { type Config, decodeConfig, encodeConfig, FEATURE } from "./config.js";
import { type ConfigCopy, keepConfigCopy, readConfigCopies } from "./config-copy.js";
import { type KeySource, RepositoryError } from "./contract.js";
import { causeOf, codeOf, storeError } from "./errors.js";
import { FileStore } from "./file-store.js";
import { possibleBlockSizes } from "./guess-block-size.js";
import { Index } from "./index-set.js";
import { CONFIG, FORMAT_VERSION, isId, packName, type Random } from "./layout.js";
import { headerFacts, PACK_HEADER_BYTES } from "./pack-format.js";
import { presentPacks } from "./pack-inventory.js";
import { PointStore } from "./points.js";
import { moveAside } from "./quarantine.js";
import { readConfig } from "./read-config.js";
import type { Store } from "./store.js";
import { secondsText } from "./time.js";
import { openKeyring } from "./unlock.js";

export interface RestoreConfigOptions {
	/** opens an encrypted repository; asked for only when no copy of the file is left */
	key?: KeySource;
	/** bytes; wanted only where nothing that is stored tells it */
	blockSize?: number;
	/** injected clock and randomness */
	now?: () => Date;
	random?: Random;
}

export interface RestoredConfig {
	/** what it was made of: the repository's copy, or its packs */
	from: "copy" | "packs";
	/** settings that nothing tells any more, and what they were set to */
	guessed: string[];
	/** where the damaged file is now, relative; absent: there was none */
	aside?: string;
}

/**
 * Undefined when nothing is wrong with springback.json. Rejects with RepositoryError as openRepository does where there is no
 * repository at all, or a newer one, and with DAMAGED or UNSUPPORTED when what is left does not tell enough.
 */
export const restoreConfig = async (
	path: string,
	options: RestoreConfigOptions = {},
): Promise<RestoredConfig | undefined> => {
	const place = resolve(path);
	const store = new FileStore(place, options.random ?? randomBytes, 1);
	try {
		const wrong = await faultOfConfig(store);
		return wrong === undefined ? undefined : await restore(store, wrong, options);
	} catch (error) {
		throw storeError(error, place, "restoring springback.json");
	} finally {
		await store.close();
	}
};

const faultOfConfig = async (store: Store): Promise<RepositoryError | undefined> => {
	let text: string | undefined;
	try {
		text = await readConfig(store);
		decodeConfig(text, store.place);
		return undefined;
	} catch (error) {
		if (!(error instanceof RepositoryError)) throw error;
		if (error.code === "DAMAGED") return error;
		// Lost, or ours with a changed first line; what another program wrote is left to it.
		const ours = text === undefined || text.includes('"checksum"');
		if (error.code === "NOT_A_REPOSITORY" && ours) return error;
		throw error;
	}
};

const restore = async (
	store: Store,
	wrong: RepositoryError,
	options: RestoreConfigOptions,
): Promise<RestoredConfig> => {
	const { good } = await readConfigCopies(store);
	const packs = await readHeaders(store);
	// Neither a copy nor a pack: whatever this is, it is not known to be a repository.
	if (good.length === 0 && packs.repository === undefined) throw wrong;
	const copy = good.find(({ config }) => packs.repository === undefined || config.id === packs.repository);
	await store.prepare();
	const found = copy === undefined ? await fromPacks(store, packs, options) : fromCopy(copy);
	const restored: RestoredConfig = { from: found.from, guessed: found.guessed };
	if ((await store.size(CONFIG)) !== undefined)
		restored.aside = await moveAside(store, CONFIG, CONFIG, {
			version: 1,
			repository: found.config.id,
			quarantined: (options.now ?? (() => new Date()))().toISOString(),
			why: causeOf(wrong),
		});
	await store.put(CONFIG, Buffer.from(found.text));
	await keepConfigCopy(store, found.config.id);
	return restored;
};

type Found = ConfigCopy & { from: "copy" | "packs"; guessed: string[] };

const fromCopy = (copy: ConfigCopy): Found => ({ ...copy, from: "copy", guessed: [] });

interface Headers {
	/** undefined: there is no pack with a good header */
	repository: string | undefined;
	encrypted: boolean;
}

/** What all packs say of their repository. */
const readHeaders = async (store: Store): Promise<Headers> => {
	const found: Headers = { repository: undefined, encrypted: false };
	for (const id of await presentPacks(store)) {
		const facts = await readHeader(store, id);
		if (facts === undefined) continue;
		found.encrypted ||= facts.encrypted;
		if (found.repository !== undefined && found.repository !== facts.repository)
			throw new RepositoryError(
				"DAMAGED",
				`${store.place} has packs of two repositories (${found.repository} and ${facts.repository}): move those that do not belong to it away`,
			);
		found.repository = facts.repository;
	}
	return found;
};

const readHeader = async (store: Store, id: string) => {
	try {
		return headerFacts(await store.read(packName(id), 0, PACK_HEADER_BYTES), id);
	} catch (error) {
		if (["ENOENT", "EIO"].includes(codeOf(error))) return undefined;
		throw error;
	}
};

const fromPacks = async (store: Store, packs: Headers, options: RestoreConfigOptions): Promise<Found> => {
	const keys = (await store.list("keys")).some(isId);
	if (packs.encrypted && !keys)
		throw new RepositoryError(
			"DAMAGED",
			`${store.place}/keys is empty, but packs are encrypted: restore the keys from a copy`,
		);
	const incompatible: string[] = packs.encrypted || keys ? [FEATURE.zstd, FEATURE.encryption] : [FEATURE.zstd];
	const config: Config = {
		version: FORMAT_VERSION,
		id: packs.repository ?? "",
		created: secondsText((options.now ?? (() => new Date()))().getTime()),
		blockSize: 0,
		compression: DEFAULT_COMPRESSION,
		features: { compatible: [], readCompatible: [], incompatible },
	};
	// With encryption this proves the id: it is bound into every key.
	const keyring = await openKeyring(store, config, options.key);
	const index = new Index(store, keyring, options.random ?? randomBytes, { write: false });
	await index.refresh();
	await index.adopt();
	const points = await new PointStore(store, keyring).list();
	const possible = await possibleBlockSizes(store, index, await presentPacks(store), points);
	const { blockSize } = options;
	if (possible.length !== 1 && (blockSize === undefined || !possible.includes(blockSize)))
		throw new RepositoryError(
			"UNSUPPORTED",
			`${store.place}: nothing that is stored tells the block size: give --block-size, one of ${possible.map((size) => `${size / 1024}k`).join(", ")}; init makes 64k unless told otherwise`,
		);
	config.blockSize = possible.length === 1 ? possible[0] : (blockSize as number);
	if (points.length > 0) config.created = secondsText(Math.min(...points.map(({ taken }) => taken)));
	const guessed = [`compression ${config.compression}`, `created ${config.created}`];
	const text = encodeConfig(config);
	return { config, text, from: "packs", guessed };
};
