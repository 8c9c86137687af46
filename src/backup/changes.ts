/**
 * What the user knows to have changed since a restore point: `--since POINT` and `--changes [DISK=]FILE`, where FILE is
 * a JSON array of extents as change trackers print them (`rbd diff --format json`, a script over a thin pool or ZFS).
 */
import { readFileSync } from "node:fs";
import { type ChangedSince, type Repository, RepositoryError } from "../repository/contract.js";
import { reason, SourceError } from "./errors.js";
import { splitDiskName } from "./source-spec.js";

/** Extents by disk name, of the point `since`. Throws SourceError USAGE or SOURCE. */
export async function readChanges(
	repository: Repository,
	vm: string,
	disks: readonly string[],
	since: string | undefined,
	files: readonly string[],
): Promise<Map<string, ChangedSince>> {
	const changes = new Map<string, ChangedSince>();
	if (since === undefined && files.length === 0) return changes;
	if (since === undefined) throw new SourceError("USAGE", "--changes needs --since POINT: changed since when?");
	if (files.length === 0) throw new SourceError("USAGE", "--since needs --changes [DISK=]FILE: what changed since?");
	const point = await repository.resolve(since.includes("@") ? since : `${vm}@${since}`);
	if (point.vm !== vm)
		throw new SourceError("USAGE", `--since ${since}: that is a restore point of ${point.vm}, not of ${vm}`);
	for (const [n, text] of files.entries()) {
		const { disk: named, rest: path } = splitDiskName(text);
		const disk = named ?? disks[n];
		if (disk === undefined || !disks.includes(disk))
			throw new SourceError(
				"USAGE",
				`--changes ${text}: there is no disk ${disk ?? n}; it is one of ${disks.join(", ")}`,
			);
		if (changes.has(disk)) throw new SourceError("USAGE", `--changes ${text}: the changes of ${disk} are given twice`);
		if (!point.disks.some(({ name }) => name === disk))
			throw new RepositoryError(
				"UNKNOWN_POINT",
				`restore point ${point.id.slice(0, 8)} of ${vm} has no disk ${disk}: back it up without --changes`,
			);
		changes.set(disk, { since: point.id, extents: readExtents(path) });
	}
	return changes;
}

function readExtents(path: string): { offset: number; length: number }[] {
	let list: unknown;
	try {
		list = JSON.parse(readFileSync(path, "utf8"));
	} catch (error) {
		throw new SourceError("SOURCE", `${path}: ${error instanceof SyntaxError ? "is not JSON" : reason(error)}`);
	}
	if (!Array.isArray(list)) throw new SourceError("SOURCE", `${path}: is not a JSON array of extents`);
	return list.map((one, n) => {
		const { offset, length } = (one ?? {}) as { offset?: unknown; length?: unknown };
		if (!isBytes(offset) || !isBytes(length))
			throw new SourceError("SOURCE", `${path}: extent ${n} needs "offset" and "length" in bytes`);
		return { offset, length };
	});
}

const isBytes = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
