/**
 * One TCP connection: parses every record of a socket read as one batch, in place, and sends the replies of the
 * batch with one writev. Parsing pauses while too much is unsent or in flight; then TCP makes the peer wait.
 */
import type { Socket } from "node:net";
import { performance } from "node:perf_hooks";
import { adopt, writeBatch } from "../../net/adopt.js";
import type { SlabPool } from "../../net/slabs.js";
import type { Peer } from "../access/peer.js";
import { Dispatcher, type Service, type Sink } from "./dispatcher.js";
import { ReceiveBuffer } from "./receive-buffer.js";
import { type Batch, ReplyWriter } from "./reply-writer.js";

export interface Limits {
	/** bytes of one call, record marks excluded */
	maxRecord: number;
	/** replies of one writev; two buffers each make IOV_MAX (1024) */
	batchReplies: number;
	/** bytes of one writev, and of what one connection may send before all others have had their turn */
	batchBytes: number;
	/** ms that requests of one connection may take before all others have had their turn */
	turnTime: number;
	/** requests of one connection that may be in flight */
	inFlight: number;
	/** bytes of their arguments and of the replies that are being made for them */
	inFlightBytes: number;
	/** unsent bytes of all connections above which each may have only one batch unsent */
	unsentBytes: number;
	/** ms a record may take to arrive */
	recordTimeout: number;
	/** ms a batch may take to leave */
	sendTimeout: number;
	/** ms between looks at these two */
	sweepInterval: number;
}

export const LIMITS: Limits = {
	maxRecord: 1024 * 1024 + 4096,
	batchReplies: 512,
	batchBytes: 1024 * 1024,
	turnTime: 1,
	inFlight: 512,
	inFlightBytes: 16 * 1024 * 1024,
	unsentBytes: 64 * 1024 * 1024,
	recordTimeout: 60_000,
	sendTimeout: 300_000,
	sweepInterval: 5000,
};

/** Requests, or bytes of their arguments and replies, between looks at the clock. */
const LOOK_EVERY = 4;
const LOOK_BYTES = 128 * 1024;

export class Connection implements Sink {
	readonly peer: Peer;
	readonly replies: ReplyWriter;
	readonly #service: Service;
	readonly #limits: Limits;
	readonly #socket: Socket;
	readonly #receive: ReceiveBuffer;
	readonly #dispatcher: Dispatcher;
	readonly #onClosed: (connection: Connection) => void;
	/** bytes and length of the record being handled, for `defer` */
	#recordBytes = 0;
	#inFlight = 0;
	#inFlightBytes = 0;
	/** a writev is under way */
	#sending = false;
	#paused = false;
	#flushScheduled = false;
	/** batches that are full and wait for the one under way */
	readonly #full: Batch[] = [];
	/** bytes handed over since others have certainly had a turn */
	#turnBytes = 0;
	#ended = false;
	#closing = false;
	#closed = false;
	/** performance.now() when the unfinished record began to arrive, or the batch under way was handed over */
	#receivingSince = 0;
	#sendingSince = 0;

