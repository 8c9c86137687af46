/**
 * Backing up and restoring a 1 GiB disk, beside borg, restic and QEMU's compressed images.
 */
import { createHash } from "node:crypto";
import { createReadStream, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { BLOCK_SIZE, changedExtents, IMAGE_SIZE, type Images, images } from "../data/image.js";
import { settle, storedBytes, warm } from "../data/page-cache.js";
import { freshDirectory, remove, requireSpace, runDirectory } from "../data/places.js";
import { type Limits, measureLimits } from "../measure/limits.js";
import { inOrder, Series } from "../measure/pairs.js";
import { run, type Timed } from "../measure/process.js";
import { amount } from "../measure/report.js";
import { median } from "../measure/statistics.js";
import { type Archive, borg, restic } from "../peers/archives.js";
import { type BackupOutcome, Springback } from "../peers/springback.js";
import { measureParallel, type Parallel } from "./parallel.js";
import { SettingsTable } from "./repository-settings.js";
import type { Outcome, Scenario, Settings } from "./scenario.js";

const OURS = "springback";
const QCOW2 = "qemu-img, zstd qcow2";
const VM = "bench";
const MIB = 2 ** 20;

export const repository: Scenario = {
	name: "repository",
	summary: "backup and export of a 1 GiB image beside borg, restic and qemu-img",
	pairs: 3,
	quickPairs: 1,
	programs: ["borg", "restic", "qemu-img"],
	run: measure,
};

const figures = () => ({
	first: new Series("first backup", "s", "lower"),
	firstCpu: new Series("first backup, processor time", "s", "lower"),
	firstSync: new Series("first backup, then `sync`", "s", "lower"),
	again: new Series("backup again, unchanged", "s", "lower"),
	changed: new Series("backup again, 1% of the blocks changed", "s", "lower"),
	stored: new Series("stored after the first", "MiB", "lower"),
	grown: new Series("grown by the 1%", "MiB", "lower"),
	restore: new Series("to a raw file", "s", "lower"),
	restoreCpu: new Series("to a raw file, processor time", "s", "lower"),
	restoreSync: new Series("to a raw file, then `sync`", "s", "lower"),
});

async function measure(settings: Settings): Promise<Outcome> {
	const source = images(settings.say);
	requireSpace(6 * IMAGE_SIZE);
	const digests = { base: await digest(source.base), changed: await digest(source.changed) };
	const limits = measureLimits(source.base, BLOCK_SIZE, settings.quick ? 1 / 8 : 1 / 2);
	const series = figures();
	const reported: number[] = [];
	const tracked: BackupOutcome[] = [];
	const kinds = new SettingsTable();
	const qcow2 = join(freshDirectory("qcow2"), "image.qcow2");
	settings.say("compressing the image into a qcow2 for the comparison of restores");
	await run([
		...["qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c", "-o", "compression_type=zstd"],
		...[source.changed, qcow2],
	]);
	for (let pair = 0; pair < settings.pairs; pair++) {
		const ours = ourArchive(reported);
		const archives = [ours, borg(), restic()];
		for (const archive of archives) await archive.init();
		warm(source.base);
		warm(source.changed);
		await settings.noise.listen();
		await backups(archives, source, pair, series, settings);
		tracked.push(await trackedBackup(source));
		await restores([...archives, { name: QCOW2, qcow2 }], source, digests.changed, pair, series, settings);
		for (const { repository: directory } of archives) remove(directory);
		await kinds.run({ source: source.base, expected: digests.base, digest }, pair, settings);
	}
	return outcome(series, kinds, limits, source, reported, tracked, await parallelReads(source, settings));
}

/** From a repository of its own: the others are gone by now. */
async function parallelReads(source: Images, settings: Settings): Promise<Parallel> {
	const ours = new Springback(freshDirectory("parallel"));
	await ours.init();
	await ours.backup(VM, source.base);
	settle();
	return measureParallel(ours, VM, settings);
}

async function backups(
	archives: Archive[],
	source: Images,
	pair: number,
	series: ReturnType<typeof figures>,
	{ say, pairs }: Settings,
): Promise<void> {
	for (const archive of inOrder(archives, pair)) {
		const { name } = archive;
		const [timed, sync] = await timedThenSync(() => archive.backup(source.base));
		series.first.add(name, timed.seconds);
		series.firstCpu.add(name, timed.cpuSeconds);
		series.firstSync.add(name, timed.seconds + sync);
		series.stored.add(name, storedBytes(archive.repository) / MIB);
		say(`pair ${pair + 1}/${pairs}: ${name}: first backup ${timed.seconds.toFixed(2)} s`);
	}
	for (const archive of inOrder(archives, pair)) {
		const [timed] = await timedThenSync(() => archive.backup(source.base));
		series.again.add(archive.name, timed.seconds);
	}
	for (const archive of inOrder(archives, pair)) {
		const before = storedBytes(archive.repository);
		const [timed] = await timedThenSync(() => archive.backup(source.changed));
		series.changed.add(archive.name, timed.seconds);
		series.grown.add(archive.name, (storedBytes(archive.repository) - before) / MIB);
	}
}

type Restorable = Archive | { name: string; qcow2: string };

async function restores(
	sides: Restorable[],
	source: Images,
	expected: string,
	pair: number,
	series: ReturnType<typeof figures>,
	{ say, pairs }: Settings,
): Promise<void> {
	const target = join(runDirectory(), "restored.raw");
	for (const side of inOrder(sides, pair)) {
		remove(target);
		const [timed, sync] = await timedThenSync(() =>
			"qcow2" in side
				? run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", side.qcow2, target])
				: side.restore(source.changed, target),
		);
		if ((await digest(target)) !== expected) throw new Error(`${side.name} restored something else than was backed up`);
		series.restore.add(side.name, timed.seconds);
		series.restoreCpu.add(side.name, timed.cpuSeconds);
		series.restoreSync.add(side.name, timed.seconds + sync);
		say(`pair ${pair + 1}/${pairs}: ${side.name}: to a raw file ${timed.seconds.toFixed(2)} s`);
	}
	remove(target);
}

function ourArchive(reported: number[]): Archive {
	const ours = new Springback(freshDirectory("ours"));
	return {
		name: OURS,
		repository: ours.repository,
		init: () => ours.init(),
		backup: async (image) => {
			const outcome = await ours.backup(VM, image);
			reported.push(outcome.seconds - outcome.reported);
			return outcome;
		},
		restore: (_, target) => ours.export(VM, target),
	};
}

/** Everything earlier is on disk before; what the program itself left unwritten is timed apart, after it. */
async function timedThenSync(work: () => Promise<Timed>): Promise<[Timed, number]> {
	settle();
	const timed = await work();
	const start = process.hrtime.bigint();
	settle();
	return [timed, Number(process.hrtime.bigint() - start) / 1e9];
}

async function digest(path: string): Promise<string> {
	const hash = createHash("sha256");
	await pipeline(createReadStream(path, { highWaterMark: 4 * MIB }), hash);
	return hash.digest("hex");
}

/** The 1% again, in a repository of its own, where the storage knows what changed: no peer here can be told. */
async function trackedBackup(source: Images): Promise<BackupOutcome> {
	const ours = new Springback(freshDirectory("tracked"));
	await ours.init();
	await ours.backup(VM, source.base);
	const changes = join(ours.directory, "changes.json");
	writeFileSync(changes, JSON.stringify(changedExtents()));
	settle();
	const outcome = await ours.backup(VM, source.changed, changes);
	remove(ours.directory);
	return outcome;
}

function outcome(
	series: ReturnType<typeof figures>,
	kinds: SettingsTable,
	limits: Limits,
	source: Images,
	starts: number[],
	tracked: BackupOutcome[],
	parallel: Parallel,
): Outcome {
	const { first, firstCpu, firstSync, again, changed, stored, grown, restore, restoreCpu, restoreSync } = series;
	const cores = cpus().length;
	const work = limits.hashSeconds + limits.compressSeconds;
	const wall = median(first.of(OURS));
	const mib = (bytes: number) => `${(bytes / MIB).toFixed(0)} MiB`;
	return {
		conditions: [
			`Source: a 1 GiB raw ext4 image of ${source.files} files of this machine's /usr, ${mib(limits.dataBytes)} in non-zero 64 KiB blocks, in the page cache before every pair. "Changed" rewrites 1% of its 64 KiB blocks whole.`,
			'Times are of the whole process, its start included. `sync` ran before each; the rows with "then `sync`" add what one more took right afterwards: data that a program had not made durable itself.',
			"springback: 64 KiB blocks, LZ4, SHA-256, no encryption. borg: `-C lz4 --chunker-params fixed,65536`, no encryption, reads the source again. restic: its defaults (content-defined chunks, zstd, always encrypted), `--force`.",
			"Compression and encryption: our own repository made with each; its ratio is lz4 against lz4 encrypted. Processor time of an encrypted run contains half a second of scrypt. Restores verify SHA-256 (HMAC-SHA-256 where encrypted).",
			"Every restored file was compared with its source. qemu-img converts from a zstd-compressed qcow2 of the same content.",
		],
		tables: [
			{
				title: "Backup",
				sides: [OURS, "borg", "restic"],
				series: [first, firstCpu, firstSync, again, changed, stored, grown],
			},
			{ title: "Restore", sides: [OURS, QCOW2, "borg", "restic"], series: [restore, restoreCpu, restoreSync] },
			kinds.table,
			parallel.table,
		],
		remarks: [
			`One core: SHA-256 ${amount(limits.sha256 / 1e6)} MB/s, LZ4 ${amount(limits.lz4 / 1e6)} MB/s. Hashing and compressing this image costs ${work.toFixed(2)} core seconds, ${(work / cores).toFixed(2)} s on ${cores} cores: our first backup runs at ${Math.round((100 * work) / cores / wall)}% of that limit.`,
			`The 1% where the storage says what changed (\`--since\`, \`--changes\`): ${median(tracked.map(({ seconds }) => seconds)).toFixed(2)} s, ${median(tracked.map(({ read }) => read / MIB)).toFixed(1)} MiB read, ${median(tracked.map(({ newBytes }) => newBytes / MIB)).toFixed(1)} MiB new (medians).`,
			parallel.remark,
			`Of our backups' time, ${(1000 * median(starts)).toFixed(0)} ms are the start and end of the process (median).`,
		],
		plots: [parallel.plot],
	};
}
