/** What compression and encryption cost, and what they save: our own side with each setting, on the disk of the repository scenario. */
import { join } from "node:path";
import { settle, storedBytes, warm } from "../data/page-cache.js";
import { freshDirectory, remove, runDirectory } from "../data/places.js";
import { inOrder, Series } from "../measure/pairs.js";
import type { Timed } from "../measure/process.js";
import type { Table } from "../measure/report.js";
import { Springback } from "../peers/springback.js";
import type { Settings } from "./scenario.js";

interface Kind {
	name: string;
	compression: string;
	encrypt?: boolean;
}

/** The default first; the ratio is against the second: the cost of encryption. */
const KINDS: Kind[] = [
	{ name: "lz4", compression: "lz4" },
	{ name: "lz4, encrypted", compression: "lz4", encrypt: true },
	{ name: "none", compression: "none" },
	{ name: "zstd:1", compression: "zstd:1" },
	{ name: "zstd:3", compression: "zstd:3" },
	{ name: "zstd:3, encrypted", compression: "zstd:3", encrypt: true },
	{ name: "zstd:9", compression: "zstd:9" },
];
const VM = "bench";
const MIB = 2 ** 20;

/** What is backed up; hex SHA-256 of it, and how that of a file is taken. */
export interface Compared {
	source: string;
	expected: string;
	digest(path: string): Promise<string>;
}

/** Backs up and restores with every setting, once per pair. */
export class SettingsTable {
	readonly #backup = new Series("first backup", "s", "lower");
	readonly #backupCpu = new Series("first backup, processor time", "s", "lower");
	readonly #stored = new Series("stored", "MiB", "lower");
	readonly #restore = new Series("to a raw file", "s", "lower");
	readonly #restoreCpu = new Series("to a raw file, processor time", "s", "lower");

	async run({ source, expected, digest }: Compared, pair: number, { say, pairs }: Settings): Promise<void> {
		const target = join(runDirectory(), "restored.raw");
		for (const { name, compression, encrypt } of inOrder(KINDS, pair)) {
			const ours = new Springback(freshDirectory("settings"));
			await ours.init({ compression, encrypt });
			warm(source);
			const backup = await settled(() => ours.backup(VM, source));
			this.#backup.add(name, backup.seconds);
			this.#backupCpu.add(name, backup.cpuSeconds);
			this.#stored.add(name, storedBytes(ours.repository) / MIB);
			const restore = await settled(() => ours.export(VM, target));
			if ((await digest(target)) !== expected) throw new Error(`${name}: restored something else than was backed up`);
			this.#restore.add(name, restore.seconds);
			this.#restoreCpu.add(name, restore.cpuSeconds);
			remove(target);
			remove(ours.directory);
			say(
				`pair ${pair + 1}/${pairs}: ${name}: backup ${backup.seconds.toFixed(2)} s, to a raw file ${restore.seconds.toFixed(2)} s`,
			);
		}
	}

	get table(): Table {
		return {
			title: "Compression and encryption",
			sides: KINDS.map(({ name }) => name),
			series: [this.#backup, this.#backupCpu, this.#stored, this.#restore, this.#restoreCpu],
		};
	}
}

const settled = async <T extends Timed>(work: () => Promise<T>): Promise<T> => {
	settle();
	return work();
};
