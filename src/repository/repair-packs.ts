/** Repair, the packs: stores again what is good in a damaged pack, then moves the pack aside. */
import { availableParallelism } from "node:os";
import { createLane, type Lane } from "../../native/index.js";
import { interrupted } from "./check-faults.js";
import type { PackReport } from "./check-packs.js";
import type { CheckFault, QuarantinedPack } from "./contract.js";
import { codeOf } from "./errors.js";
import { Index } from "./index-set.js";
import type { Keyring } from "./keyring.js";
import { IDENTITY_BYTES, packName, TYPE } from "./layout.js";
import { type PackTable, readPackTable } from "./pack-reader.js";
import { moveAside } from "./quarantine.js";
import { RecordVerifier, type Verified } from "./record-verifier.js";
import { RecordWriter } from "./record-writer.js";
import type { WriteContext } from "./write-context.js";

export interface SalvageContext extends WriteContext {
	/** packs that prune is about to delete: a copy in one of them does not count */
	condemned: ReadonlySet<string>;
	now: () => Date;
	signal: AbortSignal | undefined;
	/** faults of the check that came before: what is known of each pack goes into its report */
	faults: CheckFault[];
	packDone: (done: number, total: number) => void;
}

/**
 * Takes the packs of `report.bad` out of use, one at a time: good records that no other pack has are durable in a new pack, and
 * in the index, before the damaged one moves. So it may be cut short anywhere and run again.
 */
export const quarantinePacks = async (report: PackReport, context: SalvageContext): Promise<QuarantinedPack[]> => {
	const lane = createLane("repository-repair", availableParallelism());
	try {
		const index = await goodIndex(report, context);
		const quarantined: QuarantinedPack[] = [];
		for (const [pack, why] of [...report.bad].sort()) {
			interrupted(context.signal);
			quarantined.push(await quarantinePack(pack, why, report, index, lane, context));
			context.packDone(quarantined.length, report.bad.size);
		}
		return quarantined;
	} finally {
		await lane.close();
	}
};

/** An index in which damaged packs count as gone. */
const goodIndex = async (report: PackReport, { store, keyring, random }: SalvageContext): Promise<Index> => {
	const index = new Index(store, keyring, random, { write: false });
	await index.refresh();
	await index.adopt();
	for (const { packs, gone } of index.segments)
		packs.forEach(({ id }, row) => {
			if (report.bad.has(id)) gone[row] = 1;
		});
	return index;
};

const quarantinePack = async (
	pack: string,
	why: string,
	report: PackReport,
	index: Index,
	lane: Lane,
	context: SalvageContext,
): Promise<QuarantinedPack> => {
	const { store, blockSize, signal } = context;
	const file = packName(pack);
	const table = await tableOf(pack, context);
	const writer = new RecordWriter(store, index, lane, context);
	const verifier = new RecordVerifier(store, context.keyring, blockSize);
	const counts = { good: 0, rewritten: 0, bad: 0 };
	try {
		await verifier.verify(pack, table?.entries ?? Buffer.alloc(0), async (records, buffer, slot) => {
			interrupted(signal);
			const good = records.filter(({ fault }) => fault === undefined).length;
			counts.good += good;
			counts.bad += records.length - good;
			const stored = await storeAgain(records, buffer, slot, writer);
			counts.rewritten += stored;
		});
		await verifier.drain();
		await writer.checkpoint();
	} catch (error) {
		await writer.leave();
		throw error;
	} finally {
		await verifier.close();
	}
	const counted = { ...counts, bad: table === undefined || table.walked ? null : counts.bad };
	const known = context.faults.filter((fault) => fault.file === file).map((fault) => reported(fault, context.keyring));
	const moved = await moveAside(store, file, pack, {
		version: 1,
		repository: context.keyring.repository,
		pack,
		quarantined: context.now().toISOString(),
		why,
		size: report.sizes.get(pack),
		...counted,
		faults: known,
	});
	return { pack, file: moved, why, ...counted };
};

/** What the report says of a fault. Beside encrypted data it keeps quiet about names of VMs, disks and files. */
const reported = (fault: CheckFault, { encrypted }: Keyring): Partial<CheckFault> =>
	encrypted ? { kind: fault.kind, ...(fault.ranges && { ranges: fault.ranges }) } : fault;

/** The table, as far as the disk gives it. */
const tableOf = async (pack: string, { store, keyring }: SalvageContext): Promise<PackTable | undefined> => {
	try {
		return await readPackTable(store, pack, keyring);
	} catch (error) {
		if (codeOf(error) !== "EIO") throw error;
		return undefined;
	}
};

/** Stores the good records of one batch that no good pack has; returns how many. */
const storeAgain = async (records: Verified[], buffer: Buffer, slot: number, writer: RecordWriter): Promise<number> => {
	const identities = Buffer.alloc(records.length * IDENTITY_BYTES);
	const chosen: number[] = [];
	const entries: number[] = [];
	let stored = 0;
	const stores: Promise<unknown>[] = [];
	for (const [n, { type, identity, plain, fault }] of records.entries()) {
		identity.copy(identities, n * IDENTITY_BYTES);
		if (fault !== undefined || (await writer.has(identity, 0, type))) continue;
		if (type === TYPE.page) {
			const bytes = Buffer.from(plain);
			await writer.storePages([{ identity: writer.keyring.identityOf(bytes), bytes }]);
		} else if (type === TYPE.object) await writer.storeObject(plain);
		else {
			const entry = writer.claim(identity, 0, type, plain.length);
			if (entry < 0) continue;
			if (plain.length === slot) {
				chosen.push(n);
				entries.push(entry);
			} else stores.push(writer.storeBlocks(plain, slot, [0], [entry], Buffer.from(identity)));
		}
		stored += 1;
	}
	if (chosen.length > 0)
		stores.push(writer.storeBlocks(buffer.subarray(0, records.length * slot), slot, chosen, entries, identities));
	await Promise.all(stores);
	return stored;
};
