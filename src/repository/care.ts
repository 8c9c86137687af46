/** Looks after an open repository: check, repair, rebuild, forget, prune, and what it counts. Errors are for the user here. */
import { checkRepository } from "./check.js";
import type {
	CheckOptions,
	CheckReport,
	ForgetOptions,
	ForgetReport,
	PruneOptions,
	PruneReport,
	RebuildReport,
	RepairOptions,
	RepairReport,
	RepositoryStats,
} from "./contract.js";
import { codeOf, storeError } from "./errors.js";
import { runForget } from "./forget.js";
import type { Index } from "./index-set.js";
import { LOCK_BYTE } from "./layout.js";
import { takeLock } from "./locks.js";
import { presentPacks } from "./pack-inventory.js";
import type { PointStore } from "./points.js";
import { runPrune } from "./prune.js";
import { type RebuildOptions, rebuildRepository } from "./rebuild.js";
import { repairRepository } from "./repair.js";
import type { Held, Store } from "./store.js";
import type { WriteContext } from "./write-context.js";

export interface CareContext extends WriteContext {
	index: Index;
	points: PointStore;
}

export const forget = (options: ForgetOptions, context: CareContext): Promise<ForgetReport> =>
	runForget(options, context);

export const prune = (options: PruneOptions, context: CareContext): Promise<PruneReport> => runPrune(options, context);

export const check = async (options: CheckOptions, context: CareContext): Promise<CheckReport> => {
	const { store, keyring, blockSize, random } = context;
	const lock = await keepPruneOut(store, "check");
	try {
		return (await checkRepository(store, keyring, blockSize, random, options)).report;
	} catch (error) {
		throw storeError(error, store.place, "checking");
	} finally {
		lock.release();
	}
};

export const repair = async (options: RepairOptions, context: CareContext): Promise<RepairReport> => {
	const { store } = context;
	const lock = await keepPruneOut(store, "repair");
	try {
		return await repairRepository(context, options);
	} catch (error) {
		throw storeError(error, store.place, "repairing");
	} finally {
		lock.release();
	}
};

/** What is deleted under a check or repair would be reported as lost. */
const keepPruneOut = async (store: Store, doing: string): Promise<Held> => {
	try {
		return await takeLock(store, LOCK_BYTE.prune, "shared", { holder: "a prune", doing });
	} catch (error) {
		// A read-only copy without lock files: nobody deletes from it.
		if (["EROFS", "ENOENT"].includes(codeOf(error))) return { release: () => {} };
		throw storeError(error, store.place, "checking");
	}
};

export const rebuild = async (options: RebuildOptions, context: CareContext): Promise<RebuildReport> => {
	const { store, keyring, random } = context;
	try {
		return await rebuildRepository(store, keyring, random, options);
	} catch (error) {
		throw storeError(error, store.place, "rebuilding the index");
	}
};

export const stats = async ({ store, index, points }: CareContext): Promise<RepositoryStats> => {
	try {
		await index.refresh();
		const all = await points.list();
		let storedBytes = 0;
		let uniqueBytes = 0;
		const packs = new Map<string, number>();
		for (const segment of index.segments) {
			storedBytes += segment.size;
			uniqueBytes += segment.trailer.rawBytes;
			for (const { id, size } of segment.packs) packs.set(id, size);
		}
		const present = await presentPacks(store);
		for (const [id, size] of packs) if (present.has(id)) storedBytes += size;
		const logicalBytes = all.flatMap(({ disks }) => disks).reduce((sum, { size }) => sum + size, 0);
		return { points: all.length, packs: present.size, storedBytes, uniqueBytes, logicalBytes };
	} catch (error) {
		throw storeError(error, store.place, "counting");
	}
};
