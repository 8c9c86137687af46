/**
 * Reading: which layer has each byte (newest changes, frozen changes, tree, base, nothing), and getting it. Synchronous
 * while everything is in memory.
 */
import type { Lane, SystemError } from "../../native/index.js";
import type { Extent, Image, Loan } from "../image/image.js";
import type { InodeId } from "./contract.js";
import { OverlayError } from "./contract.js";
import { CACHEABLE, type DataCache } from "./data-cache.js";
import type { Delta } from "./delta.js";
import { alignUp, PAGE } from "./geometry.js";
import type { Log } from "./log.js";
import type { PageRef } from "./page.js";
import { PageBuffers } from "./page-buffers.js";
import type { PageStore } from "./page-store.js";
import type { Presence } from "./presence.js";
import { clip, HOLE, type Run, ZEROS } from "./runs.js";
import { extentsWithin, type Root } from "./tree.js";

/** One version of one file, as far as its content goes. */
export interface View {
	id: InodeId;
	/** undefined: nothing of its own anywhere */
	presence: Presence | undefined;
	/** newest first */
	deltas: (Delta | undefined)[];
	root: Root;
	base: Image | undefined;
	/** the base shows below this */
	baseLimit: number;
}

/** Where nothing of the overlay's own is: the base shows, or zeros. */
export const BASE = -2;

/** Parts that one job reads: more of them go to the lane's other threads as well. */
const JOB_PARTS = 32;

/** Bytes of the log that are not in memory. */
interface Missing {
	position: number;
	part: Buffer;
}

export class ContentReader {
	constructor(
		readonly fd: number,
		readonly lane: Lane,
		readonly store: PageStore,
		readonly cache: DataCache,
		readonly log: Log,
		readonly buffers = new PageBuffers(),
	) {}

	/** Runs that cover [start, end) without gaps, or the index page to load first. */
	resolve(view: View, start: number, end: number): Run[] | PageRef {
		const runs: Run[] = [];
		const missing = this.#layer(view, 0, start, end, runs);
		return missing ?? runs;
	}

