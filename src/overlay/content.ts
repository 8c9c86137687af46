/**
 * Writing content: in parts that fit a batch, all-zero data and zeros that nobody sent without payload.
 */
import { isZero } from "../../native/index.js";
import { metaOf, payloadOf } from "./batch.js";
import type { InodeId, Prior } from "./contract.js";
import { OverlayError } from "./contract.js";
import { batchPayload, PAGE, SECTOR } from "./geometry.js";
import type { Log, Submission } from "./log.js";
import { nodeOf, priorOf } from "./namespace.js";
import { type Content, WRITE, ZERO } from "./operations.js";
import { END, type State } from "./state.js";

/** Where to cut a write so that no part exceeds a batch and no page is split. */
export function* parts(offset: number, length: number, limit: number): Generator<[number, number]> {
	let at = 0;
	while (at < length) {
		const end = offset + at + limit;
		const n = Math.min(length - at, limit - (end % PAGE));
		yield [at, n];
		at += n;
	}
}

/** Zeros of one operation: what neighbouring runs are merged up to, too. */
const ZERO_PART = 0x4000_0000;

/** @param content bytes, or how many zeros */
const submission = (
	state: State,
	now: () => bigint,
	id: InodeId,
	offset: number,
	content: Buffer | number,
	stable: boolean,
): Submission<Prior> => {
	const data = typeof content === "number" || (content.length >= SECTOR && isZero(content)) ? undefined : content;
	const length = typeof content === "number" ? content : content.length;
	const type = data ? WRITE : ZERO;
	const op: Content = { type, id, offset, length, epoch: 0, time: 0n, checksum: 0n, payload: 0 };
	return {
		meta: metaOf(op, data ? length : 0),
		payload: data ? payloadOf(length) : 0,
		stable,
		privileged: false,
		apply: (tx) => {
			const node = nodeOf(state, id);
			if (node.kind === "directory") throw new OverlayError("EISDIR", `inode ${id} is a directory`);
			if (node.kind !== "file") throw new OverlayError("EINVAL", `inode ${id} is not a file`);
			if (offset + length > END) throw new OverlayError("EFBIG", "the write ends beyond the largest file size");
			const before = priorOf(node);
			op.epoch = state.epoch;
			op.time = state.stamp(now());
			if (data) tx.content(op, data);
			else tx.log(op);
			return before;
		},
	};
};

/** Resolves as promised by SessionTree.write. `data` must stay untouched until then. */
export const writeContent = async (
	log: Log,
	now: () => bigint,
	id: InodeId,
	offset: number,
	data: Buffer,
	stable: boolean,
): Promise<{ before: Prior }> => {
	if (log.failure) throw log.failure;
	if (data.length === 0) return { before: priorOf(nodeOf(log.state, id)) };
	const limit = batchPayload(log.segments.bytes);
	if (data.length <= limit) return { before: await log.submit(submission(log.state, now, id, offset, data, stable)) };
	const pieces = [...parts(offset, data.length, limit)].map(([at, n]) =>
		log.submit(submission(log.state, now, id, offset + at, data.subarray(at, at + n), stable)),
	);
	const results = await Promise.allSettled(pieces);
	for (const result of results) if (result.status === "rejected") throw result.reason;
	return { before: (results[0] as PromiseFulfilledResult<Prior>).value };
};

/** Makes a range read as zeros; resolves as a write does. */
export const zeroContent = async (
	log: Log,
	now: () => bigint,
	id: InodeId,
	offset: number,
	length: number,
	stable: boolean,
): Promise<void> => {
	if (log.failure) throw log.failure;
	const pieces = [...parts(offset, length, ZERO_PART)].map(([at, n]) =>
		log.submit(submission(log.state, now, id, offset + at, n, stable)),
	);
	for (const result of await Promise.allSettled(pieces)) if (result.status === "rejected") throw result.reason;
};
