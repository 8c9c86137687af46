/** Carries requests out and writes their replies, at once where the Image answers at once. */
import type { Slab, SlabPool } from "../../net/slabs.js";
import { Command, CommandFlag, Errno } from "../protocol.js";
import { carryOut, othersTurn } from "./commands.js";
import { failureOf, isGone, isUnexpected, WORDS } from "./failure.js";
import type { Chosen } from "./handshake.js";
import type { Incoming } from "./incoming.js";
import type { Totals } from "./limits.js";
import { replyToPart, replyToRead } from "./read-reply.js";
import type { Replies } from "./replies.js";
import type { Request } from "./request.js";
import { describe } from "./status.js";

/** Reads that cannot be lent and are shorter come out of Node's own pool. */
const SMALL_READ = 16 * 1024;
const SCRATCH = 1024 * 1024;
/** Longer reads are answered part by part, each when there is room for it. */
const READ_PART = 1024 * 1024;
/** bytes held by all connections beyond which nobody gets a longer read that must be answered in one piece */
const WHOLE_READS = 256 * 1024 * 1024;
/** what the runs of a block status take, in bytes */
const STATUS_BYTES = 256 * 1024;

export interface HandlerOptions {
	chosen: Chosen;
	replies: Replies;
	pool: SlabPool;
	totals: Totals;
	/** A request is answered later; to be called when its reply is written. @param bytes that it holds */
	defer: (bytes: number) => () => void;
	/** resolves when more replies may be written; false: nobody is there to get them */
	room: () => Promise<boolean>;
	/** ends the connection; takes the reason, for the log */
	giveUp: (why: string) => void;
	log: (line: string) => void;
}

export class RequestHandler {
	readonly #chosen: Chosen;
	/** the block status asked for last has been answered */
	#statuses: Promise<void> = Promise.resolve();
	readonly #replies: Replies;
	readonly #pool: SlabPool;
	readonly #totals: Totals;
	readonly #defer: (bytes: number) => () => void;
	readonly #room: () => Promise<boolean>;
	readonly #giveUp: (why: string) => void;
	readonly #log: (line: string) => void;

	constructor({ chosen, replies, pool, totals, defer, room, giveUp, log }: HandlerOptions) {
		this.#chosen = chosen;
		this.#replies = replies;
		this.#pool = pool;
		this.#totals = totals;
		this.#defer = defer;
		this.#room = room;
		this.#giveUp = giveUp;
		this.#log = log;
	}

	/** Any request but a WRITE, whose data comes behind it, and a DISC. */
	handle(request: Request): void {
		if (request.command === Command.READ) this.#read(request);
		else if (request.command === Command.BLOCK_STATUS) this.#status(request);
		else this.#other(request);
	}

	refuse(request: Request, error: number, words = WORDS[error] ?? ""): void {
		const { command } = request;
		const { structured } = this.#chosen;
		// Only these two must be answered in chunks ("Structured reply chunk message").
		if (structured && (command === Command.READ || command === Command.BLOCK_STATUS))
			this.#replies.error(request, error, words);
		else this.#replies.simple(request, error);
	}

	#read(request: Request): void {
		const { offset, length } = request;
		const { structured } = this.#chosen;
		if (length > READ_PART) {
			if (structured && (request.flags & CommandFlag.DF) === 0) {
				void this.#readLong(request);
				return;
			}
			// It cannot be answered in parts, and must not take what others need.
			if (structured || this.#totals.held + length > WHOLE_READS) {
				this.refuse(request, structured ? Errno.EOVERFLOW : Errno.ENOMEM);
				return;
			}
		}
		try {
			const slices = this.#borrow(offset, length);
			if (!slices) {
				this.#readInto(request);
				return;
			}
			replyToRead(this.#replies, request, slices, structured);
			this.#totals.bytesRead += length;
		} catch (error) {
			this.#failed(request, error);
		}
	}