	#layer(view: View, layer: number, start: number, end: number, out: Run[]): PageRef | undefined {
		const { deltas } = view;
		while (layer < deltas.length && !deltas[layer]?.files.has(view.id)) layer++;
		let found: Run[];
		if (layer < deltas.length) found = deltas[layer]!.files.get(view.id)!.within(start, end);
		else {
			const whole: Run[] = [];
			const missing = extentsWithin(this.store, view.root, view.id, start, end, whole);
			if (missing) return missing;
			found = whole.map((run) => clip(run, start, end));
		}
		let at = start;
		for (const run of found) {
			const missing = this.#gap(view, layer, at, run.start, out);
			if (missing) return missing;
			out.push(run.position === HOLE ? { ...run, position: BASE } : run);
			at = run.end;
		}
		return this.#gap(view, layer, at, end, out);
	}

	#gap(view: View, layer: number, start: number, end: number, out: Run[]): PageRef | undefined {
		if (start >= end) return undefined;
		if (layer < view.deltas.length) return this.#layer(view, layer + 1, start, end, out);
		out.push({ start, end, position: BASE, epoch: 0 });
		return undefined;
	}

	/** Fills `target` from `offset`. */
	read(view: View, offset: number, target: Buffer): void | Promise<void> {
		if (target.length === 0) return undefined;
		const end = offset + target.length;
		if (!view.presence?.any(offset, end)) return readBase(view, offset, target);
		const runs = this.resolve(view, offset, end);
		if (!Array.isArray(runs)) return this.#later(view, offset, target, runs);
		const waits: Promise<void>[] = [];
		let missing: Missing[] = [];
		for (const run of runs) {
			const part = runs.length === 1 ? target : target.subarray(run.start - offset, run.end - offset);
			if (run.position <= ZEROS) {
				const wait = this.#below(view, run, part);
				if (wait) waits.push(wait);
			} else if (!this.#held(run.position, part)) {
				missing.push({ position: run.position, part });
				if (missing.length < JOB_PARTS) continue;
				waits.push(this.#fetch(missing, target.length <= CACHEABLE));
				missing = [];
			}
		}
		if (missing.length > 0) waits.push(this.#fetch(missing, target.length <= CACHEABLE));
		return waits.length > 0 ? allDone(waits) : undefined;
	}

	async #later(view: View, offset: number, target: Buffer, missing: PageRef): Promise<void> {
		await this.#loaded(missing, () => this.read(view, offset, target));
	}

	/**
	 * Loads a page and goes on. All of it is one read to `Readers`: between two pages, those of the view's tree must not
	 * be used for something else.
	 */
	async #loaded<T>(missing: PageRef, then: () => T | Promise<T>): Promise<T> {
		const leave = this.store.readers.enter();
		try {
			await this.store.load(missing);
			return await then();
		} finally {
			leave();
		}
	}

	/** What is not in the log. */
	#below(view: View, run: Run, part: Buffer): void | Promise<void> {
		if (run.position === BASE) return readBase(view, run.start, part);
		return void part.fill(0);
	}

	/** Fills `part` from memory, if it is there. */
	#held(position: number, part: Buffer): boolean {
		return this.log.inFlight?.copy(position, part) || this.cache.read(position, part);
	}

	/** Reads parts of the log with one job; with `keep`, the whole pages around them, which then stay in memory. */
	async #fetch(missing: Missing[], keep: boolean): Promise<void> {
		const leave = this.store.readers.enter();
		try {
			// At the end of a file the page around a part may not be whole.
			const rest = keep ? missing.slice(await this.#fetchPages(missing)) : missing;
			if (rest.length === 0) return;
			const parts = rest.map(({ part }) => part);
			const positions = rest.map(({ position }) => position);
			const filled = await this.lane.preadMany(this.fd, parts, positions);
			if (filled < rest.length) throw new RangeError("log cut short");
		} catch (error) {
			const why = (error as SystemError).code ?? (error as Error).message;
			const { position } = missing[0];
			throw new OverlayError("EIO", `${this.log.directory}/log: read of byte ${position} failed: ${why}`, {
				cause: error,
			});
		} finally {
			leave();
		}
	}

	/** Returns how many parts, from the first on, are filled. */
	async #fetchPages(missing: Missing[]): Promise<number> {
		const places = missing.map(({ position }) => Math.floor(position / PAGE) * PAGE);
		const pages = missing.map(({ position, part }, i) =>
			this.buffers.take(alignUp(position + part.length, PAGE) - places[i]),
		);
		try {
			const filled = await this.lane.preadMany(this.fd, pages, places);
			for (let i = 0; i < filled; i++) {
				const { position, part } = missing[i];
				pages[i].copy(part, 0, position - places[i], position - places[i] + part.length);
				this.cache.keep(places[i], [pages[i]]);
			}
			return filled;
		} finally {
			for (const page of pages) this.buffers.give(page);
		}
	}

	/** Lends the base's memory where nothing of the file's own lies over it. */
	borrow(view: View, offset: number, length: number): Loan[] | undefined {
		const { base } = view;
		const end = offset + length;
		if (!base?.borrow || end > view.baseLimit) return undefined;
		if (!view.presence?.any(offset, end)) return base.borrow(offset, length);
		const runs = this.resolve(view, offset, end);
		if (!Array.isArray(runs) || runs.some((run) => run.position !== BASE)) return undefined;
		return base.borrow(offset, length);
	}

	/** Runs that cover [start, end), whatever has to be loaded for it. */
	runs(view: View, start: number, end: number): Run[] | Promise<Run[]> {
		if (!view.presence?.any(start, end)) return [{ start, end, position: BASE, epoch: 0 }];
		const runs = this.resolve(view, start, end);
		return Array.isArray(runs) ? runs : this.#loaded(runs, () => this.runs(view, start, end));
	}

	/** Data, zeros and never allocated. */
	extents(view: View, offset: number, length: number): Extent[] | Promise<Extent[]> {
		if (length <= 0) return [];
		const end = offset + length;
		const nothing: Run[] = [{ start: offset, end, position: BASE, epoch: 0 }];
		const runs = view.presence?.any(offset, end) ? this.resolve(view, offset, end) : nothing;
		if (!Array.isArray(runs)) return this.#loaded(runs, () => this.extents(view, offset, length));
		const out: Extent[] = [];
		const parts: (Extent[] | Promise<Extent[]>)[] = runs.map((run) => runExtents(view, run));
		if (parts.every((part) => Array.isArray(part))) return join(out, parts as Extent[][]);
		return Promise.all(parts).then((all) => join(out, all));
	}
}

const allDone = async (waits: Promise<void>[]): Promise<void> => {
	// All must have ended before the caller may take the buffer back, so no early rejection.
	const results = await Promise.allSettled(waits);
	for (const result of results) if (result.status === "rejected") throw result.reason;
};

const readBase = (view: View, offset: number, target: Buffer): void | Promise<void> => {
	const visible = Math.max(0, Math.min(target.length, view.baseLimit - offset));
	if (visible < target.length) target.fill(0, visible);
	if (visible === 0 || !view.base) return undefined;
	return view.base.read(offset, visible === target.length ? target : target.subarray(0, visible));
};

const runExtents = (view: View, run: Run): Extent[] | Promise<Extent[]> => {
	if (run.position !== BASE) {
		const kind = run.position === ZEROS ? "zero" : "data";
		return [{ offset: run.start, length: run.end - run.start, kind }];
	}
	const shown = view.base ? Math.max(run.start, Math.min(run.end, view.baseLimit)) : run.start;
	const rest: Extent[] = shown < run.end ? [{ offset: shown, length: run.end - shown, kind: "unallocated" }] : [];
	if (shown === run.start || !view.base) return rest;
	const below = view.base.extents(run.start, shown - run.start);
	return Array.isArray(below) ? [...below, ...rest] : below.then((list) => [...list, ...rest]);
};

/** Joins neighbours of the same kind. */
const join = (out: Extent[], parts: Extent[][]): Extent[] => {
	for (const extent of parts.flat()) {
		const last = out[out.length - 1];
		if (last && last.kind === extent.kind && last.offset + last.length === extent.offset) last.length += extent.length;
		else out.push({ ...extent });
	}
	return out;
};
