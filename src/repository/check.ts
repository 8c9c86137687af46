/**
 * Verifies a repository and collects every fault with what it hits, instead of stopping at the first. Changes
 * nothing. Without `readData` packs are checked by their tables, and all maps are read; with it records are read too.
 */
import { Faults } from "./check-faults.js";
import { checkPacks, type PackReport } from "./check-packs.js";
import { checkPoints } from "./check-points.js";
import { checkSegments } from "./check-segments.js";
import { condemnedPacks, readCondemned } from "./condemned.js";
import { decodeConfig } from "./config.js";
import { CONFIG_COPIES, configCopyName, readConfigCopies } from "./config-copy.js";
import type { CheckOptions, CheckReport } from "./contract.js";
import { causeOf } from "./errors.js";
import { readHolds } from "./holds.js";
import type { IdentityTable } from "./identity-table.js";
import { readKeyFiles } from "./key-file.js";
import type { Keyring } from "./keyring.js";
import { CONFIG, isId, keyName, pointName, type Random } from "./layout.js";
import { PointStore } from "./points.js";
import { checkSettings } from "./settings.js";
import type { Store } from "./store.js";

/** A check, and what it learned about packs. */
export interface Survey {
	report: CheckReport;
	packs: PackReport;
	/** records that points need and that no good place in the index has */
	lost: IdentityTable;
}

export const checkRepository = async (
	store: Store,
	keyring: Keyring,
	blockSize: number,
	random: Random,
	options: CheckOptions,
): Promise<Survey> => {
	const faults = new Faults();
	await checkConfig(store, keyring.repository, faults);
	if (keyring.encrypted) await checkKeys(store, faults);
	const index = await checkSegments(store, keyring, random, faults);
	const condemned = await checkCondemned(store, keyring, faults);
	const packs = await checkPacks(store, keyring, blockSize, index, faults, options, condemned);
	const points = new PointStore(store, keyring);
	const stored = await points.list();
	for (const [id, why] of points.bad) faults.of("bad-point", pointName(id), `restore point ${id} is damaged: ${why}`);
	for (const name of await store.list("points"))
		if (!isId(name)) faults.of("unknown-file", `points/${name}`, `points/${name} is not part of a repository`);
	for (const { file, why } of await checkSettings(store, keyring))
		faults.of("bad-settings", file, `${file} is damaged: ${why}`);
	const lost = await checkPoints(store, index, packs, stored, blockSize, faults, options);
	const report = {
		points: stored.length,
		blocks: packs.blocks,
		packs: packs.count,
		bytesRead: packs.bytesRead,
		faults: faults.list(),
	};
	return { report, packs, lost };
};

/** Packs that prune is about to delete; damaged lists and holds are faults. */
const checkCondemned = async (store: Store, keyring: Keyring, faults: Faults): Promise<Set<string>> => {
	for (const { file, why } of (await readHolds(store, keyring)).bad)
		faults.of("bad-hold", file, `${file} is damaged: ${why}`);
	try {
		return condemnedPacks(await readCondemned(store));
	} catch (error) {
		faults.of("bad-condemned", "condemned", causeOf(error));
		return new Set();
	}
};

const checkConfig = async (store: Store, repository: string, faults: Faults): Promise<void> => {
	try {
		const bytes = await store.read(CONFIG, 0, (await store.size(CONFIG)) ?? 0);
		decodeConfig(bytes.toString(), store.place);
	} catch (error) {
		faults.of("bad-config", CONFIG, causeOf(error));
	}
	const { good, bad } = await readConfigCopies(store);
	for (const [file, why] of bad) faults.of("bad-config", file, `${file} is damaged: ${why}`);
	for (const { config } of good)
		if (config.id !== repository) {
			const file = configCopyName(config.id);
			faults.of("bad-config", file, `${file} is of another repository`);
		}
	for (const name of await store.list(CONFIG_COPIES))
		if (!isId(name)) faults.of("unknown-file", `config/${name}`, `config/${name} is not part of a repository`);
};

const checkKeys = async (store: Store, faults: Faults): Promise<void> => {
	const { bad } = await readKeyFiles(store);
	for (const [id, why] of bad) faults.of("bad-key", keyName(id), `key ${id} is damaged: ${why}`);
	for (const name of await store.list("keys"))
		if (!isId(name)) faults.of("unknown-file", `keys/${name}`, `keys/${name} is not part of a repository`);
};