	constructor(
		accepted: Socket,
		peer: Peer,
		service: Service,
		pool: SlabPool,
		limits: Limits,
		onClosed: (connection: Connection) => void,
	) {
		this.peer = peer;
		this.#service = service;
		this.#limits = limits;
		this.#onClosed = onClosed;
		this.replies = new ReplyWriter(pool);
		this.#receive = new ReceiveBuffer(pool, limits.maxRecord);
		this.#dispatcher = new Dispatcher(peer, service, this);
		this.#socket = adopt(accepted, {
			room: () => this.#receive.room(),
			arrived: (length) => this.#arrived(length),
		});
		this.#socket.on("error", () => this.destroy());
		this.#socket.on("close", () => this.#onClose());
		this.#socket.on("end", () => {
			this.#ended = true;
			this.#endWhenDone();
		});
		this.#socket.resume();
	}

	#arrived(length: number): boolean {
		this.#receive.arrived(length);
		this.#parse();
		return !this.#paused;
	}

	/** Handles what is complete, batch after batch, until nothing is left or the peer must wait. */
	#parse(): void {
		this.#paused = false;
		if (this.#closed || this.#closing) return;
		const started = performance.now();
		let handled = 0;
		let bytes = 0;
		this.#dispatcher.batch++;
		try {
			for (;;) {
				if (this.#mustWait()) {
					this.#paused = true;
					break;
				}
				if (bytes >= LOOK_BYTES || (handled > 0 && handled % LOOK_EVERY === 0)) {
					bytes = 0;
					if (this.#turnIsOver(started)) {
						this.#paused = true;
						break;
					}
				}
				const record = this.#receive.next();
				if (record === undefined) break;
				handled++;
				this.#recordBytes = record.remaining;
				if (!this.#dispatcher.handle(record)) {
					this.#service.stats.malformed++;
					this.destroy();
					return;
				}
				bytes += this.#recordBytes + this.#dispatcher.expected;
			}
		} catch (error) {
			// FramingError: the stream cannot be followed any further.
			this.#service.log(`connection from ${this.peer.address} closed: ${(error as Error).message}`);
			this.destroy();
			return;
		} finally {
			this.#flush();
			this.#service.stats.endBatch(performance.now() - started);
		}
		if (!this.#receive.unfinished || this.#paused) this.#receivingSince = 0;
		else if (handled > 0 || this.#receivingSince === 0) this.#receivingSince = started;
	}

	/** True when others have waited long enough for this connection's requests; the next turn goes on with them. */
	#turnIsOver(started: number): boolean {
		if (this.#service.stats.connections < 2) return false;
		if (performance.now() - started < this.#limits.turnTime) return false;
		this.flushSoon();
		return true;
	}

	/** True when parsing must stop; sends a batch that is full. */
	#mustWait(): boolean {
		const limits = this.#limits;
		if (this.#inFlight >= limits.inFlight || this.#inFlightBytes >= limits.inFlightBytes) return true;
		const replies = this.replies;
		if (this.#sending && this.#service.stats.unsentBytes > limits.unsentBytes) return true;
		if (replies.replies < limits.batchReplies && replies.size < limits.batchBytes && this.#full.length === 0)
			return false;
		this.#flush();
		// Still there: the batch before it has not left yet, or others have their turn first.
		return this.#unsent;
	}

	/** Replies are written and not handed over. */
	get #unsent(): boolean {
		return this.#full.length > 0 || this.replies.replies > 0;
	}

	/** Sends what it may; the rest follows when the batch under way has left or others have had their turn. */
	#flush(): void {
		while (!this.#sending && this.#unsent) {
			if (this.#turnBytes >= this.#limits.batchBytes) {
				this.flushSoon();
				return;
			}
			this.#send(this.#full.shift() ?? this.replies.take()!);
		}
	}

	#send(batch: Batch): void {
		if (this.#closed) {
			batch.release();
			return;
		}
		this.#turnBytes += batch.bytes;
		this.#service.stats.unsentBytes += batch.bytes;
		this.#sending = true;
		let returned = false;
		writeBatch(this.#socket, batch.chunks, (error) => {
			this.#sent(batch);
			if (error) this.destroy();
			else if (returned) this.#proceed();
		});
		returned = true;
		if (this.#sending) this.#sendingSince = performance.now();
	}

	#sent(batch: Batch): void {
		this.#sending = false;
		this.#service.stats.unsentBytes -= batch.bytes;
		batch.release();
	}

	/** After a batch has left or requests were answered: sends what has gathered, parses on. */
	#proceed(): void {
		this.#flush();
		if (this.#paused && !this.#mustWait()) {
			this.#parse();
			if (!this.#paused) this.#socket.resume();
		}
		this.#endWhenDone();
	}

	defer(): () => void {
		const slab = this.#receive.current;
		const bytes = this.#recordBytes + this.#dispatcher.expected;
		slab.hold();
		this.#inFlight++;
		this.#inFlightBytes += bytes;
		return () => {
			slab.drop();
			this.#inFlight--;
			this.#inFlightBytes -= bytes;
			if (this.replies.size >= this.#limits.batchBytes) this.#full.push(this.replies.take()!);
			this.flushSoon();
		};
	}

	flushSoon(): void {
		if (this.#flushScheduled) return;
		this.#flushScheduled = true;
		// After the poll phase: everything that completes in this turn of the loop leaves together.
		setImmediate(() => {
			this.#flushScheduled = false;
			this.#turnBytes = 0;
			this.#proceed();
		});
	}

	/** Called from time to time: ends a connection that stalls in the middle of a record or does not read. */
	checkStall(now: number): void {
		const { recordTimeout, sendTimeout } = this.#limits;
		const receiving = this.#receivingSince > 0 && now - this.#receivingSince > recordTimeout;
		const sending = this.#sending && now - this.#sendingSince > sendTimeout;
		if (receiving || sending) {
			const what = receiving ? "a request did not arrive in time" : "the client does not take its replies";
			this.#service.log(`connection from ${this.peer.address} closed: ${what}`);
			this.destroy();
		}
	}

	/** Stops parsing and closes once what is in flight has been answered and sent. */
	end(): void {
		this.#closing = true;
		this.#socket.pause();
		this.#endWhenDone();
	}

	#endWhenDone(): void {
		if (!this.#ended && !this.#closing) return;
		if (this.#inFlight > 0 || this.#sending || this.#unsent || this.#paused) return;
		this.destroy();
	}

	destroy(): void {
		this.#closing = true;
		this.#socket.destroy();
	}

	#onClose(): void {
		if (this.#closed) return;
		this.#closed = true;
		for (const batch of this.#full.splice(0)) batch.release();
		this.replies.take()?.release();
		this.#receive.close();
		this.#onClosed(this);
	}
}
