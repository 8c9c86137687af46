/** A raw file as the target of an export: sparse, written under a temporary name beside, renamed when complete. */
import { randomBytes } from "node:crypto";
import { constants, lstatSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { type SystemError, sys } from "../../native/index.js";
import { openRaw, type RawImage } from "../image/index.js";
import { reason, SourceError } from "./errors.js";
import type { ExportTarget } from "./export.js";

/** Bytes written after which a sync is begun beside the writes, so that little is left for the last one. */
const SYNC_BYTES = 64 * 1024 * 1024;

/** What was a guest's disk is its owner's alone. */
const MODE = 0o600;

/** Throws SourceError TARGET when the file exists and may not be replaced, or cannot be made. */
export function openFileTarget(path: string, size: number, overwrite: boolean): ExportTarget {
	const fail = (error: unknown): SourceError =>
		error instanceof SourceError ? error : new SourceError("TARGET", `${path}: ${reason(error)}`, { cause: error });
	const existing = lstatSync(path, { throwIfNoEntry: false });
	if (existing && !existing.isFile())
		throw new SourceError("TARGET", `${path}: is not a regular file; name a new file, or an NBD URI for a device`);
	if (existing && !overwrite)
		throw new SourceError("TARGET", `${path}: exists already; name another file or allow it to be overwritten`);
	const folder = dirname(path);
	const temporary = join(folder, `.${basename(path).slice(0, 200)}.${randomBytes(4).toString("hex")}.part`);
	let image: RawImage;
	try {
		const fd = sys.open(temporary, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, MODE);
		try {
			sys.ftruncate(fd, size);
		} catch (error) {
			sys.close(fd);
			sys.unlink(temporary);
			throw error;
		}
		image = openRaw(temporary, { fd, writable: true });
	} catch (error) {
		throw fail(error);
	}
	let unsynced = 0;
	let syncing: Promise<void> | undefined;
	/** of a sync: never tried again, because the next one might say that all is well */
	let failure: { error: unknown } | undefined;
	const sync = async (): Promise<void> => {
		unsynced = 0;
		try {
			await image.flush();
		} catch (error) {
			failure ??= { error };
		}
		syncing = undefined;
	};
	return {
		async write(offset, data) {
			try {
				await image.write(offset, data);
			} catch (error) {
				throw fail((error as Error).cause ?? error);
			}
			unsynced += data.length;
			if (failure !== undefined) throw fail(failure.error);
			if (unsynced >= SYNC_BYTES) syncing ??= sync();
		},
		// The file was made of holes.
		async zero() {},
		async finish() {
			try {
				await syncing;
				await sync();
				if (failure !== undefined) throw failure.error;
				await image.close();
				if (overwrite) sys.rename(temporary, path);
				else place(temporary, path);
				sys.fsyncDirectory(folder);
			} catch (error) {
				throw fail(error);
			}
		},
		async discard() {
			await image.close();
			try {
				sys.unlink(temporary);
			} catch (error) {
				// Renamed already: only the directory's sync failed.
				if ((error as SystemError).code !== "ENOENT") throw fail(error);
			}
		},
	};
}

/** Renames without replacing what somebody else put there meanwhile. */
function place(from: string, to: string): void {
	try {
		sys.renameNoReplace(from, to);
	} catch (error) {
		// Not every file system can: NFS, for one.
		if (!["EINVAL", "ENOSYS", "ENOTSUP", "EOPNOTSUPP"].includes((error as SystemError).code)) throw error;
		sys.link(from, to);
		sys.unlink(from);
	}
}
