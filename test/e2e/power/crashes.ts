/**
 * Power losses at chosen moments of a record: makes the disk that each leaves, opens the session on it, and compares
 * what every writer finds with the states that it may find.
 */
import { closeSync, openSync } from "node:fs";
import { join } from "node:path";
import type { SessionTree } from "../../../src/overlay/index.js";
import { type PatternBase, readAll } from "../../overlay/lab.js";
import { must } from "../workspace.js";
import { openState, recoverFileSystem } from "./crash-image.js";
import type { WriteLog } from "./write-log.js";
import { type Part, REGION, samePart, type Writer } from "./writers.js";

/** What becomes of the requests since the last flush; "pages" and "sectors": some of each write's. */
type Fate = "none" | "all" | "pages" | "sectors";

export interface Moment {
	/** this many entries of the record had been carried out */
	count: number;
	fate: Fate;
}

export class Crashes {
	/** comparisons, and the operations that had to be there, summed up */
	readonly checked = { states: 0, operations: 0 };
	/** entries that the disk has: all up to a flush */
	#replayed = 0;
	readonly #disk: string;

	constructor(
		readonly record: WriteLog,
		/** the disk before the first entry; changed */
		initial: string,
		readonly directory: string,
		readonly writers: Writer[],
		readonly base: PatternBase,
		readonly chance: () => number,
	) {
		this.#disk = initial;
	}

	/**
	 * Moments in order, from the first operation on: right after acknowledgements and right after flushes, where what
	 * was not flushed is gone, and anywhere.
	 */
	choose(count: number): Moment[] {
		const { entries } = this.record;
		const below = (limit: number) => Math.floor(this.chance() * limit);
		const operations = this.writers.flatMap((writer) => writer.operations);
		const begin = Math.min(...operations.map(({ began }) => began));
		const acknowledged = operations.flatMap(({ stable }) => stable ?? []);
		const flushes = entries.flatMap(({ at, flush }, index) => (flush && at >= begin ? [index + 1] : []));
		const first = this.#before(begin);
		const moments = Array.from({ length: count }, (_, index): Moment => {
			if (index % 4 < 2) return { count: this.#before(acknowledged[below(acknowledged.length)]), fate: "none" };
			if (index % 4 === 2) return { count: flushes[below(flushes.length)], fate: "none" };
			const fate = (["all", "pages", "sectors"] as const)[below(3)];
			return { count: first + below(entries.length - first + 1), fate };
		});
		return moments.sort((a, b) => a.count - b.count);
	}

	/** Throws when something is not as it must be. Moments come in order. */
	async try({ count, fate }: Moment): Promise<void> {
		const { entries, end } = this.record;
		let flushed = count;
		while (flushed > 0 && !entries[flushed - 1].flush) flushed--;
		this.#change(this.#disk, (disk) => this.record.replay(disk, this.#replayed, flushed));
		this.#replayed = Math.max(this.#replayed, flushed);
		const image = join(this.directory, "crashed.raw");
		await must("cp", ["--sparse=auto", this.#disk, image]);
		this.#change(image, (disk) => {
			const mood = [0.1, 0.5, 0.9][Math.floor(this.chance() * 3)];
			if (fate === "all") this.record.replay(disk, flushed, count);
			else if (fate !== "none") this.record.replaySome(disk, flushed, count, fate, () => this.chance() < mood);
		});
		try {
			await recoverFileSystem(image);
			const tree = await openState(image, join(this.directory, "state"), this.base);
			try {
				await this.#compare(tree, entries[count]?.at ?? end);
			} finally {
				await tree.close();
			}
		} catch (cause) {
			throw new Error(`power loss after ${count} requests, ${fate} of those since the last flush: ${cause}`, { cause });
		}
	}

	async #compare(tree: SessionTree, end: number): Promise<void> {
		for (const writer of this.writers) {
			const { least, most } = writer.bounds(end);
			const found = await partOf(tree, writer);
			if (writer.find(least, most, (part) => samePart(part, found)) < 0) {
				const other = writer.find(0, writer.operations.length, (part) => samePart(part, found));
				const what = other < 0 ? "no state that ever was" : `the state after ${other} operations`;
				throw new Error(`writer ${writer.index} finds ${what}, not one of ${least}…${most}`);
			}
			this.checked.states++;
			this.checked.operations += least;
		}
	}

	/** How many entries begin before a place in the record. */
	#before(place: number): number {
		const index = this.record.entries.findIndex(({ at }) => at >= place);
		return index < 0 ? this.record.entries.length : index;
	}

	#change(path: string, act: (disk: number) => void): void {
		const disk = openSync(path, "r+");
		try {
			act(disk);
		} finally {
			closeSync(disk);
		}
	}
}

async function partOf(tree: SessionTree, writer: Writer): Promise<Part> {
	const disk = tree.lookup(tree.root, "disk0-flat.vmdk");
	const directory = tree.lookup(tree.root, writer.directory);
	if (disk === undefined || directory === undefined) throw new Error("the session has lost a name");
	const files = new Map<string, Buffer>();
	for (const { name, id } of tree.list(directory, 0n, 1000).entries)
		files.set(name, await readAll(tree, id, 0, tree.inode(id)!.size));
	return { region: await readAll(tree, disk, writer.index * REGION, REGION), files };
}
