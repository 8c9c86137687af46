/**
 * The transmission phase of one connection: every request of a socket read is parsed in place as one batch, and what
 * can be answered at once leaves with one writev. Parsing pauses while too much is unsent or in flight; then the socket
 * makes the client wait.
 */
import { performance } from "node:perf_hooks";
import type { SlabPool } from "../../net/slabs.js";
import { Command, CommandFlag, REQUEST_MAGIC } from "../protocol.js";
import type { Channel } from "./channel.js";
import { RequestHandler } from "./handler.js";
import type { Chosen } from "./handshake.js";
import { Incoming } from "./incoming.js";
import { type Limits, MAX_REQUEST, type Totals } from "./limits.js";
import { Replies } from "./replies.js";
import { REQUEST_HEADER, type Request, readRequest, refusalOf } from "./request.js";
import { Sender } from "./sender.js";

export interface TransmissionOptions {
	channel: Channel;
	chosen: Chosen;
	pool: SlabPool;
	limits: Limits;
	totals: Totals;
	/** takes one line; names the peer by itself */
	log: (line: string) => void;
}

export class Transmission {
	readonly #channel: Channel;
	readonly #chosen: Chosen;
	readonly #limits: Limits;
	readonly #totals: Totals;
	readonly #log: (line: string) => void;
	readonly #handler: RequestHandler;
	readonly #sender: Sender;
	/** a WRITE whose data is arriving */
	#incoming: Incoming | undefined;
	#inFlight = 0;
	#inFlightBytes = 0;
	#paused = false;
	/** no more requests are taken: the client has disconnected, or the server closes */
	#closing = false;
	/** performance.now() when the unfinished request began to arrive */
	#receivingSince = 0;

	constructor({ channel, chosen, pool, limits, totals, log }: TransmissionOptions) {
		this.#channel = channel;
		this.#chosen = chosen;
		this.#limits = limits;
		this.#totals = totals;
		this.#log = log;
		const replies = new Replies(pool);
		this.#sender = new Sender(channel, replies, limits, totals, () => this.#proceed());
		const defer = (bytes: number) => this.#defer(bytes);
		const giveUp = (why: string) => this.#giveUp(why);
		const room = () => this.#sender.room();
		this.#handler = new RequestHandler({ chosen, replies, pool, totals, defer, room, giveUp, log });
		channel.onArrived = () => {
			this.#parse();
			return !this.#paused && !this.#closing;
		};
		channel.onEnd = () => this.#endWhenDone();
	}

	/** Begins with what came behind the handshake. */
	start(): void {
		this.#channel.need = REQUEST_HEADER;
		this.#parse();
		if (!this.#paused && !this.#closing) this.#channel.resume();
		this.#endWhenDone();
	}

	#parse(): void {
		this.#paused = false;
		if (this.#channel.closed || this.#closing) return;
		const { receive } = this.#channel;
		let handled = 0;
		for (;;) {
			if (this.#mustWait()) {
				this.#paused = true;
				break;
			}
			if (this.#incoming) {
				if (!this.#takePart(this.#incoming)) break;
			} else {
				if (receive.available < REQUEST_HEADER) {
					this.#channel.need = REQUEST_HEADER;
					break;
				}
				const { view } = receive.slab;
				const at = receive.take(REQUEST_HEADER);
				if (view.getUint32(at) !== REQUEST_MAGIC) {
					this.#giveUp("what it sends is no request");
					return;
				}
				this.#begin(readRequest(view, at));
				if (this.#closing) break;
			}
			handled++;
		}
		this.#sender.flush();
		const unfinished = receive.available > 0 || this.#incoming !== undefined;
		if (!unfinished || this.#paused) this.#receivingSince = 0;
		else if (handled > 0 || this.#receivingSince === 0) this.#receivingSince = performance.now();
	}

	/** True when parsing must stop; sends a batch that is full. */
	#mustWait(): boolean {
		const limits = this.#limits;
		if (this.#inFlight >= limits.inFlight || this.#inFlightBytes >= limits.inFlightBytes) return true;
		if (this.#totals.held > limits.totalBytes && (this.#inFlight > 0 || this.#sender.sending)) return true;
		return this.#sender.crowded();
	}

	#begin(request: Request): void {
		this.#totals.requests++;
		const { exported } = this.#chosen;
		const { command, flags, length } = request;
		if (command === Command.DISCONNECT) {
			this.#closing = true;
			this.#endSoon();
			return;
		}
		const error = refusalOf(request, this.#chosen);
		if (command === Command.WRITE) {
			if (length > MAX_REQUEST) {
				this.#giveUp(`a write of ${length} bytes; the limit is ${MAX_REQUEST}`);
				return;
			}
			const stable = (flags & CommandFlag.FUA) !== 0;
			if (error !== 0 && length === 0) this.#handler.refuse(request, error);
			else this.#incoming = new Incoming(request, stable, error, exported);
			return;
		}
		if (error !== 0) this.#handler.refuse(request, error);
		else this.#handler.handle(request);
	}

	/** Takes what has come of a WRITE's data. False: more must come first. */
	#takePart(incoming: Incoming): boolean {
		const { receive } = this.#channel;
		const { slab } = receive;
		const length = incoming.next(receive.available);
		if (length === 0) {
			this.#channel.need = incoming.wanted;
			return false;
		}
		const at = receive.take(length);
		const { request } = incoming;
		const last = incoming.left === length;
		if (last) this.#incoming = undefined;
		const work = incoming.take(length, () => slab.buffer.subarray(at, at + length));
		if (work) {
			slab.hold();
			const done = this.#defer(length);
			void work.then(() => {
				slab.drop();
				this.#totals.bytesWritten += length;
				if (incoming.settle()) this.#handler.answerWrite(incoming, request);
				done();
			});
		} else if (last && incoming.done) this.#handler.answerWrite(incoming, request);
		return true;
	}

	/** A request that is answered later; call the result when its reply is written. @param bytes that it holds */
	#defer(bytes: number): () => void {
		this.#inFlight++;
		this.#inFlightBytes += bytes;
		this.#totals.held += bytes;
		return () => {
			this.#inFlight--;
			this.#inFlightBytes -= bytes;
			this.#totals.held -= bytes;
			this.#sender.flushSoon();
		};
	}

	/** After a batch has left or requests were answered: parses on. */
	#proceed(): void {
		if (this.#paused && !this.#mustWait()) {
			this.#parse();
			if (!this.#paused && !this.#closing) this.#channel.resume();
		}
		this.#endWhenDone();
	}

	#endSoon(): void {
		setImmediate(() => this.#endWhenDone());
	}

	#endWhenDone(): void {
		if (!this.#channel.ended && !this.#closing) return;
		if (this.#inFlight > 0 || this.#sender.busy || this.#paused) return;
		this.#channel.destroy();
	}

	#giveUp(why: string): void {
		this.#log(`closed: ${why}`);
		this.#closing = true;
		this.#channel.destroy();
	}

	/** Takes no more requests, and closes once what is in flight has been answered and sent. */
	end(): void {
		this.#closing = true;
		this.#paused = false;
		this.#endSoon();
	}

	/** Why the connection is to be given up: it stalls in the middle of a request, or does not read. */
	stalled(now: number): string | undefined {
		if (this.#receivingSince > 0 && now - this.#receivingSince > this.#limits.requestTimeout)
			return "a request did not arrive in time";
		if (this.#sender.stalled(now)) return "the client does not take its replies";
		return undefined;
	}

	/** The connection is closed: what is not sent will not be. */
	closed(): void {
		this.#sender.close();
	}
}
