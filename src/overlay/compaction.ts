/**
 * Compaction: segments in which little is still alive are emptied by appending what lives. While it is behind, clients
 * write only as fast as it makes room.
 */
import { BatchBuilder, metaOf, payloadOf } from "./batch.js";
import type { Checkpointer } from "./checkpoint.js";
import type { Log } from "./log.js";
import { type Content, MOVE } from "./operations.js";
import { Rate } from "./rate.js";
import type { Piece, Salvage } from "./salvage.js";
import type { Transaction } from "./transaction.js";

/** Compaction begins when the log uses so many times what lives; gently at first, bytes/ms. */
const RATIO = 1.3;
const GENTLY = 64 * 1024;
/** From here on it goes as fast as it can, and clients write only as fast as room is made; then at half of that. */
const BEHIND = 1.45;
const FAR_BEHIND = 1.55;
/** While less than so many segments live, what is dead may be as much as if it were so many. */
const LEAST_SEGMENTS = 28;
/**
 * Until it is behind, it waits while clients write faster than this, bytes/ms, and looks again after so many ms: much of
 * what they overwrite would have been moved in vain, and a segment of which nothing lives any more costs nothing.
 */
const BURST = 32 * 1024;
const BURST_LOOK = 20;
/** A pause shorter than this is put off, ms. */
const PAUSE = 4;
/** A segment whose living content would fill more than this again is left alone. */
const DENSE = 0.8;
/** What clients may write before the room for it is made, of a segment: while one is looked through, none is made. */
const AHEAD = 0.5;

export class Compaction {
	#running: Promise<void> | undefined;
	/** segment → live bytes when it was found dense or unreadable */
	readonly #left = new Map<number, number>();
	/** emptied segments whose room the checkpoint of this number will have made, or one before it */
	readonly #emptied = new Map<number, number>();
	/** bytes of room made and not yet written by clients; below 0, they are ahead */
	#credit = 0;
	/** bytes moved since the last pause */
	#moved = 0;
	/** what clients write */
	readonly clients = new Rate();
	/** clients may have to wait for room */
	#pacing = false;
	/** something stayed behind because its index page was out of memory when its batch was made */
	#unlocated = false;
	/** the segment that is being emptied */
	#victim: number | undefined;
	stopping = false;

	constructor(
		readonly log: Log,
		readonly salvage: Salvage,
		readonly checkpointer: Checkpointer,
	) {}

	/** The log writes a segment anew. */
	entered(segment: number): void {
		this.#left.delete(segment);
		// All that lived in it has died meanwhile, and what is read of it now is something else.
		if (segment === this.#victim) this.#victim = undefined;
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
				this.#release();
			});
	}

	/** Bytes that clients may write now. Without a limit the log would outgrow what lives in it many times. */
	get allowance(): number {
		return this.#pacing && this.#beyond(BEHIND) ? this.#credit + this.#ahead : Number.POSITIVE_INFINITY;
	}

	get #ahead(): number {
		return AHEAD * this.log.segments.bytes;
	}

	/** Clients have written so much. */
	spend(bytes: number): void {
		this.clients.add(bytes);
		if (this.#pacing) this.#credit = Math.max(-this.#ahead, this.#credit - bytes);
	}

	/** Whether the log uses more than it should, what is about to be freed not counted. */
	#beyond(ratio: number): boolean {
		const { segments, state } = this.log;
		const used = (segments.used - segments.plan.length - this.#emptied.size) * segments.bytes;
		const live = segments.liveTotal + state.delta.total + (state.frozen?.total ?? 0);
		return used > live + (ratio - 1) * Math.max(live, LEAST_SEGMENTS * segments.bytes);
	}

	/** Checkpoints, which make the room real, go on beside it: what is moved fills the log as writes do. */
	async #run(): Promise<void> {
		while (!this.stopping && !this.log.failure) {
			if (this.clients.current > BURST && this.#beyond(RATIO) && !this.#beyond(BEHIND)) {
				await new Promise((resolve) => setTimeout(resolve, BURST_LOOK));
				continue;
			}
			this.#victim = this.#beyond(RATIO) ? this.#choose() : undefined;
			if (this.#victim !== undefined) {
				this.#pacing = true;
				const victim = this.#victim;
				// A checkpoint that has begun already knows nothing of what was moved.
				if (await this.#empty(victim)) this.#emptied.set(victim, this.checkpointer.number + 2);
				continue;
			}
			this.#release();
			if (this.#emptied.size === 0) return;
			await this.checkpointer.full();
			this.#emptied.clear();
		}
	}

	/** Nobody waits for room any more. */
	#release(): void {
		this.#pacing = false;
		this.#credit = 0;
		this.log.resume();
	}

	/** So many bytes will be free once what was moved is on the disk. */
	#earn(room: number): void {
		const share = this.#beyond(FAR_BEHIND) ? 0.5 : 1;
		this.#credit = Math.min(this.log.segments.bytes, this.#credit + share * room);
		this.log.resume();
	}

	/** While there is time, clients come first. */
	async #breathe(moved: number): Promise<void> {
		this.#moved += moved;
		const pause = this.#moved / GENTLY;
		if (pause < PAUSE) return;
		this.#moved = 0;
		if (!this.#beyond(BEHIND)) await new Promise((resolve) => setTimeout(resolve, pause));
	}

	/** The segment with the least alive; not in the plan, and none that newer changes refer to. */
	#choose(): number | undefined {
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
		const { salvage } = this;
		const { segments } = this.log;
		const live = segments.live.get(segment) ?? 0;
		const moves = await salvage.moves(segment);
		const again = moves.reduce((sum, { meta, payload }) => sum + BatchBuilder.sizeOf(meta, payload), 0);
		if (again > segments.bytes * DENSE) {
			this.#left.set(segment, live);
			// No room comes from it: clients do not pay for the search.
			this.#credit = Math.max(this.#credit, 0);
			this.log.resume();
			return false;
		}
		// All of it was overwritten since the last checkpoint.
		if (moves.length === 0) this.#earn(segments.bytes);
		this.#unlocated = false;
		let writing: Promise<void> | undefined;
		for (const move of moves) {
			// The next stretch is read while the log takes the last.
			const pieces = await salvage.pieces(move);
			await writing;
			await salvage.locate(pieces);
			if (this.stopping || this.log.failure || this.#victim !== segment) return false;
			writing = pieces.length > 0 ? this.#move(segment, pieces) : undefined;
			// Whoever awaits it next is told; meanwhile a failure is nobody's surprise.
			writing?.catch(() => undefined);
			const moved = move.meta + move.payload;
			this.#earn((moved * (segments.bytes - again)) / again);
			await this.#breathe(moved);
		}
		await writing;
		// If something of it was written meanwhile, it is tried again only when its live bytes have changed.
		if (!this.#unlocated) this.#left.set(segment, live);
		return true;
	}

	async #move(segment: number, pieces: Piece[]): Promise<void> {
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
				if (this.#victim !== segment) return;
				for (const [i, piece] of pieces.entries()) this.#moveOne(tx, piece, ops[i]);
			},
		});
	}

	/** Moves a piece if nothing of it was written since; else the next round sees to the rest. */
	#moveOne(tx: Transaction, { run, data }: Piece, op: Content): void {
		const view = this.salvage.viewOf(op.id);
		if (!view) return;
		const now = this.salvage.reader.resolve(view, run.start, run.end);
		if (!Array.isArray(now)) {
			this.#unlocated = true;
			return;
		}
		if (now.length !== 1 || now[0].position !== run.position) return;
		tx.content(op, data);
	}
}
