/**
 * The log writer: group commit. Everything that waits becomes one batch, one write and at most one sync; while
 * that runs, the next gathers. Also the place where a full disk is answered and where a failure stops the session.
 */
import type { Lane } from "../../native/index.js";
import { BatchBuilder, type BatchIdentity } from "./batch.js";
import { Company } from "./company.js";
import { OverlayError } from "./contract.js";
import { failed, isNoSpace, noSpace } from "./errors.js";
import { BATCH_OPERATIONS, batchPayload, syncsToFill } from "./geometry.js";
import type { Reserve } from "./reserve.js";
import type { Segments } from "./segments.js";
import type { State } from "./state.js";
import { Transaction } from "./transaction.js";

/** A change that waits for its batch. */
export interface Submission<T> {
	/** bound of the bytes of its operations, inline payload included */
	meta: number;
	/** bytes in the payload area */
	payload: number;
	/** resolve only when it would survive a power loss */
	stable: boolean;
	/** may use the reserve: it frees space, or must not fail for want of it */
	privileged: boolean;
	/** makes room: others wait while there is no allowance for them, this one goes before them */
	first?: boolean;
	/** Validates (throwing OverlayError before anything was logged), then logs and applies. */
	apply(tx: Transaction): T;
}

interface Waiting extends Submission<unknown> {
	resolve(value: unknown): void;
	reject(error: unknown): void;
	result?: unknown;
}

export interface LogEvents {
	/** after each batch: time for a checkpoint? */
	onBatch(): void;
	/** the plan is used up: resolves when a checkpoint has extended it */
	onPlanUsed(): Promise<void>;
	/** too many changes wait for a checkpoint: resolves when there are fewer */
	onCrowded(): Promise<void> | undefined;
	/** bytes of log that may be written now, apart from what makes room */
	allowance(): number;
	/** so many were taken */
	onSpent(bytes: number): void;
	/** somebody was told that there is no space: look for some */
	onRefused(): void;
	onFailure(): void;
	/** the content of a batch is in the log */
	onWritten(position: number, parts: Uint8Array[]): void;
	/** the log enters a segment anew: what was known of it is void */
	onSegment(segment: number): void;
}

const META_LIMIT = 48 * 1024;
const COMMIT: Submission<void> = { meta: 0, payload: 0, stable: true, privileged: true, apply: () => undefined };

export class Log {
	/** sequence of the next batch */
	sequence = 1;
	/** highest sequence known to be on the disk */
	synced = 0;
	/** where the next batch goes in the active segment */
	head = 0;
	failure: OverlayError | undefined;
	/** told how long each write with a sync, or sync alone, took, in milliseconds; failed ones are not told */
	onSync: ((milliseconds: number) => void) | undefined;
	/** the batch that is being written */
	inFlight: BatchBuilder | undefined;
	#queue: Waiting[] = [];
	/** of the batch before: written, and told as soon as the next is on its way, which needs the disk more than they do */
	#written: Waiting[] = [];
	/** run one by one between batches */
	#exclusive: (() => void)[] = [];
	#busy = false;
	#pumping = false;
	readonly #company = new Company();
	/** batches synced in this segment */
	#syncs = 0;

	constructor(
		readonly directory: string,
		readonly fd: number,
		readonly lane: Lane,
		readonly state: State,
		readonly segments: Segments,
		readonly reserve: Reserve,
		readonly identity: BatchIdentity,
		readonly events: LogEvents,
	) {}

	/** The segment in use. */
	get active(): number {
		return this.segments.active;
	}

	/** Where the next batch goes. */
	get position(): number {
		return this.active * this.segments.bytes + this.head;
	}

