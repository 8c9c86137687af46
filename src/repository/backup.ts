/** The backup of one VM, top to bottom: enrol, stream the disks, checkpoint, commit the point (docs/format.md, 10.1). */
import { type BackupGroups, mergeIndex } from "./backup-group.js";
import { enrolBackup } from "./backup-locks.js";
import { condemnedPacks, readCondemned } from "./condemned.js";
import { keepConfigCopy } from "./config-copy.js";
import { type BackupRequest, type DiskResult, type Point, RepositoryError } from "./contract.js";
import { backupDisk, Ring } from "./disk-backup.js";
import { storeError } from "./errors.js";
import type { Index } from "./index-set.js";
import { LOCK_BYTE, newId, OBJECT_MAX_BYTES, pointName } from "./layout.js";
import { waitForLock } from "./locks.js";
import type { MapReader } from "./map-reader.js";
import { checkDiskNames, checkTag, checkVmName } from "./names.js";
import { encodePoint, type PointStore, type StoredPoint, toPoint } from "./points.js";
import type { Held } from "./store.js";
import type { WriteContext } from "./write-context.js";

export interface BackupContext extends WriteContext {
	index: Index;
	points: PointStore;
	/** the backups that run in this process */
	groups: BackupGroups;
	/** A disk's map in an older point, pinned until `release`. */
	base(point: string, disk: string): Promise<{ map: MapReader; release(): void }>;
}

export interface BackupResult {
	point: Point;
	disks: DiskResult[];
}

export const runBackup = async (request: BackupRequest, context: BackupContext): Promise<BackupResult> => {
	checkVmName(request.vm);
	checkDiskNames(request.disks.map(({ name }) => name));
	for (const tag of request.tags ?? []) checkTag(tag);
	const { store, random } = context;
	let running: { end(): Promise<void> } | undefined;
	let held: Held | undefined;
	try {
		// Repair moves packs aside that a backup may count on.
		held = await waitForLock(store, LOCK_BYTE.repair, "shared", {
			holder: "a repair",
			doing: "backup",
			signal: request.signal,
		});
		await store.sweep();
		await keepConfigCopy(store, context.keyring.repository);
		running = await enrolBackup(store, random);
		// After enrolling: a list that prune puts later names this backup, and waits for its end.
		const condemned = condemnedPacks(await readCondemned(store));
		return await stream(request, { ...context, condemned });
	} catch (error) {
		throw storeError(error, store.place, "backing up");
	} finally {
		await running?.end();
		held?.release();
	}
};

const stream = async (
	request: BackupRequest,
	context: BackupContext & { condemned: ReadonlySet<string> },
): Promise<BackupResult> => {
	const { store, index, blockSize } = context;
	await index.refresh();
	await index.adopt();
	const previous = (await context.points.list()).filter(({ vm }) => vm === request.vm);
	const taken = request.now().getTime();

	const { lane, writer, checkpointIfDue, leave } = context.groups.join(context, context.condemned);
	let stored: StoredPoint;
	const results: DiskResult[] = [];
	const bases: { release(): void }[] = [];
	try {
		const ring = new Ring(blockSize);
		const total = request.disks.reduce((sum, { image }) => sum + image.size, 0);
		const disks: StoredPoint["disks"] = [];
		let before = 0;
		for (const source of request.disks) {
			const progress = (done: number) => request.progress?.({ done: before + done, total, what: source.name });
			// Pinned to the end: the new point shares what of the old one did not change.
			const base = source.changed && (await context.base(source.changed.since, source.name));
			if (base) bases.push(base);
			const { result, root } = await backupDisk(source, {
				base: base?.map,
				lane,
				writer,
				ring,
				blockSize,
				checkpointIfDue,
				progress,
				signal: request.signal,
			});
			results.push(result);
			disks.push({ name: source.name, size: source.image.size, root: root?.toString("hex") ?? null });
			before += source.image.size;
		}
		const files: StoredPoint["files"] = [];
		for (const { name, content } of request.files) {
			const chunks: string[] = [];
			for (let at = 0; at < content.length; at += OBJECT_MAX_BYTES)
				chunks.push((await writer.storeObject(content.subarray(at, at + OBJECT_MAX_BYTES))).toString("hex"));
			files.push({ name, size: content.length, chunks });
		}
		await writer.checkpoint();
		stored = {
			version: 1,
			id: newId(context.random),
			vm: request.vm,
			taken,
			sequence: 1 + previous.reduce((highest, { sequence }) => Math.max(highest, sequence), 0),
			parent: previous.at(-1)?.id ?? null,
			disks,
			consistency: request.consistency,
			size_new: writer.recordBytes,
			config: request.config,
			files,
			facts: request.facts,
			...(request.tags?.length ? { tags: request.tags } : {}),
		};
		if (request.signal?.aborted)
			throw new RepositoryError("INTERRUPTED", "the backup was interrupted; nothing of it was kept as a restore point");
		await store.put(pointName(stored.id), encodePoint(stored, context.keyring));
	} finally {
		for (const base of bases) base.release();
		await leave();
	}
	await mergeIndex(store, index);
	return { point: toPoint(stored), disks: results };
};
