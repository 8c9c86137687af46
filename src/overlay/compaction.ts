/**
 * Compaction: segments in which little is still alive are emptied by appending what lives. Their batches tell what
 * they hold; the index tells what of it still counts.
 */
import { type Lane, xxh3 } from "../../native/index.js";
import {
	BATCH_HEADER,
	BatchBuilder,
	type BatchIdentity,
	metaOf,
	parseMeta,
	payloadOf,
	peekBatch,
	seedOf,
} from "./batch.js";
import type { Checkpointer } from "./checkpoint.js";
import { batchPayload } from "./geometry.js";
import type { Log } from "./log.js";
import { type Content, MOVE, WRITE } from "./operations.js";
import type { ContentReader, View } from "./reader.js";
import type { Run } from "./runs.js";
import type { Transaction } from "./transaction.js";

/** Compaction begins when the log uses so many times what lives, and so many segments more. */
const RATIO = 1.35;
const SLACK_SEGMENTS = 2;
/** From here on clients write only as fast as room is made, and from the second on at half of that. */
const BEHIND = 1.4;
const FAR_BEHIND = 1.5;
/** A segment whose living content would fill more than this again is left alone. */
const DENSE = 0.8;
/** What clients may write before the room for it is made, of a segment: while one is looked through, none is made. */
const AHEAD = 0.5;
/** Pieces moved with one batch, and the longest stretch of a segment that they come from, bytes. */
const MOVE_PIECES = 128;
const MOVE_SPAN = 2 * 1024 * 1024;
/** Read at a time while looking for batches, bytes. */
const WINDOW = 256 * 1024;

/** A living part of an operation's content, with its position. */
interface Living {
	op: Content;
	run: Run;
	/** of the operation's payload checksum */
	seed: bigint;
}

interface Piece extends Living {
	data: Buffer;
}

/** What one batch moves: in the order of the log, near each other. */
interface Move {
	living: Living[];
	meta: number;
	payload: number;
}

export class Compaction {
	#running: Promise<void> | undefined;
	/** segment → live bytes when it was found dense or unreadable */
	readonly #left = new Map<number, number>();
	/** emptied segments whose room the checkpoint of this number will have made, or one before it */
	readonly #emptied = new Map<number, number>();
	/** bytes of room made and not yet written by clients; below 0, they are ahead */
	#credit = 0;
	/** clients may have to wait for room */
	#pacing = false;
	stopping = false;

	constructor(
		readonly secret: bigint,
		readonly fd: number,
		readonly lane: Lane,
		readonly log: Log,
		readonly reader: ContentReader,
		readonly checkpointer: Checkpointer,
		readonly viewOf: (id: number) => View | undefined,
	) {}

	/** The log writes a segment anew. */
	entered(segment: number): void {
		this.#left.delete(segment);
	}

	get running(): Promise<void> | undefined {
		return this.#running;
	}

	/** After each checkpoint. */
	checkpointed(): void {
		for (const [segment, number] of this.#emptied) {
			const done = number <= this.checkpointer.number || !this.log.segments.live.has(segment);
			if (done) this.#emptied.delete(segment);
		}
		this.start();
	}

	/** Starts if there is something to do. */
	start(): void {
		if (this.#running || this.stopping || this.log.failure || !this.#beyond(RATIO)) return;
		this.#running = this.#run()
			// Failures that matter have stopped the session already; a full disk comes back here later.
			.catch(() => undefined)
			.finally(() => {
				this.#running = undefined;
				this.#emptied.clear();
				this.#pace(false);
			});
	}

	/** Bytes of content that clients may write now. Without a limit the log would outgrow what lives in it many times. */
	get allowance(): number {
		return this.#pacing && this.#beyond(BEHIND) ? this.#credit + this.#ahead : Number.POSITIVE_INFINITY;
	}

	get #ahead(): number {
		return AHEAD * this.log.segments.bytes;
	}

	/** Clients have written so much. */
	spend(bytes: number): void {
		if (this.#pacing) this.#credit = Math.max(-this.#ahead, this.#credit - bytes);
	}

	/** Whether the log uses more than it should, what is about to be freed not counted. */
	#beyond(ratio: number): boolean {
		const { segments, state } = this.log;
		const used = (segments.used - segments.plan.length - this.#emptied.size) * segments.bytes;
		const live = segments.liveTotal + state.delta.total + (state.frozen?.total ?? 0);
		return used > ratio * live + SLACK_SEGMENTS * segments.bytes;
	}

	/** Checkpoints, which make the room real, go on beside it: what is moved fills the log as writes do. */
	async #run(): Promise<void> {
		while (!this.stopping && !this.log.failure) {
			const victim = this.#beyond(RATIO) ? this.#victim() : undefined;
			if (victim !== undefined) {
				this.#pacing = true;
				const number = this.checkpointer.number + 2;
				if (await this.#empty(victim)) this.#emptied.set(victim, number);
				continue;
			}
			this.#pace(false);
			if (this.#emptied.size === 0) return;
			await this.checkpointer.full();
			this.#emptied.clear();
		}
	}

	#pace(on: boolean): void {
		this.#pacing = on;
		this.#credit = 0;
		this.log.resume();
	}

	/** Of `moved` bytes from a segment in which `live` live, what that makes room for. */
	#earn(moved: number, live: number): void {
		const share = this.#beyond(FAR_BEHIND) ? 0.5 : 1;
		const room = (share * moved * (this.log.segments.bytes - live)) / Math.max(live, 1);
		this.#credit = Math.min(this.log.segments.bytes, this.#credit + room);
		this.log.resume();
	}