	/** Slices that are given back with the batch in which they leave. */
	#borrow(offset: number, length: number): Buffer[] | undefined {
		const loans = this.#chosen.exported.image.borrow?.(offset, length);
		if (!loans) return undefined;
		for (const loan of loans) this.#replies.own(loan);
		return loans.map(({ data }) => data);
	}

	#readInto(request: Request): void {
		const { offset, length } = request;
		const slab = length < SMALL_READ ? undefined : this.#pool.take(length);
		const target = slab ? slab.buffer.subarray(0, length) : Buffer.allocUnsafe(length);
		let pending: void | Promise<void>;
		try {
			pending = this.#chosen.exported.image.read(offset, target);
		} catch (error) {
			slab?.drop();
			throw error;
		}
		if (!pending) {
			this.#answerRead(request, target, slab);
			return;
		}
		const done = this.#defer(length);
		pending.then(
			() => {
				this.#answerRead(request, target, slab);
				done();
			},
			(error: unknown) => {
				slab?.drop();
				this.#failed(request, error);
				done();
			},
		);
	}

	/** Never rejects. */
	async #readLong(request: Request): Promise<void> {
		const end = request.offset + request.length;
		const done = this.#defer(READ_PART);
		try {
			for (let at = request.offset; at < end; at += READ_PART) {
				if (!(await this.#room())) break;
				await this.#readPart(request, at, Math.min(READ_PART, end - at));
			}
		} catch (error) {
			this.#failed(request, error);
		}
		done();
	}

	async #readPart(request: Request, offset: number, length: number): Promise<void> {
		let slices = this.#borrow(offset, length);
		if (!slices) {
			const slab = this.#pool.take(length);
			const target = slab.buffer.subarray(0, length);
			try {
				await this.#chosen.exported.image.read(offset, target);
			} catch (error) {
				slab.drop();
				throw error;
			}
			this.#replies.own({ release: () => slab.drop() });
			slices = [target];
		}
		replyToPart(this.#replies, request, offset, slices);
		this.#totals.bytesRead += length;
	}

	#answerRead(request: Request, target: Buffer, slab: Slab | undefined): void {
		replyToRead(this.#replies, request, [target], this.#chosen.structured);
		if (slab) this.#replies.own({ release: () => slab.drop() });
		this.#totals.bytesRead += request.length;
	}

	answerWrite(incoming: Incoming, request: Request): void {
		if (incoming.failure !== undefined) this.#failed(request, incoming.failure);
		else this.refuse(request, incoming.refusal);
	}

	#other(request: Request): void {
		const { exported } = this.#chosen;
		let slab: Slab | undefined;
		const scratch = (): Buffer => {
			slab = this.#pool.take(SCRATCH);
			return slab.buffer;
		};
		const done = this.#defer(request.command === Command.CACHE ? SCRATCH : 0);
		carryOut(exported, request, scratch)
			.then(
				() => this.#replies.simple(request, 0),
				(error: unknown) => this.#failed(request, error),
			)
			.finally(() => {
				slab?.drop();
				done();
			});
	}

	#status(request: Request): void {
		const { contexts } = this.#chosen;
		const { offset, length, flags } = request;
		const one = (flags & CommandFlag.REQ_ONE) !== 0;
		const done = this.#defer(STATUS_BYTES);
		// One after the other: many at once would keep the event loop from everybody else.
		const answer = this.#statuses.then(() =>
			Promise.all(contexts.map(({ source }) => describe(source, offset, length, one))),
		);
		this.#statuses = answer.then(othersTurn, othersTurn);
		answer
			.then(
				(answers) => {
					for (const [index, descriptors] of answers.entries()) {
						const last = index === answers.length - 1;
						this.#replies.blockStatus(request, contexts[index].id, descriptors, last);
					}
				},
				(error: unknown) => this.#failed(request, error),
			)
			.finally(done);
	}

	#failed(request: Request, error: unknown): void {
		if (isGone(error)) {
			this.#giveUp("its export is no longer served");
			return;
		}
		const { error: number, words } = failureOf(error);
		if (isUnexpected(error)) this.#log(`internal error: ${(error as Error).stack}`);
		this.refuse(request, number, words);
	}
}
