/**
 * Replay: what is valid in the log after the checkpoint is applied, and written again elsewhere under the new
 * generation (docs/overlay-format.md, "Open"). Synchronous: nobody is served yet.
 */
import { sys } from "../../native/index.js";
import {
	BATCH_HEADER,
	type BatchIdentity,
	type BatchInfo,
	parseMeta,
	payloadsIntact,
	peekBatch,
	reidentify,
} from "./batch.js";
import { OverlayError } from "./contract.js";
import { corrupt, isNoSpace } from "./errors.js";
import { PAGE } from "./geometry.js";
import { MOVE, type Operation, WRITE } from "./operations.js";
import type { Reserve } from "./reserve.js";
import type { Segments } from "./segments.js";
import type { State } from "./state.js";
import type { Superblock } from "./superblock.js";

const LOOK_AHEAD = 2 * 1024 * 1024;

export interface Replayed {
	/** sequence of the next batch */
	sequence: number;
	/** where the rewritten log ends: segment and offset in it */
	active: number;
	head: number;
	batches: number;
}

export class Recovery {
	readonly #plan: number[] = [];
	#head = 0;
	#sequence: number;
	#batches = 0;

	constructor(
		readonly directory: string,
		readonly fd: number,
		readonly state: State,
		readonly segments: Segments,
		readonly reserve: Reserve,
		readonly from: Superblock,
		readonly old: BatchIdentity,
		readonly fresh: BatchIdentity,
	) {
		this.#sequence = from.sequence;
	}

	async run(): Promise<Replayed> {
		const size = this.segments.bytes;
		let index = 0;
		let at = this.from.position;
		// A position at the end of a segment belongs to the first one of the plan all the same.
		let end = (this.from.plan[0] + 1) * size;
		while (!this.from.clean) {
			const batch = at < end ? this.#read(at, end) : undefined;
			if (batch) {
				await this.#replay(batch);
				at += batch.info.length;
				continue;
			}
			const next = this.from.plan[index + 1];
			if (next === undefined || !this.#read(next * size, (next + 1) * size)) {
				this.#checkDamage(at, end, next);
				break;
			}
			index++;
			at = next * size;
			end = at + size;
		}
		if (this.#plan.length === 0) {
			// Nothing to write again: the log begins with the next planned segment, and needs no space for that now.
			this.#plan.push(this.segments.take());
			this.#head = size;
		} else this.#sync();
		this.segments.plan = this.#plan;
		const active = this.#plan[this.#plan.length - 1];
		return { sequence: this.#sequence, active, head: this.#head, batches: this.#batches };
	}

	/** The valid batch of the expected sequence at a position, if there is one. */
	#read(at: number, end: number): { bytes: Buffer; info: BatchInfo; operations: Operation[] } | undefined {
		const header = Buffer.alloc(BATCH_HEADER);
		if (sys.pread(this.fd, header, at) < BATCH_HEADER) return undefined;
		const info = peekBatch(header);
		if (!info || info.sequence !== this.#sequence || at + info.length > end) return undefined;
		if (info.generation !== this.old.generation) return undefined;
		const bytes = Buffer.alloc(info.length);
		if (sys.pread(this.fd, bytes, at) < info.length) return undefined;
		const operations = parseMeta(bytes, info, this.old);
		if (!operations || !payloadsIntact(bytes, operations, this.old.seed)) return undefined;
		return { bytes, info, operations };
	}

	async #replay(batch: { bytes: Buffer; info: BatchInfo; operations: Operation[] }): Promise<void> {
		const { bytes, info, operations } = batch;
		const position = await this.#room(info.length);
		reidentify(bytes, info, this.fresh, this.from.sequence - 1);
		sys.pwrite(this.fd, bytes, position);
		for (const op of operations) {
			this.state.apply(op, op.type === WRITE || op.type === MOVE ? position + op.payload : 0);
		}
		if (info.clock > this.state.clock) this.state.clock = info.clock;
		this.#head += info.length;
		this.#sequence++;
		this.#batches++;
	}

	async #room(length: number): Promise<number> {
		const size = this.segments.bytes;
		if (this.#plan.length === 0 || this.#head + length > size) {
			const segment = this.segments.take();
			await this.#prepare(segment);
			this.#plan.push(segment);
			this.#head = 0;
		}
		return this.#plan[this.#plan.length - 1] * size + this.#head;
	}

	async #prepare(segment: number): Promise<void> {
		try {
			await this.segments.blocks.prepare(segment);
		} catch (error) {
			if (!isNoSpace(error)) throw error;
			if (!this.reserve.release()) throw this.#full(error);
			await this.#prepare(segment);
		}
	}

	#full(cause: unknown): OverlayError {
		const mib = Math.ceil((this.segments.bytes * 4) / 2 ** 20);
		return new OverlayError(
			"ENOSPC",
			`${this.directory}: no space to recover the session; free at least ${mib} MiB on its file system and open it again`,
			{ cause },
		);
	}

	/** A failed sync here is like any other: this open ends, and the next one starts from the old log again. */
	#sync(): void {
		try {
			sys.fdatasync(this.fd);
		} catch (cause) {
			throw new OverlayError("EIO", `${this.directory}/log: sync failed during recovery; check the disk`, { cause });
		}
	}

	/** The batch at `at` is not valid. That is damage, not a torn write, if a later one says that it had been synced. */
	#checkDamage(at: number, end: number, next: number | undefined): void {
		const places: number[] = [];
		for (let p = at + PAGE; p < Math.min(end, at + LOOK_AHEAD); p += PAGE) places.push(p);
		if (next !== undefined) places.push(next * this.segments.bytes);
		for (const place of places) {
			const header = Buffer.alloc(BATCH_HEADER);
			if (sys.pread(this.fd, header, place) < BATCH_HEADER) continue;
			const info = peekBatch(header);
			if (!info || info.generation !== this.old.generation || info.sequence <= this.#sequence) continue;
			const meta = Buffer.alloc(info.metaLength);
			sys.pread(this.fd, meta, place);
			if (info.synced >= this.#sequence && parseMeta(meta, info, this.old)) {
				throw corrupt(`${this.directory}/log`, at, `batch ${this.#sequence} was synced and cannot be read`);
			}
		}
	}
}