	submit<T>(submission: Submission<T>): Promise<T> {
		if (this.failure) return Promise.reject(this.failure);
		return new Promise<T>((resolve, reject) => {
			const { meta, payload, stable, privileged, first } = submission;
			const apply = (tx: Transaction) => submission.apply(tx);
			this.#queue.push({
				...{ meta, payload, stable, privileged, first, apply },
				...{ resolve: resolve as (v: unknown) => void, reject },
			});
			this.#wake();
		});
	}

	/** Resolves when everything acknowledged by now is on the disk. */
	commit(): Promise<void> {
		return this.submit(COMMIT);
	}

	/** Runs `act` when no batch is half done: at once, or right after the one in flight. */
	async exclusive<T>(act: () => T): Promise<T> {
		if (this.#busy) await new Promise<void>((resolve) => this.#exclusive.push(resolve));
		return act();
	}

	/**
	 * Syncs the log past the queue unless all of it is: for a checkpoint, for which the queue may be waiting, and on
	 * its lane, so that writes go on meanwhile. `fd` must be a description of its own: each is told once of a failure.
	 */
	async sync(lane: Lane = this.lane, fd: number = this.fd): Promise<void> {
		if (this.failure) throw this.failure;
		const last = this.sequence - 1;
		if (this.synced >= last) return;
		const started = performance.now();
		try {
			await lane.fdatasync(fd);
		} catch (error) {
			this.fail(error);
			throw this.failure;
		}
		this.synced = Math.max(this.synced, last);
		this.onSync?.(performance.now() - started);
	}

	/** Stops the session for good: a failed sync is not retried, its pages may look clean and be lost. */
	fail(cause: unknown): void {
		if (this.failure) return;
		this.failure = failed(this.directory, cause);
		this.events.onFailure();
		for (const waiting of this.#queue.splice(0)) waiting.reject(this.failure);
	}

	/** There may be an allowance again for those who wait for one. */
	resume(): void {
		if (this.#queue.length > 0) this.#wake();
	}

	#wake(): void {
		if (this.#pumping) return;
		this.#pumping = true;
		// What arrives in the same turn of the event loop joins the first batch.
		queueMicrotask(() => void this.#pump());
	}

	async #pump(): Promise<void> {
		while (this.#queue.length > 0) {
			const crowded = this.events.onCrowded();
			if (crowded) {
				this.#tell();
				await crowded.catch(() => undefined);
			}
			const stable = this.#queue.some((waiting) => waiting.stable);
			while (stable && this.#company.comes(this.#queue.length)) {
				this.#tell();
				await new Promise((go) => setImmediate(go));
			}
			const batch = this.#gather();
			// The others wait for an allowance; `resume` begins anew.
			if (batch.length === 0) break;
			await this.#write(batch);
			this.#company.answered(batch.length, this.#queue.length);
		}
		this.#tell();
		this.#pumping = false;
	}

	/** Tells those of the batch before. Called before anything is waited for. */
	#tell(): void {
		if (this.#written.length === 0) return;
		for (const { resolve, result } of this.#written.splice(0)) resolve(result);
	}

	/** What fits a batch, in the order of the queue; when the allowance is used up, only what makes room. */
	#gather(): Waiting[] {
		const payloadLimit = batchPayload(this.segments.bytes);
		const allowance = this.events.allowance();
		let meta = 0;
		let payload = 0;
		/** of those who need an allowance: in whole pages, as it will be written */
		let spent = 0;
		const own = { meta: 0, payload: 0 };
		const batch: Waiting[] = [];
		const held: Waiting[] = [];
		let at = 0;
		for (; at < this.#queue.length; at++) {
			const waiting = this.#queue[at];
			if (!waiting.first && (held.length > 0 || spent >= allowance)) {
				held.push(waiting);
				continue;
			}
			meta += waiting.meta;
			payload += waiting.payload;
			if (batch.length > 0) {
				if (meta > META_LIMIT || payload > payloadLimit || batch.length === BATCH_OPERATIONS) break;
				if (BatchBuilder.sizeOf(meta, payload) > this.segments.bytes) break;
			}
			if (!waiting.first && waiting.meta > 0) {
				own.meta += waiting.meta;
				own.payload += waiting.payload;
				spent = BatchBuilder.sizeOf(own.meta, own.payload);
			}
			batch.push(waiting);
		}
		this.#queue = held.length > 0 ? [...held, ...this.#queue.slice(at)] : this.#queue.slice(at);
		if (spent > 0) this.events.onSpent(spent);
		return batch;
	}

	async #write(taken: Waiting[]): Promise<void> {
		let batch = taken;
		let meta = 0;
		try {
			for (;;) {
				meta = batch.reduce((sum, w) => sum + w.meta, 0);
				const payload = batch.reduce((sum, w) => sum + w.payload, 0);
				const without = meta === 0 ? undefined : await this.#room(BatchBuilder.sizeOf(meta, payload), batch);
				if (!without) break;
				for (const waiting of batch) if (!without.includes(waiting)) waiting.reject(noSpace());
				this.events.onRefused();
				batch = without;
				if (batch.length === 0) return;
			}
		} catch (error) {
			if (isNoSpace(error)) this.events.onRefused();
			else this.fail(error);
			for (const waiting of batch) waiting.reject(this.failure ?? noSpace(error));
			return;
		}
		if (this.failure) {
			for (const waiting of batch) waiting.reject(this.failure);
			return;
		}
		this.#busy = true;
		await this.#finish(batch, meta);
		// Each of these runs in a microtask of its own, before the next batch can begin.
		this.#busy = false;
		for (const go of this.#exclusive.splice(0)) go();
		await undefined;
	}

	/** Applies and writes a batch for which there is room. */
	async #finish(batch: Waiting[], meta: number): Promise<void> {
		const builder = new BatchBuilder(this.position, meta);
		const tx = new Transaction(this.state, builder, this.identity.seed);
		const accepted: Waiting[] = [];
		try {
			for (const waiting of batch) {
				try {
					waiting.result = waiting.apply(tx);
					accepted.push(waiting);
				} catch (error) {
					waiting.reject(error);
					if (!(error instanceof OverlayError)) throw error;
				}
			}
			const sync = accepted.some((waiting) => waiting.stable);
			if (builder.operations > 0) await this.#append(builder, sync);
			else if (sync) {
				this.#tell();
				await this.sync();
			}
			// A sync of the checkpoint or of a fill has failed meanwhile: whether ours covers that is not known.
			if (sync && this.failure) throw this.failure;
		} catch (error) {
			tx.rollback();
			if (!isNoSpace(error)) this.fail(error);
			// All of them: those behind the one that threw were never looked at, and a second answer is ignored.
			for (const waiting of batch) waiting.reject(this.failure ?? noSpace(error));
			return;
		}
		this.#tell();
		this.#written = accepted;
		this.events.onBatch();
	}

	async #append(builder: BatchBuilder, sync: boolean): Promise<void> {
		const parts = builder.finish(this.identity, this.sequence, this.synced, this.state.clock);
		this.inFlight = builder;
		const started = performance.now();
		try {
			const writing = this.lane.write(this.fd, parts, builder.position, sync);
			this.#tell();
			await writing;
		} finally {
			this.inFlight = undefined;
		}
		if (sync) {
			this.synced = this.sequence;
			const took = performance.now() - started;
			this.#company.synced(took);
			this.onSync?.(took);
			this.#syncs++;
			this.fillNext();
		}
		this.sequence++;
		this.head = builder.end - this.active * this.segments.bytes;
		// The operations themselves are read by nobody but recovery and compaction, from the disk.
		const [meta] = parts;
		if (builder.inline) this.events.onWritten(builder.position, parts);
		else if (parts.length > 1) this.events.onWritten(builder.position + meta.length, parts.slice(1));
	}

	/**
	 * Sees to it that `size` bytes fit at the head. Returns undefined when they do, or those of `batch` that may go
	 * on when the others must be told that there is no space. Throws ENOSPC when nobody may.
	 */
	async #room(size: number, batch: Waiting[]): Promise<Waiting[] | undefined> {
		if (!this.reserve.whole && batch.some((w) => !w.privileged) && !this.reserve.restore()) {
			return batch.filter((w) => w.privileged);
		}
		while (this.head + size > this.segments.bytes || this.#mayHop()) {
			const next = this.#next();
			if (next === undefined) {
				this.#tell();
				await this.events.onPlanUsed();
				if (this.failure) return undefined;
				continue;
			}
			this.#tell();
			try {
				await this.segments.blocks.prepare(next);
			} catch (error) {
				if (!isNoSpace(error)) throw error;
				const privileged = batch.filter((w) => w.privileged);
				if (privileged.length < batch.length) return privileged;
				if (!this.reserve.release()) throw error;
				continue;
			}
			this.enter(next);
		}
		return undefined;
	}

	/** Has the next planned segment filled in the background, if the log is written in pieces so small that it pays. */
	fillNext(): void {
		if (this.#syncs < syncsToFill(this.segments.bytes)) return;
		const next = this.#next();
		if (next !== undefined && !this.failure) this.segments.blocks.fill(next);
	}

	#next(): number | undefined {
		return this.segments.plan[this.segments.plan.indexOf(this.active) + 1];
	}

	/**
	 * True when the segment in use was only allocated, is used by half at most, and one filled with zeros waits. Never
	 * before its first batch: recovery takes a planned segment that begins with none for the end of the log.
	 */
	#mayHop(): boolean {
		if (this.head === 0 || this.segments.blocks.isFilled(this.active) || this.head > this.segments.bytes / 2)
			return false;
		const next = this.#next();
		return next !== undefined && this.segments.blocks.isFilled(next);
	}

	/** The log goes on at the start of a prepared segment. */
	enter(segment: number): void {
		this.segments.active = segment;
		this.head = 0;
		this.#syncs = 0;
		this.events.onSegment(segment);
	}
}
