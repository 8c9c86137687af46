/** Block status: an Image's extents and other contexts as descriptors ("Block status"). */
import { performance } from "node:perf_hooks";
import type { Extent, ExtentKind, Image } from "../../image/image.js";
import { State } from "../protocol.js";
import { othersTurn } from "./commands.js";
import type { StatusRun, StatusSource } from "./export.js";

/** `zero` is known to read as zeros and may take space; `unallocated` takes none. */
const FLAGS: Record<ExtentKind, number> = { data: 0, zero: State.ZERO, unallocated: State.HOLE | State.ZERO };

/** Descriptors of one answer: it may end before the range does. */
const MAX_RUNS = 4096;
const FIRST_WINDOW = 16 * 1024 * 1024;
const LEAST_WINDOW = 1024 * 1024;
const LARGEST_WINDOW = 1024 ** 3;
/** ms that a source may keep the event loop: longer, and it is asked for less at a time */
const PATIENCE = 2;
/** of one descriptor's length: 32 bits, and any power of two below */
const MAX_RUN = 2 ** 31;

/** base:allocation */
export const allocation =
	(image: Image): StatusSource =>
	(offset, length) => {
		const found = image.extents(offset, length);
		return Array.isArray(found) ? asRuns(found) : found.then(asRuns);
	};

const asRuns = (extents: Extent[]): StatusRun[] => extents.map(({ length, kind }) => ({ length, flags: FLAGS[kind] }));

/**
 * Descriptors from `offset` on, at least one. Asks for a little first, and for more while that is quick, so that neither
 * a 4 GiB hole nor a million small runs take long, and others have their turn. @param one only the first run
 * (NBD_CMD_FLAG_REQ_ONE)
 */
export async function describe(source: StatusSource, offset: number, length: number, one: boolean): Promise<Buffer> {
	const runs: StatusRun[] = [];
	let window = FIRST_WINDOW;
	for (let at = 0; at < length && runs.length < (one ? 2 : MAX_RUNS); ) {
		const asked = Math.min(window, length - at);
		const began = performance.now();
		const answer = source(offset + at, asked);
		const took = performance.now() - began;
		let covered = 0;
		for (const run of await answer) {
			append(runs, run);
			covered += run.length;
		}
		if (covered <= 0 || covered > asked) throw new Error(`block status of ${asked} bytes covers ${covered}`);
		at += covered;
		if (took < PATIENCE / 2) window = Math.min(window * 2, LARGEST_WINDOW);
		else if (took > PATIENCE) window = Math.max(window / 2, LEAST_WINDOW);
		if (took > PATIENCE / 2) await othersTurn();
	}
	const count = Math.min(runs.length, one ? 1 : MAX_RUNS);
	const descriptors = Buffer.allocUnsafe(count * 8);
	for (let n = 0; n < count; n++) {
		descriptors.writeUInt32BE(runs[n].length, n * 8);
		descriptors.writeUInt32BE(runs[n].flags >>> 0, n * 8 + 4);
	}
	return descriptors;
}

function append(runs: StatusRun[], { length, flags }: StatusRun): void {
	const last = runs[runs.length - 1];
	if (last?.flags === flags && last.length + length <= MAX_RUN) last.length += length;
	else runs.push({ length, flags });
}
