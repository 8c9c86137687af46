/**
 * Verifies a repository and collects every fault with what it hits, instead of stopping at the first. Changes
 * nothing. Without `readData` packs are checked by their tables, and all maps are read; with it every stored byte is.
 */

import { checkPacks } from "./check-packs.js";
import { checkPoints } from "./check-points.js";
import { checkSegments } from "./check-segments.js";
import { condemnedPacks, readCondemned } from "./condemned.js";
import { decodeConfig } from "./config.js";
import type { CheckFault, CheckReport, Progress } from "./contract.js";
import { RepositoryError } from "./contract.js";
import { causeOf } from "./errors.js";
import { readHolds } from "./holds.js";
import { readKeyFiles } from "./key-file.js";
import type { Keyring } from "./keyring.js";
import { CONFIG, isId, keyName, pointName, type Random } from "./layout.js";
import { PointStore } from "./points.js";
import type { Store } from "./store.js";

export interface CheckOptions {
	readData: boolean;
	progress?: (p: Progress) => void;
	signal?: AbortSignal;
}

/** Faults found so far, one per kind and file; hits that adjoin are joined. */
export class Faults {
	readonly #faults = new Map<string, CheckFault>();

	/** The fault of this kind in this file, made when it is new. */
	of(kind: string, file: string, message: string): CheckFault {
		const key = `${kind} ${file}`;
		let fault = this.#faults.get(key);
		if (fault === undefined) {
			fault = { kind, file, message, hits: [] };
			this.#faults.set(key, fault);
		}
		return fault;
	}

	list(): CheckFault[] {
		return [...this.#faults.values()];
	}
}

/** Adds bytes of a disk to what a fault hits. */
export const addHit = (
	fault: CheckFault,
	vm: string,
	point: string,
	disk: string,
	offset: number,
	length: number,
): void => {
	const last = fault.hits.at(-1);
	const joins =
		last?.point === point &&
		last.disk === disk &&
		last.offset !== undefined &&
		last.length !== undefined &&
		last.offset + last.length === offset;
	if (joins) last.length! += length;
	else fault.hits.push({ vm, point, disk, offset, length });
};

export const interrupted = (signal: AbortSignal | undefined): void => {
	if (signal?.aborted) throw new RepositoryError("INTERRUPTED", "the check was interrupted");
};

export const checkRepository = async (
	store: Store,
	keyring: Keyring,
	blockSize: number,
	random: Random,
	options: CheckOptions,
): Promise<CheckReport> => {
	const faults = new Faults();
	await checkConfig(store, faults);
	if (keyring.encrypted) await checkKeys(store, faults);
	const index = await checkSegments(store, keyring, random, faults);
	const condemned = await checkCondemned(store, keyring, faults);
	const packs = await checkPacks(store, keyring, blockSize, index, faults, options, condemned);
	const points = new PointStore(store, keyring);
	const stored = await points.list();
	for (const [id, why] of points.bad) faults.of("bad-point", pointName(id), `restore point ${id} is damaged: ${why}`);
	for (const name of await store.list("points"))
		if (!isId(name)) faults.of("unknown-file", `points/${name}`, `points/${name} is not part of a repository`);
	await checkPoints(store, index, packs, stored, blockSize, faults, options);
	return {
		points: stored.length,
		blocks: packs.blocks,
		packs: packs.count,
		bytesRead: packs.bytesRead,
		faults: faults.list(),
	};
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

const checkConfig = async (store: Store, faults: Faults): Promise<void> => {
	try {
		const bytes = await store.read(CONFIG, 0, (await store.size(CONFIG)) ?? 0);
		decodeConfig(bytes.toString(), store.place);
	} catch (error) {
		faults.of("bad-config", CONFIG, causeOf(error));
	}
};

const checkKeys = async (store: Store, faults: Faults): Promise<void> => {
	const { bad } = await readKeyFiles(store);
	for (const [id, why] of bad) faults.of("bad-key", keyName(id), `key ${id} is damaged: ${why}`);
	for (const name of await store.list("keys"))
		if (!isId(name)) faults.of("unknown-file", `keys/${name}`, `keys/${name} is not part of a repository`);
};
