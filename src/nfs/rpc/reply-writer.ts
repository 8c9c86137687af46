/**
 * Encodes the replies of a batch back to back into a slab, with foreign slices (READ data) between them, ready
 * for one writev. Each record gets its mark (RFC 5531 section 11) when it ends.
 */
import type { Chunk } from "../../net/adopt.js";
import { type Slab, type SlabPool, SMALL_SLAB } from "../../net/slabs.js";
import { XdrWriter } from "../xdr/writer.js";
import type { Releasable, ReplyBody } from "./program.js";
import * as rpc from "./protocol.js";

export interface Batch {
	chunks: Chunk[];
	bytes: number;
	replies: number;
	/** To be called once the bytes have left the socket, or never will. */
	release(): void;
}

const NOTHING = new XdrWriter(0);
const PADDING = [0, 3, 2, 1].map((length) => Buffer.alloc(length));
/** mark, xid, REPLY, MSG_ACCEPTED, verifier flavor and length, accept_stat */
const HEADER_BYTES = 28;
/** A record that starts with less room than this starts in a fresh slab instead of moving later. */
const ROOM = 512;

export class ReplyWriter extends XdrWriter implements ReplyBody {
	readonly #pool: SlabPool;
	#slab: Slab | undefined;
	#full: Slab[] = [];
	#chunks: Chunk[] = [];
	#owners: Releasable[] = [];
	#runStart = 0;
	#recordStart = 0;
	#gathered = 0;
	/** a record has begun and not ended */
	#open = false;
	/** closed chunks, in bytes */
	#closed = 0;
	replies = 0;

	constructor(pool: SlabPool) {
		super(0);
		this.#pool = pool;
	}

	/** Bytes of finished and unfinished replies in this batch. */
	get size(): number {
		return this.#closed + this.position - this.#runStart;
	}

	/** Starts an accepted, successful reply; its result follows. */
	begin(xid: number): void {
		this.#start(xid, rpc.SUCCESS);
	}

	/** Ends the reply and returns its length in bytes, mark included. */
	end(): number {
		const length = this.position - this.#recordStart + this.#gathered;
		this.view.setUint32(this.#recordStart, (length - 4 + rpc.LAST_FRAGMENT) >>> 0);
		this.#gathered = 0;
		this.#open = false;
		this.replies++;
		return length;
	}

	/** Forgets the reply begun last. Only before anything was gathered. */
	rollback(): void {
		this.position = this.#recordStart;
		this.#open = false;
	}

	/** A copy of the reply just ended, for the replay cache. Only when nothing was gathered. */
	copyOfLast(): Buffer {
		return Buffer.from(this.buffer.subarray(this.#recordStart, this.position));
	}

	/** Appends a whole reply, mark included. */
	raw(record: Buffer): void {
		this.ensure(record.length);
		this.#recordStart = this.position;
		this.fixed(record);
		this.replies++;
	}

	/** An accepted call that was not carried out: accept_stat other than SUCCESS. */
	refuse(xid: number, acceptStat: number): void {
		this.#start(xid, acceptStat);
		this.end();
	}

	mismatch(xid: number, low: number, high: number): void {
		this.#start(xid, rpc.PROG_MISMATCH);
		this.u32(low);
		this.u32(high);
		this.end();
	}

	/** MSG_DENIED with AUTH_ERROR, or with RPC_MISMATCH when no auth_stat is given. */
	deny(xid: number, authStat?: number): void {
		this.ensure(ROOM);
		this.#open = true;
		this.#recordStart = this.position;
		this.u32(0);
		this.u32(xid);
		this.u32(rpc.REPLY);
		this.u32(rpc.MSG_DENIED);
		if (authStat === undefined) {
			this.u32(rpc.RPC_MISMATCH);
			this.u32(rpc.RPC_VERSION);
			this.u32(rpc.RPC_VERSION);
		} else {
			this.u32(rpc.AUTH_ERROR);
			this.u32(authStat);
		}
		this.end();
	}

	gather(slices: readonly Buffer[], count: number, owner: Releasable): void {
		this.u32(count);
		this.#closeRun();
		for (const chunk of slices) this.#chunks.push({ chunk });
		const padding = PADDING[count & 3];
		if (padding.length > 0) this.#chunks.push({ chunk: padding });
		this.#gathered = count + padding.length;
		this.#closed += this.#gathered;
		if (owner.release !== undefined) this.#owners.push(owner);
	}

	/** Takes the batch so far; undefined when there is nothing. */
	take(): Batch | undefined {
		if (this.replies === 0) return undefined;
		this.#closeRun();
		const slabs = this.#full;
		if (this.#slab !== undefined) slabs.push(this.#slab);
		const owners = this.#owners;
		const batch = {
			chunks: this.#chunks,
			bytes: this.#closed,
			replies: this.replies,
			release: () => {
				for (const slab of slabs) slab.drop();
				for (const owner of owners) owner.release?.();
			},
		};
		this.#slab = undefined;
		this.#full = [];
		this.#chunks = [];
		this.#owners = [];
		this.#closed = 0;
		this.replies = 0;
		this.position = 0;
		this.#runStart = 0;
		this.#recordStart = 0;
		this.buffer = NOTHING.buffer;
		this.view = NOTHING.view;
		return batch;
	}

	#start(xid: number, acceptStat: number): void {
		this.ensure(ROOM);
		this.#open = true;
		const at = this.position;
		const view = this.view;
		this.#recordStart = at;
		view.setUint32(at + 4, xid);
		view.setUint32(at + 8, rpc.REPLY);
		view.setUint32(at + 12, rpc.MSG_ACCEPTED);
		view.setUint32(at + 16, rpc.AUTH_NONE);
		view.setUint32(at + 20, 0);
		view.setUint32(at + 24, acceptStat);
		this.position = at + HEADER_BYTES;
	}

	#closeRun(): void {
		if (this.position === this.#runStart) return;
		this.#chunks.push({ chunk: this.buffer.subarray(this.#runStart, this.position) });
		this.#closed += this.position - this.#runStart;
		this.#runStart = this.position;
	}

	/** Goes on in a fresh slab, taking the unfinished record along. */
	protected override grow(length: number): void {
		// Between records nothing is unfinished, so a full slab is left behind without copying.
		const unfinished = this.#open ? this.position - this.#recordStart : 0;
		const from = this.buffer;
		const start = this.position - unfinished;
		this.position = start;
		this.#closeRun();
		if (this.#slab !== undefined) this.#full.push(this.#slab);
		this.#slab = this.#pool.take(Math.max(SMALL_SLAB, 2 * (unfinished + length)));
		this.buffer = this.#slab.buffer;
		this.view = this.#slab.view;
		from.copy(this.buffer, 0, start, start + unfinished);
		this.#runStart = 0;
		this.#recordStart = 0;
		this.position = unfinished;
	}
}
