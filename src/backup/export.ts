/** The export flow: one disk of a restore point, in full, to a raw file or an NBD export. */
import { isNbdUri } from "../nbd/uri.js";
import type { Point, PointDisk, Progress, Repository } from "../repository/contract.js";
import { copyImage } from "./copy.js";
import { checkInterrupted, SourceError } from "./errors.js";
import { openFileTarget } from "./file-target.js";

/** Where an exported disk goes. Exactly one of `finish` and `discard` ends it. */
export interface ExportTarget {
	write(offset: number, data: Buffer): Promise<void>;
	zero(offset: number, length: number): Promise<void>;
	/** Makes it durable and visible. */
	finish(): Promise<void>;
	/** Leaves nothing behind, as far as that is possible. */
	discard(): Promise<void>;
	/** Fails what is in flight, so that a target that hangs keeps nobody waiting. */
	interrupt?(): void;
}

export interface ExportOptions {
	/** replace an existing file */
	overwrite?: boolean;
	progress?: (progress: Progress) => void;
	signal?: AbortSignal;
}

export interface ExportReport {
	point: string;
	vm: string;
	disk: string;
	target: string;
	/** bytes of the disk */
	size: number;
	/** bytes written; the rest are zeros */
	written: number;
	seconds: number;
}

/**
 * `disk`: name or number (from 0) within the point; `target`: a path or NBD URI. Rejects with SourceError or
 * RepositoryError; a file target is then as it was before.
 */
export async function exportDisk(
	repository: Repository,
	point: Point,
	disk: string,
	target: string,
	options: ExportOptions = {},
): Promise<ExportReport> {
	const began = performance.now();
	const { signal, progress } = options;
	const { name, size } = findDisk(point, disk);
	const image = await repository.openDisk(point, name, { once: true });
	try {
		checkInterrupted(signal, "export");
		const sink = isNbdUri(target)
			? await (await import("./nbd-target.js")).openNbdTarget(target, size)
			: openFileTarget(target, size, options.overwrite ?? false);
		const interrupt = () => sink.interrupt?.();
		signal?.addEventListener("abort", interrupt, { once: true });
		let written: number;
		try {
			written = await copyImage(image, sink, {
				signal,
				progress: progress && ((done) => progress({ done, total: size, what: name })),
			});
			checkInterrupted(signal, "export");
			await sink.finish();
		} catch (error) {
			await sink.discard();
			// What failed because we cut it off was interrupted, not broken.
			checkInterrupted(signal, "export");
			throw error;
		} finally {
			signal?.removeEventListener("abort", interrupt);
		}
		const seconds = Math.round(performance.now() - began) / 1000;
		return { point: point.id, vm: point.vm, disk: name, target, size, written, seconds };
	} finally {
		await image.close();
	}
}

/** A disk by its name, or else by its number. Throws SourceError USAGE that lists what there is. */
export function findDisk(point: Point, wanted: string): PointDisk {
	const disk =
		point.disks.find(({ name }) => name === wanted) ??
		(/^\d{1,4}$/.test(wanted) ? point.disks[Number(wanted)] : undefined);
	if (disk) return disk;
	const known = point.disks.map(({ name }, i) => `${i} (${name})`).join(", ");
	throw new SourceError("USAGE", `no disk "${wanted}" in this restore point of ${point.vm}; it has ${known || "none"}`);
}
