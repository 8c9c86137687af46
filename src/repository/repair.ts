/**
 * Repair: verifies every byte, takes damaged packs and restore points out of use, rebuilds the index, and says what stays damaged. What is
 * lost for good comes back with the next backup that has the same content, because the index names no bad copy of it.
 */
import { basename } from "node:path";
import { checkRepository } from "./check.js";
import { Faults } from "./check-faults.js";
import type { PackReport } from "./check-packs.js";
import { checkPoints } from "./check-points.js";
import { checkSegments } from "./check-segments.js";
import { condemnedPacks, readCondemned } from "./condemned.js";
import { configCopyName, keepConfigCopy, readConfigCopies } from "./config-copy.js";
import type { CheckFault, RepairOptions, RepairReport } from "./contract.js";
import { ENTRY_BYTES, IdentityTable } from "./identity-table.js";
import { LOCK_BYTE, packName, pointName } from "./layout.js";
import { waitForLock } from "./locks.js";
import { readPackTable } from "./pack-reader.js";
import { PointStore } from "./points.js";
import { moveAside } from "./quarantine.js";
import { rebuildIndex } from "./rebuild.js";
import { quarantinePacks } from "./repair-packs.js";
import { type DamagedPoints, type PointContext, quarantinePoints } from "./repair-points.js";
import type { Held } from "./store.js";
import type { WriteContext } from "./write-context.js";

export type RepairContext = WriteContext;

/** Faults of the index: segments that are bad, or that name packs which are not there. */
const INDEX_FAULTS = new Set(["bad-index", "missing-pack"]);

export const repairRepository = async (context: RepairContext, options: RepairOptions): Promise<RepairReport> => {
	const { store } = context;
	if (options.dryRun) return repair(context, options);
	await store.prepare();
	// No writer may find a record in a pack that is about to go, and nobody else may move packs or merge the index.
	const waiting = { holder: "a backup, a prune or another repair", doing: "repair", signal: options.signal };
	const use = await waitForLock(store, LOCK_BYTE.use, "exclusive", waiting);
	let backups: Held | undefined;
	try {
		backups = await waitForLock(store, LOCK_BYTE.repair, "exclusive", waiting);
		await store.sweep();
		return await repair(context, options);
	} finally {
		backups?.release();
		use.release();
	}
};

const repair = async (context: RepairContext, options: RepairOptions): Promise<RepairReport> => {
	const { store, keyring, blockSize, random } = context;
	const { dryRun = false, progress, signal, now = () => new Date() } = options;
	const { report, packs, lost } = await checkRepository(store, keyring, blockSize, random, {
		readData: true,
		progress,
		signal,
	});
	const elsewhere = await findElsewhere(context, packs, lost);
	const points = await quarantinePoints({ store, keyring, dryRun, now });
	const copies = await replaceConfigCopies({ store, keyring, dryRun, now });
	const remaining = withoutMoved(report.faults, points, copies);
	const done = {
		dryRun,
		indexRebuilt: packs.bad.size > 0 || elsewhere.count > 0 || report.faults.some(({ kind }) => INDEX_FAULTS.has(kind)),
		quarantined: [...packs.bad].sort().map(([pack, why]) => planned(pack, why, packs)),
		points: points.moved,
		bytesRead: report.bytesRead,
		remaining,
	};
	if (dryRun) return { ...done, remaining: await unhealed(context, packs, elsewhere, remaining, options) };
	if (!done.indexRebuilt) return done;
	const condemned = condemnedPacks(await readCondemned(store));
	const salvage = { ...context, condemned, now, signal, faults: report.faults };
	const packDone = (n: number, total: number) => progress?.({ done: n, total, what: "damaged packs", unit: "items" });
	const quarantined = await quarantinePacks(packs, { ...salvage, packDone });
	await rebuildIndex(store, keyring, random, { progress, signal });
	const after = await checkRepository(store, keyring, blockSize, random, { readData: false, progress, signal });
	return { ...done, quarantined, remaining: withoutMoved(after.report.faults, points, copies) };
};

/** Damaged copies of springback.json, which is good: moved aside, and the copy made anew. Returns which. */
const replaceConfigCopies = async ({ store, keyring, dryRun, now }: PointContext): Promise<string[]> => {
	const { good, bad } = await readConfigCopies(store);
	const wrong = new Map(bad);
	for (const { config } of good)
		if (config.id !== keyring.repository) wrong.set(configCopyName(config.id), "of another repository");
	for (const [file, why] of wrong) {
		if (dryRun) continue;
		const report = { version: 1, repository: keyring.repository, quarantined: now().toISOString(), why };
		await moveAside(store, file, `config-${basename(file)}`, report);
	}
	if (!dryRun) await keepConfigCopy(store, keyring.repository);
	return [...wrong.keys()];
};

/** What stays: without the points and copies that were moved, and with the reason why others were not. */
const withoutMoved = (faults: CheckFault[], { moved, kept }: DamagedPoints, copies: string[]): CheckFault[] => {
	const gone = new Set([...moved.map(({ point }) => pointName(point)), ...copies]);
	const stays = new Map([...kept].map(([id, why]) => [pointName(id), why]));
	return faults
		.filter(({ file }) => !gone.has(file))
		.map((fault) =>
			stays.has(fault.file) ? { ...fault, message: `${fault.message}; ${stays.get(fault.file)}` } : fault,
		);
};

const planned = (pack: string, why: string, packs: PackReport) => {
	const bad = [...packs.badRecords.keys()].filter((key) => key.startsWith(pack)).length;
	const good = (packs.records.get(pack) ?? 0) - bad;
	return { pack, file: packName(pack), why, good, rewritten: 0, bad: packs.walked.has(pack) ? null : bad };
};

/** Of the records that the index has no good place of, those that a pack has: a merge keeps one place of each. */
const findElsewhere = async (
	{ store, keyring }: RepairContext,
	packs: PackReport,
	lost: IdentityTable,
): Promise<IdentityTable> => {
	const found = new IdentityTable();
	if (lost.count === 0) return found;
	for (const pack of packs.sizes.keys()) {
		if (packs.bad.get(pack) !== undefined && packs.records.get(pack) === undefined) continue;
		const entries = (await readPackTable(store, pack, keyring))?.entries ?? Buffer.alloc(0);
		for (let at = 0; at < entries.length; at += ENTRY_BYTES) {
			const type = entries[at + 47];
			if (lost.find(entries, at, type) < 0 || found.find(entries, at, type) >= 0) continue;
			const place = { offset: entries.readUInt32LE(at + 36), length: entries.readUInt32LE(at + 40), rawLength: 0 };
			if (packs.faultOf({ pack, ...place }) === undefined) found.add(entries, at, type, 0);
		}
	}
	return found;
};

/** Faults that a repair would leave: those with hits that no other copy heals, and those of files that are not packs or index. */
const unhealed = async (
	{ store, keyring, blockSize, random }: RepairContext,
	packs: PackReport,
	elsewhere: IdentityTable,
	before: CheckFault[],
	{ signal }: RepairOptions,
): Promise<CheckFault[]> => {
	const faults = new Faults();
	const index = await checkSegments(store, keyring, random, new Faults());
	const points = await new PointStore(store, keyring).list();
	const options = { readData: false, signal };
	await checkPoints(store, index, packs, points, blockSize, faults, options, elsewhere);
	const stay = before.filter(({ kind }) =>
		["unknown-file", "bad-point", "bad-config", "bad-key", "bad-hold", "bad-condemned"].includes(kind),
	);
	return [...stay, ...faults.list()];
};
