/**
 * Copies restore points from one repository into another. A copy is a point of its own: full, with its own id, made of
 * decoded and verified blocks, so the two repositories may differ in block size, compression and keys. When an older
 * point of the VM was copied before, only what changed since is read.
 */
import type { ChangedSince, DiskResult, Point, Progress, Repository } from "../repository/contract.js";
import { checkInterrupted } from "./errors.js";

/** In a copy's facts: what it is a copy of. */
interface CopiedFrom {
	repository: string;
	point: string;
}

export interface CopyPointOptions {
	progress?: (progress: Progress) => void;
	signal?: AbortSignal;
}

export interface CopyPointReport {
	vm: string;
	/** id in the source */
	source: string;
	/** id of the copy */
	point: string;
	/** it was there before, and nothing was done */
	existed: boolean;
	disks: DiskResult[];
}

/** Rejects with RepositoryError or SourceError INTERRUPTED; the target then has no such point. */
export async function copyPoint(
	source: Repository,
	target: Repository,
	point: Point,
	{ progress, signal }: CopyPointOptions = {},
): Promise<CopyPointReport> {
	const there = await target.points(point.vm);
	const copy = there.find(
		(one) =>
			isCopy(one, { repository: source.id, point: point.id }) ||
			isCopy(point, { repository: target.id, point: one.id }),
	);
	const report = { vm: point.vm, source: point.id };
	if (copy) return { ...report, point: copy.id, existed: true, disks: [] };
	const base = newestCopied(source.id, await source.points(point.vm), there, point);
	const files: { name: string; content: Buffer }[] = [];
	for (const { name } of point.files) files.push({ name, content: await source.extraFile(point, name) });
	const disks: { name: string; image: Awaited<ReturnType<Repository["openDisk"]>>; changed?: ChangedSince }[] = [];
	try {
		for (const { name } of point.disks) {
			checkInterrupted(signal, "copy");
			const extents = base && (await source.changes(base.from, point, name));
			const known = base?.copy.disks.some((disk) => disk.name === name) && extents;
			const image = await source.openDisk(point, name, { once: true });
			disks.push({ name, image, changed: known ? { since: base.copy.id, extents: known } : undefined });
		}
		const done = await target.backup({
			vm: point.vm,
			disks,
			config: point.config,
			files,
			consistency: point.consistency,
			facts: { ...point.facts, copiedFrom: { repository: source.id, point: point.id } satisfies CopiedFrom },
			tags: point.tags,
			now: () => new Date(point.time),
			progress,
			signal,
		});
		return { ...report, point: done.point.id, existed: false, disks: done.disks };
	} finally {
		await Promise.all(disks.map(({ image }) => image.close()));
	}
}

const copiedFrom = ({ facts }: Point): CopiedFrom | undefined => facts.copiedFrom as CopiedFrom | undefined;

const isCopy = (point: Point, { repository, point: id }: CopiedFrom): boolean =>
	copiedFrom(point)?.repository === repository && copiedFrom(point)?.point === id;

/** The newest point before this one that both have. */
function newestCopied(
	repository: string,
	points: readonly Point[],
	copies: readonly Point[],
	before: Point,
): { from: Point; copy: Point } | undefined {
	const earlier = points.slice(
		0,
		Math.max(
			0,
			points.findIndex(({ id }) => id === before.id),
		),
	);
	for (const from of earlier.reverse()) {
		const copy = copies.find((one) => isCopy(one, { repository, point: from.id }));
		if (copy) return { from, copy };
	}
	return undefined;
}
