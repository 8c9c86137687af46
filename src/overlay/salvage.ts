/**
 * What still lives in a segment of the log, and its bytes: the segment's batches tell what they hold, the index tells
 * what of it counts.
 */
import { type Lane, xxh3 } from "../../native/index.js";
import { BATCH_HEADER, type BatchIdentity, metaOf, parseMeta, payloadOf, peekBatch, seedOf } from "./batch.js";
import { batchPayload } from "./geometry.js";
import { type Content, MOVE, WRITE } from "./operations.js";
import type { ContentReader, View } from "./reader.js";
import type { Run } from "./runs.js";

/** Pieces moved with one batch, and the longest stretch of a segment that they come from, bytes. */
const MOVE_PIECES = 128;
const MOVE_SPAN = 2 * 1024 * 1024;
/** Operations that are looked up in the index at a time: their pages are mostly read from the disk. */
const LOOKUPS = 64;
/** Read at a time while looking for batches, bytes. */
const WINDOW = 256 * 1024;

/** A living part of an operation's content, with its position. */
export interface Living {
	op: Content;
	run: Run;
	/** of the operation's payload checksum */
	seed: bigint;
}

export interface Piece extends Living {
	data: Buffer;
}

/** What one batch moves: in the order of the log, near each other. */
export interface Move {
	living: Living[];
	/** bytes that it takes in a batch */
	meta: number;
	payload: number;
}

export class Salvage {
	constructor(
		readonly secret: bigint,
		readonly fd: number,
		readonly lane: Lane,
		/** bytes */
		readonly segmentBytes: number,
		readonly reader: ContentReader,
		readonly viewOf: (id: number) => View | undefined,
	) {}

	/** What lives in a segment, divided into batches as they will be written, so that what they take is known before. */
	async moves(segment: number): Promise<Move[]> {
		const found: Living[] = [];
		for (const { at, ops, seed } of await this.#batches(segment)) {
			for (let first = 0; first < ops.length; first += LOOKUPS) {
				const some = ops.slice(first, first + LOOKUPS);
				const runs = await Promise.all(some.map((op) => this.#living(op, at + op.payload)));
				for (const [i, op] of some.entries()) for (const run of runs[i]) found.push({ op, run, seed });
			}
		}
		// Content among the operations lies before content behind them, whatever their order.
		return this.#divide(found.sort((x, y) => x.run.position - y.run.position));
	}

	/** The living bytes, read in one go, each verified as far as it is a whole payload. */
	async pieces({ living }: Move): Promise<Piece[]> {
		const from = living[0].run.position;
		const last = living[living.length - 1].run;
		const bytes = await this.#pread(from, last.position + (last.end - last.start) - from);
		const pieces: Piece[] = [];
		for (const one of living) {
			const { op, run, seed } = one;
			const data = bytes.subarray(run.position - from, run.position - from + (run.end - run.start));
			if (data.length < run.end - run.start) continue;
			if (data.length === op.length && xxh3(data, seed) !== op.checksum) continue;
			pieces.push({ ...one, data });
		}
		return pieces;
	}

	#divide(found: Living[]): Move[] {
		const limit = batchPayload(this.segmentBytes) / 2;
		const moves: Move[] = [];
		for (const one of found) {
			const length = one.run.end - one.run.start;
			const meta = metaOf(one.op, length);
			const payload = payloadOf(length);
			let move = moves.at(-1);
			const full = (m: Move): boolean =>
				m.living.length === MOVE_PIECES ||
				m.meta + m.payload + meta + payload > limit ||
				one.run.position + length - m.living[0].run.position > MOVE_SPAN;
			if (!move || full(move)) {
				move = { living: [], meta: 0, payload: 0 };
				moves.push(move);
			}
			move.living.push(one);
			move.meta += meta;
			move.payload += payload;
		}
		return moves;
	}

	/** What a segment's batches say it holds, payload checksums apart. */
	async #batches(segment: number): Promise<{ at: number; ops: Content[]; seed: bigint }[]> {
		const bytes = this.segmentBytes;
		const out: { at: number; ops: Content[]; seed: bigint }[] = [];
		const start = segment * bytes;
		let sequence: number | undefined;
		let window: Buffer = Buffer.alloc(0);
		let windowAt = 0;
		/** Bytes of the segment; fewer than asked for at the end of the file. */
		const part = async (at: number, length: number): Promise<Buffer> => {
			if (at < windowAt || at + length > windowAt + window.length) {
				window = await this.#pread(start + at, Math.min(bytes - at, Math.max(WINDOW, length)));
				windowAt = at;
			}
			return window.subarray(at - windowAt, at - windowAt + length);
		};
		for (let at = 0; at + BATCH_HEADER <= bytes; ) {
			const info = peekBatch(await part(at, BATCH_HEADER));
			if (!info || info.metaLength > bytes - at || (sequence !== undefined && info.sequence !== sequence)) break;
			const meta = await part(at, info.metaLength);
			const identity: BatchIdentity = { seed: seedOf(this.secret, info.generation), generation: info.generation };
			const operations = parseMeta(meta, info, identity);
			if (!operations) break;
			const ops = operations.filter((op): op is Content => op.type === WRITE || op.type === MOVE);
			out.push({ at: start + at, ops, seed: identity.seed });
			sequence = info.sequence + 1;
			at += info.length;
		}
		return out;
	}

	/** Brings what tells where these are now into memory. */
	async locate(pieces: Piece[]): Promise<void> {
		await Promise.all(pieces.map(({ op, run }) => this.#resolve(op.id, run.start, run.end)));
	}

	/** Parts of an operation's content that are still read from its payload at `position`. */
	async #living(op: Content, position: number): Promise<Run[]> {
		const runs = await this.#resolve(op.id, op.offset, op.offset + op.length);
		return runs.filter((run) => run.position === position + (run.start - op.offset));
	}

	/** Where [start, end) of a file is; nothing when the file is gone. */
	async #resolve(id: number, start: number, end: number): Promise<Run[]> {
		for (;;) {
			const view = this.viewOf(id);
			if (!view) return [];
			const runs = this.reader.resolve(view, start, end);
			if (Array.isArray(runs)) return runs;
			await this.reader.store.load(runs);
		}
	}

	async #pread(position: number, length: number): Promise<Buffer> {
		const leave = this.reader.store.readers.enter();
		try {
			const target = Buffer.allocUnsafe(length);
			const got = await this.lane.pread(this.fd, target, position);
			return target.subarray(0, got);
		} finally {
			leave();
		}
	}
}
