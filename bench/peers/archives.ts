/**
 * The backup programs beside which `backup` and `export` are measured. Each has a repository of its own on the same
 * disk, asks nothing, and is told to read the source again: a VM's image has always changed since the last time.
 */
import { join } from "node:path";
import { freshDirectory } from "../data/places.js";
import { run, type Timed } from "../measure/process.js";

export interface Archive {
	readonly name: string;
	/** where it stores */
	readonly repository: string;
	/** Makes an empty repository. */
	init(): Promise<void>;
	backup(image: string): Promise<Timed>;
	/** Writes the newest backup of `image` to `target`, raw. */
	restore(image: string, target: string): Promise<Timed>;
}

/** Fixed blocks of 64 KiB and LZ4, as ours; no encryption. SHA-256 identities, CRC-32 over its segments. */
export function borg(): Archive {
	const directory = freshDirectory("borg");
	const repository = join(directory, "repository");
	const env = {
		BORG_REPO: repository,
		BORG_BASE_DIR: directory,
		BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK: "yes",
		BORG_RELOCATED_REPO_ACCESS_IS_OK: "yes",
		BORG_EXIT_CODES: "legacy",
	};
	let archives = 0;
	return {
		name: "borg",
		repository,
		init: async () => void (await run(["borg", "init", "--encryption", "none"], { env })),
		backup: (image) => {
			const options = ["-C", "lz4", "--chunker-params", "fixed,65536", "--files-cache", "disabled"];
			return run(["borg", "create", ...options, `::${++archives}`, image], { env });
		},
		restore: (image, target) =>
			run(["borg", "extract", "--stdout", `::${archives}`, image.slice(1)], { env, outputFile: target }),
	};
}

/** Content-defined chunks of about 1 MiB, zstd and encryption: it has no other chunks and cannot do without the last. */
export function restic(): Archive {
	const directory = freshDirectory("restic");
	const repository = join(directory, "repository");
	const env = {
		RESTIC_REPOSITORY: repository,
		RESTIC_PASSWORD: "benchmark",
		RESTIC_CACHE_DIR: join(directory, "cache"),
		RESTIC_PROGRESS_FPS: "0.1",
	};
	return {
		name: "restic",
		repository,
		init: async () => void (await run(["restic", "init", "--repository-version", "2"], { env })),
		backup: (image) => run(["restic", "backup", "--quiet", "--force", "--host", "bench", image], { env }),
		restore: (image, target) => run(["restic", "dump", "--quiet", "latest", image], { env, outputFile: target }),
	};
}