	/** The segment with the least alive; not in the plan, and none that newer changes refer to. */
	#victim(): number | undefined {
		const { segments, state } = this.log;
		const planned = new Set(segments.plan);
		let best: number | undefined;
		let least = segments.bytes * DENSE;
		for (const [segment, live] of segments.live) {
			if (live >= least || planned.has(segment) || this.#emptied.has(segment)) continue;
			if (this.#left.get(segment) === live) continue;
			if (state.delta.live.get(segment) || state.frozen?.live.get(segment)) continue;
			best = segment;
			least = live;
		}
		return best;
	}

	/** Appends what lives in a segment; false when that would gain nothing. */
	async #empty(segment: number): Promise<boolean> {
		const { segments } = this.log;
		const live = segments.live.get(segment) ?? 0;
		const found: Living[] = [];
		for (const { at, ops, seed } of await this.#batches(segment)) {
			for (const op of ops) {
				for (const run of await this.#living(op, at + op.payload)) found.push({ op, run, seed });
			}
		}
		// Content among the operations lies before content behind them, whatever their order.
		const moves = this.#moves(found.sort((x, y) => x.run.position - y.run.position));
		const again = moves.reduce((sum, { meta, payload }) => sum + BatchBuilder.sizeOf(meta, payload), 0);
		if (again > segments.bytes * DENSE) {
			this.#left.set(segment, live);
			return false;
		}
		let writing: Promise<void> | undefined;
		for (const { living, meta, payload } of moves) {
			// The next stretch is read while the log takes the last.
			const pieces = await this.#pieces(living);
			await writing;
			if (this.stopping || this.log.failure) return false;
			writing = pieces.length > 0 ? this.#move(pieces) : undefined;
			// Whoever awaits it next is told; meanwhile a failure is nobody's surprise.
			writing?.catch(() => undefined);
			this.#earn(meta + payload, again);
		}
		await writing;
		// If something stayed behind, it is tried again only when its live bytes have changed.
		this.#left.set(segment, live);
		return true;
	}

	/** Divides what lives into batches as they will be written, so that what they take is known before. */
	#moves(found: Living[]): Move[] {
		const limit = batchPayload(this.log.segments.bytes) / 2;
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
		const { bytes } = this.log.segments;
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

	/** Parts of an operation's content that are still read from its payload at `position`. */
	async #living(op: Content, position: number): Promise<Run[]> {
		for (;;) {
			const view = this.viewOf(op.id);
			if (!view) return [];
			const runs = this.reader.resolve(view, op.offset, op.offset + op.length);
			if (!Array.isArray(runs)) {
				await this.reader.store.load(runs);
				continue;
			}
			return runs.filter((run) => run.position === position + (run.start - op.offset));
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

	/** The living bytes, read in one go, each verified as far as it is a whole payload. */
	async #pieces(living: Living[]): Promise<Piece[]> {
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

	async #move(pieces: Piece[]): Promise<void> {
		const ops = pieces.map(
			({ op, run }): Content => ({
				type: MOVE,
				id: op.id,
				offset: run.start,
				length: run.end - run.start,
				epoch: run.epoch,
				time: 0n,
				checksum: 0n,
				payload: 0,
			}),
		);
		await this.log.submit({
			meta: ops.reduce((sum, op) => sum + metaOf(op, op.length), 0),
			payload: ops.reduce((sum, op) => sum + payloadOf(op.length), 0),
			stable: false,
			privileged: true,
			first: true,
			apply: (tx) => {
				for (const [i, piece] of pieces.entries()) this.#moveOne(tx, piece, ops[i]);
			},
		});
	}

	/** Moves a piece if nothing of it was written since; else the next round sees to the rest. */
	#moveOne(tx: Transaction, { run, data }: Piece, op: Content): void {
		const view = this.viewOf(op.id);
		if (!view) return;
		const now = this.reader.resolve(view, run.start, run.end);
		if (!Array.isArray(now) || now.length !== 1 || now[0].position !== run.position) return;
		tx.content(op, data);
	}
}
