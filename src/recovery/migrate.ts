/**
 * The way home: the disks of a recovered VM move to storage of its host while it runs. One after the other is copied by
 * the hypervisor. At its change-over the guest stands still for a moment; of that moment a snapshot is kept, which is
 * then compared with what the session holds. A run that dies is continued by the next one.
 */
import type { Hypervisor } from "../hypervisor/index.js";
import { connectNbd } from "../nbd/index.js";
import { type Comparison, compareImages } from "./compare.js";
import { RecoveryError } from "./errors.js";
import type { Migration, MovedDisk, RecoveryRecord } from "./records.js";
import { recoveredVm } from "./steps.js";
import type { Published, World } from "./world.js";

export interface MigrateOptions {
	/** storage of the host */
	to: string;
	/** bytes a second */
	rate?: number;
	progress?: (p: { done: number; total: number; what: string }) => void;
}

export const migrate = (session: string, options: MigrateOptions, world: World): Promise<RecoveryRecord> =>
	world.records.alone(session, async () => {
		const record = world.records.find(session);
		if (record === undefined)
			throw new RecoveryError("UNKNOWN", `session ${session} is of no recovery: springback sessions lists them`);
		if (record.ready === null || record.phase !== "ready")
			throw new RecoveryError(
				"STATE",
				`the recovery of session ${session} is not complete: run recover again, or finish it`,
			);
		const host = await world.host(record.host).open();
		const migration = await begin(record, options, host, world);
		if (migration.finished !== null) return record;
		// Also starts the mount process where it does not run.
		const published = await world.serving.publish(session, `${record.vm}@${record.point}`, record);
		for (const { disk } of published.disks) {
			if (migration.disks.some((one) => one.disk === disk)) continue;
			migration.disks.push(await moveDisk(record, disk, published, options, host, world));
			world.records.save(record);
		}
		migration.finished = world.now().toISOString();
		world.records.save(record);
		return record;
	});

/** Notes where to, and lets a guest go on that a run which died left paused. */
const begin = async (
	record: RecoveryRecord,
	{ to }: MigrateOptions,
	host: Hypervisor,
	world: World,
): Promise<Migration> => {
	await wake(record, host, world);
	const vm = await recoveredVm(record, host);
	if (vm === undefined)
		throw new RecoveryError("STATE", `VM ${record.name} is not on ${record.host} any more: nothing to migrate`);
	const before = record.migration;
	if (before?.finished != null) return before;
	if (vm.state === "off")
		throw new RecoveryError("STATE", `VM ${record.name} is off: power it on, its storage moves while it runs`);
	if (before !== null && before.to !== to && before.disks.length > 0)
		throw new RecoveryError(
			"STATE",
			`${before.disks.map(({ disk }) => disk).join(", ")} of ${record.name} went to ${before.to}: go on with --to ${before.to}`,
		);
	const migration: Migration =
		before !== null && before.to === to
			? before
			: { to, began: world.now().toISOString(), pausing: false, disks: [], finished: null };
	record.migration = migration;
	world.records.save(record);
	return migration;
};

/** A guest that we paused, and a run that died did not resume. */
export const wake = async (record: RecoveryRecord, host: Hypervisor, world: World): Promise<void> => {
	const { migration } = record;
	if (migration?.pausing !== true) return;
	// Whatever it left behind of the copy goes first, so that nobody else resumes the guest in the middle of it.
	await host.cleanUp();
	if ((await recoveredVm(record, host))?.state === "paused") await host.power(record.id, "resume");
	migration.pausing = false;
	world.records.save(record);
};

const moveDisk = async (
	record: RecoveryRecord,
	disk: string,
	published: Published,
	{ to, rate, progress }: MigrateOptions,
	host: Hypervisor,
	world: World,
): Promise<MovedDisk> => {
	const { id } = record;
	const migration = record.migration!;
	const ran = (await recoveredVm(record, host))?.state === "running";
	if (ran) {
		migration.pausing = true;
		world.records.save(record);
	}
	const began = performance.now();
	let pausedAt = began;
	const resume = async (): Promise<number> => {
		if (!ran) return 0;
		if ((await recoveredVm(record, host))?.state === "paused") await host.power(id, "resume");
		migration.pausing = false;
		world.records.save(record);
		return Math.round(performance.now() - pausedAt);
	};
	let still = false;
	let pausedMs = 0;
	let snapshot: Awaited<ReturnType<Hypervisor["snapshot"]>>;
	try {
		await host.migrateStorage(id, {
			...{ to, disks: [disk], leavePaused: true, signal: world.signal },
			...(rate === undefined ? {} : { rate }),
			progress: ({ done, total }) => {
				pausedAt = performance.now();
				progress?.({ done, total, what: disk });
			},
		});
		still = (await recoveredVm(record, host))?.state === "paused";
		snapshot = await host.snapshot(id);
	} finally {
		pausedMs = await resume();
	}
	try {
		const comparison = await compareWithSession(snapshot, disk, published, host, world, progress);
		const copySeconds = Math.round(pausedAt - began) / 1000;
		return { ...judge(record, disk, comparison, still, pausedMs, world), copySeconds };
	} finally {
		await host.removeSnapshot(snapshot, { forget: true });
	}
};

const compareWithSession = async (
	snapshot: Awaited<ReturnType<Hypervisor["snapshot"]>>,
	disk: string,
	published: Published,
	host: Hypervisor,
	{ signal }: World,
	progress: MigrateOptions["progress"],
): Promise<Comparison> => {
	const uris = published.disks.find((one) => one.disk === disk)!.uris;
	const uri = uris.find((one) => one.startsWith("nbd+unix:")) ?? uris[0];
	const { image } = await host.openDisk(snapshot, disk);
	try {
		const session = await connectNbd(uri);
		try {
			const total = session.size;
			return await compareImages(session, image, {
				signal,
				progress: (done) => progress?.({ done, total, what: `${disk} compared` }),
			});
		} finally {
			await session.close();
		}
	} finally {
		await image.close();
	}
};

/** What differs although nobody could write is damage; otherwise the guest may have written it since. */
const judge = (
	{ session }: RecoveryRecord,
	disk: string,
	{ compared, different, firstDifference, sha256 }: Comparison,
	still: boolean,
	pausedMs: number,
	{ say }: World,
): Omit<MovedDisk, "copySeconds"> => {
	if (still && different > 0)
		say(
			`disk ${disk} is NOT the same in its new place: ${different} bytes differ from byte ${firstDifference} on; session ${session} has it as it was: keep it`,
		);
	else if (different > 0)
		say(`disk ${disk}: ${different} bytes differ: the guest wrote meanwhile, so that nothing is proven`);
	return { disk, compared, sha256, verified: different === 0, different, pausedMs: still ? pausedMs : 0 };
};

/** Whether every disk was proven to be the same in its new place. */
export const isVerified = ({ migration }: RecoveryRecord): boolean =>
	migration?.finished != null && migration.disks.every(({ verified }) => verified);
