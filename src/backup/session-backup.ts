/**
 * A restore point from a session that runs: of all its disks at one moment, by what was written since its last such point
 * (or since the point below it). The session is served on, and is as protected as the point is new.
 */
import { randomBytes } from "node:crypto";
import { connectNbd, type NbdAddress, type NbdImage } from "../nbd/index.js";
import type { DiskResult, Point, Progress, Repository } from "../repository/contract.js";
import { checkInterrupted, SourceError } from "./errors.js";

export interface BackedUpSession {
	name: string;
	/** 32 hex digits */
	uuid: string;
	/** id of the repository and of the restore point that it lies over */
	repository: string;
	point: string;
}

export interface SessionBackupOptions {
	session: BackedUpSession;
	/** the mount process' UNIX socket for NBD */
	socket: string;
	/** name of the VM in the repository; default: that of the point below the session */
	as?: string;
	compression?: string;
	tags?: string[];
	progress?: (progress: Progress) => void;
	signal?: AbortSignal;
	/** injected clock; default the system's */
	now?: () => Date;
}

export interface SessionBackupReport {
	/** id of the new restore point */
	point: string;
	vm: string;
	session: string;
	/** id of the point since which only changes were read */
	since: string;
	/** UTC: all that was written until then is in it */
	until: string;
	disks: DiskResult[];
	seconds: number;
	consistency: "crash";
}

/** Under "session" in the facts of a point. */
export interface SessionFacts {
	uuid: string;
	name: string;
	/** of the frozen view: what is written later has a higher one */
	epoch: number;
}

/** Undefined for a point that was not made from a session. */
export function sessionFactsOf({ facts }: Pick<Point, "facts">): SessionFacts | undefined {
	const found = facts.session as Partial<SessionFacts> | undefined | null;
	const whole = typeof found?.uuid === "string" && typeof found.name === "string" && Number.isSafeInteger(found.epoch);
	return whole ? (found as SessionFacts) : undefined;
}

/** The newest point that was made from this session; `points`: newest last. */
export const lastPointOfSession = (points: readonly Point[], uuid: string): Point | undefined =>
	points.findLast((point) => sessionFactsOf(point)?.uuid === uuid);

/** Rejects with SourceError or RepositoryError: one line for the user each, and no restore point. */
export async function backupSession(
	repository: Repository,
	options: SessionBackupOptions,
): Promise<SessionBackupReport> {
	const began = performance.now();
	const { session, signal } = options;
	if (session.repository !== repository.id)
		throw new SourceError(
			"USAGE",
			`session ${session.name} lies over a point of another repository: name that with --repo`,
		);
	const points = await repository.points();
	const below = points.find(({ id }) => id === session.point);
	if (below === undefined)
		throw new SourceError("SOURCE", `the restore point ${session.point} below session ${session.name} is gone`);
	const base = lastPointOfSession(points, session.uuid) ?? below;
	const since = sessionFactsOf(base)?.uuid === session.uuid ? sessionFactsOf(base)!.epoch : 0;
	const files: { name: string; content: Buffer }[] = [];
	for (const { name } of below.files) files.push({ name, content: await repository.extraFile(below, name) });
	const view = `backup-${randomBytes(8).toString("hex")}`;
	const address = (disk: string): NbdAddress => ({
		socket: options.socket,
		exportName: `${session.name}/${disk}@${view}`,
		text: `disk ${disk} of session ${session.name}`,
	});
	const images: NbdImage[] = [];
	const giveUp = () => void closeAll(images).catch(() => {});
	signal?.addEventListener("abort", giveUp, { once: true });
	try {
		const taken = (options.now ?? (() => new Date()))();
		const disks = [];
		let epoch = 0;
		for (const { name } of below.disks) {
			checkInterrupted(signal, "backup");
			const image = await connectNbd(address(name));
			images.push(image);
			epoch = epochOf(image);
			disks.push({
				name,
				image,
				changed: { since: base.id, extents: await changes(address(name), since, image.size) },
			});
		}
		const { point, disks: results } = await repository.backup({
			vm: options.as ?? below.vm,
			disks,
			config: below.config,
			files,
			consistency: "crash",
			facts: { session: { uuid: session.uuid, name: session.name, epoch } satisfies SessionFacts, since: base.id },
			compression: options.compression,
			tags: options.tags,
			now: () => taken,
			progress: options.progress,
			signal,
		});
		return {
			point: point.id,
			vm: point.vm,
			session: session.name,
			since: base.id,
			until: taken.toISOString(),
			disks: results,
			seconds: Math.round(performance.now() - began) / 1000,
			consistency: "crash",
		};
	} catch (error) {
		checkInterrupted(signal, "backup");
		throw error;
	} finally {
		signal?.removeEventListener("abort", giveUp);
		await closeAll(images);
	}
}

/** What the mount process says of a frozen view (mountd/nbd/exports.ts). */
function epochOf({ description, name }: NbdImage): number {
	const match = /, frozen at epoch (\d{1,10})$/.exec(description);
	if (match === null)
		throw new SourceError("SOURCE", `${name}: is not served as a frozen view: restart its mount process`);
	return Number(match[1]);
}

/** Written since epoch `since` of the session; 0: since its restore point. */
async function changes(
	address: NbdAddress,
	since: number,
	size: number,
): Promise<{ offset: number; length: number }[]> {
	const image = await connectNbd(address, { dirtyBitmap: since === 0 ? "changed" : `changed-${since}` });
	try {
		if (!image.hasExtents)
			throw new SourceError("SOURCE", `${address.text}: its mount process does not tell what changed`);
		const found: { offset: number; length: number }[] = [];
		for (let at = 0; at < size; at += STEP)
			for (const { offset, length, kind } of await image.extents(at, Math.min(STEP, size - at)))
				if (kind === "data") found.push({ offset, length });
		return found;
	} finally {
		await image.close();
	}
}

/** Bytes asked for at once when changes are listed. */
const STEP = 64 * 1024 ** 3;

async function closeAll(images: readonly NbdImage[]): Promise<void> {
	await Promise.all(images.map((image) => image.close()));
}
