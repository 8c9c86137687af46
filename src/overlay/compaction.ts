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

const SLACK_SEGMENTS = 4;
const RATIO = 1.5;
/** A segment whose living content would fill more than this again is left alone. */
const DENSE = 0.8;
/** Segments emptied between two checkpoints. */
const ROUND = 8;
/** Pieces moved with one batch. */
const MOVE_PIECES = 64;

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

export class Compaction {
	#running: Promise<void> | undefined;
	/** segment → live bytes when it was found dense or unreadable */
	readonly #left = new Map<number, number>();
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

	/** Starts if there is something to do. */
	start(): void {
		if (this.#running || this.stopping || this.log.failure || !this.#needed()) return;
		this.#running = this.#run()
			// Failures that matter have stopped the session already; a full disk comes back here later.
			.catch(() => undefined)
			.finally(() => {
				this.#running = undefined;
			});
	}

	#needed(): boolean {
		const { segments, state } = this.log;
		const used = (segments.used - segments.plan.length) * segments.bytes;
		const live = segments.liveTotal + state.delta.total + (state.frozen?.total ?? 0);
		return used > RATIO * live + SLACK_SEGMENTS * segments.bytes;
	}

	async #run(): Promise<void> {
		while (!this.stopping && !this.log.failure && this.#needed()) {
			const victims = this.#victims();
			if (victims.length === 0) return;
			let moved = 0;
			for (const victim of victims) if (await this.#empty(victim)) moved++;
			if (moved === 0) continue;
			await this.checkpointer.full();
		}
	}

	/** The segments with the least alive; none that is in the plan or that newer changes refer to. */
	#victims(): number[] {
		const { segments, state } = this.log;
		const planned = new Set(segments.plan);
		const limit = segments.bytes * DENSE;
		return [...segments.live]
			.filter(([segment, live]) => live < limit && !planned.has(segment) && this.#left.get(segment) !== live)
			.filter(([segment]) => !state.delta.live.get(segment) && !state.frozen?.live.get(segment))
			.sort((x, y) => x[1] - y[1])
			.slice(0, ROUND)
			.map(([segment]) => segment);
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
		const moves = this.#moves(found);
		const again = moves.reduce((sum, { meta, payload }) => sum + BatchBuilder.sizeOf(meta, payload), 0);
		if (again > segments.bytes * DENSE) {
			this.#left.set(segment, live);
			return false;
		}
		for (const { living } of moves) {
			const pieces: Piece[] = [];
			for (const one of living) {
				const data = await this.#payload(one);
				if (data) pieces.push({ ...one, data });
			}
			if (this.stopping || this.log.failure) return false;
			if (pieces.length > 0) await this.#move(pieces);
		}
		// If something stayed behind, it is tried again only when its live bytes have changed.
		this.#left.set(segment, live);
		return true;
	}

	/** Divides what lives into batches as they will be written, so that what they take is known before. */
	#moves(found: Living[]): { living: Living[]; meta: number; payload: number }[] {
		const limit = batchPayload(this.log.segments.bytes) / 2;
		const moves: { living: Living[]; meta: number; payload: number }[] = [];
		for (const one of found) {
			const length = one.run.end - one.run.start;
			const meta = metaOf(one.op, length);
			const payload = payloadOf(length);
			let move = moves.at(-1);
			if (!move || move.living.length === MOVE_PIECES || move.meta + move.payload + meta + payload > limit) {
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
		for (let at = 0; at + BATCH_HEADER <= bytes; ) {
			const info = peekBatch(await this.#pread(start + at, BATCH_HEADER));
			if (!info || info.metaLength > bytes - at || (sequence !== undefined && info.sequence !== sequence)) break;
			const meta = await this.#pread(start + at, info.metaLength);
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

	/** The living bytes of one operation, verified as far as they are whole. */
	async #payload({ op, run, seed }: Living): Promise<Buffer | undefined> {
		const data = await this.#pread(run.position, run.end - run.start);
		if (data.length < run.end - run.start) return undefined;
		if (data.length === op.length && xxh3(data, seed) !== op.checksum) return undefined;
		return data;
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
