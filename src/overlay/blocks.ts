/**
 * The blocks of the log's segments: allocated for the writer, filled with zeros ahead of it, given back. A lane does
 * all of it, and no two of these ever work on one segment at a time.
 */
import { constants } from "node:fs";
import { type Lane, type SystemError, sys } from "../../native/index.js";
import { PUNCH_KEEP_SIZE } from "./allocate.js";
import { isNoSpace } from "./errors.js";

/** Bytes of zeros at a time: the longest that a writer waits for a fill that it has overtaken. */
const CHUNK = 4 * 1024 * 1024;

const unsupported = (error: unknown): boolean => (error as SystemError).code === "EOPNOTSUPP";

interface Work {
	stop: boolean;
	done: Promise<void>;
}

export class Blocks {
	/** segments that have all their blocks */
	readonly #whole = new Set<number>();
	/** those of them whose blocks were never written: the first write to each changes metadata */
	readonly #raw = new Set<number>();
	/** what a lane does to which segment */
	readonly #work = new Map<number, Work>();
	#filling = false;
	/**
	 * The segment prepared last. Between being asked for and being entered it is still only the next of the plan, but a
	 * checkpoint that ends in that moment must neither fill it with zeros nor punch it: the log is about to write there.
	 */
	#entering = -1;
	/** the last attempt to get blocks for a segment failed */
	starved = false;
	#stopping = false;
	/** A description of its own: a failed sync is told once to each, and the log must not miss it. */
	readonly #fd: number;
	/** Past the page cache where that can be had: zeros in it are something that the log's next sync would wait for. */
	readonly #direct: number | undefined;
	#zeros: number;

	constructor(
		readonly path: string,
		readonly bytes: number,
		readonly lane: Lane,
		/** a write or sync failed for another reason than space */
		readonly onFailure: (error: unknown) => void,
	) {
		this.#fd = sys.open(path, constants.O_RDWR);
		try {
			this.#direct = openDirect(path);
		} catch (error) {
			sys.close(this.#fd);
			throw error;
		}
		this.#zeros = this.#direct ?? this.#fd;
	}

	/** True when the segment has all its blocks. */
	has(segment: number): boolean {
		return this.#whole.has(segment);
	}

	/** True when a write into it only changes data. */
	isFilled(segment: number): boolean {
		return this.#whole.has(segment) && !this.#raw.has(segment);
	}

	/** True while the writer or a lane is at it. */
	isBusy(segment: number): boolean {
		return segment === this.#entering || this.#work.has(segment);
	}

	/** Finds out what blocks a segment that nobody uses has. Parts of one, left by an earlier process, are given back. */
	examine(segment: number): void {
		const from = segment * this.bytes;
		if (this.isFilled(segment)) return;
		if (sys.seekHole(this.#fd, from) >= from + this.bytes) {
			this.#whole.add(segment);
			this.#raw.delete(segment);
		} else if (!this.#whole.has(segment)) {
			try {
				sys.fallocate(this.#fd, PUNCH_KEEP_SIZE, from, this.bytes);
			} catch (error) {
				// Even giving back may need room for metadata; what stays is used when the segment is.
				if (!unsupported(error) && !isNoSpace(error)) throw error;
			}
		}
	}

	/** Makes sure that a segment has its blocks, and that nothing else happens to it from now on. Throws ENOSPC. */
	async prepare(segment: number): Promise<void> {
		this.#entering = segment;
		for (let work = this.#work.get(segment); work; work = this.#work.get(segment)) {
			work.stop = true;
			await work.done;
		}
		if (this.#whole.has(segment)) return;
		try {
			await this.#allocate(segment);
			this.starved = false;
		} catch (error) {
			this.starved = true;
			throw error;
		}
	}

	/** Starts filling the segment with zeros unless its blocks have been written before. One at a time. */
	fill(segment: number): void {
		if (this.#stopping || this.#filling || this.isBusy(segment) || this.isFilled(segment)) return;
		this.#filling = true;
		void this.#begin(segment, async (work) => {
			await this.#allocate(segment);
			for (let at = 0; at < this.bytes; at += CHUNK) {
				if (work.stop) return;
				await this.lane.writeZeros(this.#zeros, segment * this.bytes + at, Math.min(CHUNK, this.bytes - at));
			}
			if (work.stop) return;
			await this.lane.fdatasync(this.#fd);
			this.#raw.delete(segment);
		}).finally(() => {
			this.#filling = false;
		});
	}

	/** Gives the segment's blocks back; file systems that cannot keep them, which costs only space. */
	async punch(segment: number): Promise<void> {
		if (this.#stopping || this.isBusy(segment) || !this.#whole.has(segment)) return;
		this.#whole.delete(segment);
		this.#raw.delete(segment);
		await this.#begin(segment, async () => {
			try {
				await this.lane.fallocate(this.#fd, PUNCH_KEEP_SIZE, segment * this.bytes, this.bytes);
			} catch (error) {
				if (!unsupported(error)) throw error;
			}
		});
	}

	/** Cuts the file off. */
	cut(segments: number): void {
		sys.ftruncate(this.#fd, segments * this.bytes);
	}

	/** Ends what lanes do. */
	async settle(): Promise<void> {
		this.#stopping = true;
		for (const work of this.#work.values()) {
			work.stop = true;
			await work.done;
		}
	}

	/** After `settle`, and after the lane has been closed. */
	close(): void {
		sys.close(this.#fd);
		if (this.#direct !== undefined) sys.close(this.#direct);
	}

	#begin(segment: number, act: (work: Work) => Promise<void>): Promise<void> {
		const work: Work = { stop: false, done: Promise.resolve() };
		this.#work.set(segment, work);
		work.done = act(work)
			.catch((error: unknown) => this.#failed(error))
			.finally(() => this.#work.delete(segment));
		return work.done;
	}

	/** No room now: the writer will meet it when it gets there. Anything else stops the session. */
	#failed(error: unknown): void {
		const { code, syscall } = error as SystemError;
		// Some file systems take O_DIRECT only when they open.
		if (code === "EINVAL" && syscall === "pwrite" && this.#zeros !== this.#fd) this.#zeros = this.#fd;
		else if (!isNoSpace(error)) this.onFailure(error);
	}

	async #allocate(segment: number): Promise<void> {
		if (this.#whole.has(segment)) return;
		const start = segment * this.bytes;
		try {
			await this.lane.fallocate(this.#fd, 0, start, this.bytes);
		} catch (error) {
			if (!unsupported(error)) throw error;
			for (let at = 0; at < this.bytes; at += CHUNK) {
				await this.lane.writeZeros(this.#fd, start + at, Math.min(CHUNK, this.bytes - at));
			}
		}
		this.#whole.add(segment);
		this.#raw.add(segment);
	}
}

const openDirect = (path: string): number | undefined => {
	try {
		return sys.open(path, constants.O_RDWR | constants.O_DIRECT);
	} catch (error) {
		if ((error as SystemError).code !== "EINVAL") throw error;
		return undefined;
	}
};
