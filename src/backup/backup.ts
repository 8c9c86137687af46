/**
 * The backup flow from files and NBD exports: open the sources, read or guess the configuration, store one
 * restore point. Whatever happens, sources are closed and QEMU is gone at the end.
 */
import { LimitedImage, ReadLimit, timerUntil } from "../image/index.js";
import type { Consistency, DiskResult, Progress, Repository } from "../repository/contract.js";
import { assignDisks, guessConfig } from "../vm/index.js";
import { readChanges } from "./changes.js";
import { clockWarnings } from "./clock.js";
import { type ReadConfig, readConfig } from "./config-file.js";
import { checkInterrupted } from "./errors.js";
import { type OpenSource, openSource } from "./open-source.js";
import { parseSources } from "./source-spec.js";

export interface BackupOptions {
	vm: string;
	/** `[NAME=]SRC` as on the command line, in disk order */
	disks: readonly string[];
	/** a `.vmx` or domain XML file */
	config?: string;
	/** a restore point of the VM, and extents changed since, by disk: `[DISK=]FILE` as on the command line */
	since?: string;
	changes?: readonly string[];
	/** read the sources no faster than this, bytes per second, all disks together; or as agreed with other backups */
	readLimit?: number | ReadLimit;
	/** what is known of the state of the guest's data; default "unknown" */
	consistency?: Consistency;
	/** "none", "lz4", "zstd" or "zstd:LEVEL"; default the repository's */
	compression?: string;
	/** words that retention can tell the point by */
	tags?: string[];
	progress?: (progress: Progress) => void;
	signal?: AbortSignal;
	/** injected clock; default the system's */
	now?: () => Date;
}

export interface BackupReport {
	/** id of the new restore point */
	point: string;
	vm: string;
	disks: DiskResult[];
	seconds: number;
	/** what was assumed, guessed or left out, one sentence each */
	notes: string[];
	/** what somebody should look at, one sentence each */
	warnings: string[];
}

/** Rejects with SourceError, RepositoryError or ConfigError: one line for the user each. */
export async function backup(repository: Repository, options: BackupOptions): Promise<BackupReport> {
	const began = performance.now();
	const { vm, signal } = options;
	const specs = parseSources(options.disks);
	const given = options.config === undefined ? undefined : readConfig(options.config);
	const names = specs.map(({ name }) => name);
	const changes = await readChanges(repository, vm, names, options.since, options.changes ?? []);
	const limit =
		typeof options.readLimit === "number" ? new ReadLimit(options.readLimit, timerUntil(signal)) : options.readLimit;
	const sources: OpenSource[] = [];
	// A source that hangs must not keep an interrupted backup waiting: closing it fails its reads.
	const giveUp = () => void closeAll(sources).catch(() => {});
	signal?.addEventListener("abort", giveUp, { once: true });
	try {
		for (const spec of specs) {
			checkInterrupted(signal, "backup");
			const source = await openSource(spec, signal);
			sources.push(limit ? { ...source, image: new LimitedImage(source.image, limit) } : source);
		}
		const { config, files } = await configure(vm, sources, given);
		checkInterrupted(signal, "backup");
		const { point, disks } = await repository.backup({
			vm,
			disks: sources.map(({ name, image }) => ({ name, image, changed: changes.get(name) })),
			config,
			files,
			consistency: options.consistency ?? "unknown",
			facts: {
				sources: sources.map(({ name, kind, path, image, notes }) => ({
					disk: name,
					kind,
					path,
					size: image.size,
					changesSince: changes.get(name)?.since,
					notes,
				})),
			},
			compression: options.compression,
			tags: options.tags,
			now: options.now ?? (() => new Date()),
			progress: options.progress,
			signal,
		});
		const seconds = Math.round(performance.now() - began) / 1000;
		return {
			point: point.id,
			vm,
			disks,
			seconds,
			notes: [...sources.flatMap((source) => source.notes), ...config.notes],
			warnings: await clockWarnings(repository, point),
		};
	} catch (error) {
		// What failed because we closed it under its reader was interrupted, not broken.
		checkInterrupted(signal, "backup");
		throw error;
	} finally {
		signal?.removeEventListener("abort", giveUp);
		await closeAll(sources);
	}
}

async function configure(vm: string, sources: OpenSource[], given: ReadConfig | undefined): Promise<ReadConfig> {
	if (given) return { config: assignDisks(given.config, sources), files: given.files };
	const disks = sources.map(({ name, image, path }) => ({ name, reader: image, path }));
	return { config: await guessConfig(vm, disks), files: [] };
}

async function closeAll(sources: OpenSource[]): Promise<void> {
	await Promise.all(sources.map(({ image }) => image.close()));
}
