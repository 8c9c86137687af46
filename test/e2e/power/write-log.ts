/**
 * What QEMU's blklogwrites driver recorded of a disk, in the format of the kernel's dm-log-writes
 * (Documentation/admin-guide/device-mapper/log-writes.rst): a superblock in the first sector, then entries of one
 * sector each, a write's followed by its data. All numbers are little endian, sectors have 512 bytes.
 *
 * An entry is written after its request was carried out and before the guest hears of it.
 */
import { closeSync, fstatSync, openSync, readSync, writeSync } from "node:fs";

const SECTOR = 512;
const MAGIC = 0x6a736677736872n;
const VERSION = 1n;
const FLUSH = 1;
const FUA = 2;
const DISCARD = 4;
const KNOWN = FLUSH | FUA | DISCARD;
/** granularity of what a power loss keeps of a write */
const PAGE = 4096;
const COPY = 2 ** 20;

export interface LogEntry {
	/** where the entry begins in the log, bytes */
	at: number;
	/** where the request begins on the disk, bytes */
	offset: number;
	/** bytes */
	length: number;
	flush: boolean;
	discard: boolean;
}

export class WriteLog {
	readonly entries: LogEntry[] = [];
	/** where the last entry ends, bytes */
	readonly end: number;
	readonly #fd: number;

	/** Reads the entries of a log whose machine has ended. What was being logged in that moment is no entry. */
	constructor(path: string, diskSize: number) {
		this.#fd = openSync(path, "r");
		const sector = Buffer.alloc(SECTOR);
		readSync(this.#fd, sector, 0, SECTOR, 0);
		if (sector.readBigUInt64LE(0) !== MAGIC || sector.readBigUInt64LE(8) !== VERSION)
			throw new Error(`${path} is not a log of writes`);
		if (sector.readUInt32LE(24) !== SECTOR) throw new Error(`${path} has sectors of ${sector.readUInt32LE(24)} bytes`);
		// Of the last flush: what follows it in the log is not counted.
		const counted = Number(sector.readBigUInt64LE(16));
		const { size } = fstatSync(this.#fd);
		let at = SECTOR;
		while (at + SECTOR <= size) {
			readSync(this.#fd, sector, 0, SECTOR, at);
			const [first, sectors, flags] = [0, 8, 16].map((place) => Number(sector.readBigUInt64LE(place)));
			const [offset, length] = [first * SECTOR, sectors * SECTOR];
			const data = (flags & DISCARD) === 0 ? length : 0;
			const blank = flags === 0 && sectors === 0;
			if (blank || (flags & ~KNOWN) !== 0 || offset + length > diskSize || at + SECTOR + data > size) break;
			if ((flags & FUA) !== 0) throw new Error(`${path}: a write with FUA at ${at}, which nobody here replays`);
			const flush = (flags & FLUSH) !== 0;
			if (flush && length > 0) throw new Error(`${path}: a flush with data at ${at}`);
			this.entries.push({ at, offset, length, flush, discard: (flags & DISCARD) !== 0 });
			at += SECTOR + data;
		}
		this.end = at;
		if (this.entries.length < counted)
			throw new Error(`${path} says that it has ${counted} entries; ${this.entries.length} were found`);
	}

	/** Carries the entries [from, to) out on a disk. */
	replay(disk: number, from: number, to: number): void {
		for (const entry of this.entries.slice(from, to)) this.#apply(disk, entry, 0, entry.length);
	}

	/** The same, but of each write only the pages (or the sectors) that `arrived`. */
	replaySome(disk: number, from: number, to: number, unit: "pages" | "sectors", arrived: () => boolean): void {
		const step = unit === "pages" ? PAGE : SECTOR;
		for (const entry of this.entries.slice(from, to)) {
			if (entry.discard) {
				if (arrived()) this.#apply(disk, entry, 0, entry.length);
				continue;
			}
			for (let at = 0; at < entry.length; ) {
				const end = Math.min(entry.length, at + step - ((entry.offset + at) % step));
				if (arrived()) this.#apply(disk, entry, at, end);
				at = end;
			}
		}
	}

	#apply(disk: number, { at, offset, discard }: LogEntry, from: number, to: number): void {
		const chunk = Buffer.alloc(Math.min(COPY, to - from));
		for (let place = from; place < to; place += chunk.length) {
			const part = chunk.subarray(0, Math.min(chunk.length, to - place));
			// What was discarded may read as anything. Zeros are what a disk of a file has there.
			if (discard) part.fill(0);
			else readSync(this.#fd, part, 0, part.length, at + SECTOR + place);
			writeSync(disk, part, 0, part.length, offset + place);
		}
	}

	close(): void {
		closeSync(this.#fd);
	}
}
