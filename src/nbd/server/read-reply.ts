/** Replies to reads: data as it is, or with its zeros as holes where the client takes structured replies. */
import { isZero } from "../../../native/index.js";
import { CommandFlag } from "../protocol.js";
import type { Replies } from "./replies.js";
import type { Request } from "./request.js";

/** Larger data is looked at in pieces of this size. */
const PIECE = 64 * 1024;
/** Shorter zeros are sent: a hole would save nothing. */
const SMALLEST_HOLE = 512;

/** Appends the whole reply. `slices` are the data, in order; they stay as they are until the batch is released. */
export function replyToRead(replies: Replies, request: Request, slices: readonly Buffer[], structured: boolean): void {
	const { flags, offset, length } = request;
	if (structured && (flags & CommandFlag.DF) === 0) {
		replyToPart(replies, request, offset, slices);
		return;
	}
	if (structured) replies.offsetData(request, offset, length, true);
	else replies.simple(request, 0);
	for (const slice of slices) replies.gather(slice);
}

/** Appends the chunks of a part of the data, which begins at `offset`; the part at the end of it ends the reply. */
export function replyToPart(replies: Replies, request: Request, offset: number, slices: readonly Buffer[]): void {
	const end = request.offset + request.length;
	let at = offset;
	let run: Buffer[] = [];
	let runLength = 0;
	let runZero = false;
	const flush = (): void => {
		if (runLength === 0) return;
		const from = at - runLength;
		if (runZero) replies.offsetHole(request, from, runLength, at === end);
		else {
			replies.offsetData(request, from, runLength, at === end);
			for (const slice of run) replies.gather(slice);
		}
		run = [];
		runLength = 0;
	};
	for (const slice of slices) {
		for (let from = 0; from < slice.length; from += PIECE) {
			const piece = slice.length <= PIECE ? slice : slice.subarray(from, from + PIECE);
			const zero = allZero(piece);
			if (zero !== runZero) {
				flush();
				runZero = zero;
			}
			if (!zero) run.push(piece);
			runLength += piece.length;
			at += piece.length;
		}
	}
	flush();
}

/** Most data shows at its ends that it is not all zeros, without a call. */
const allZero = (piece: Buffer): boolean =>
	piece.length >= SMALLEST_HOLE && piece[0] === 0 && piece[piece.length - 1] === 0 && isZero(piece);
