/** Sends the batches of a connection: one writev at a time, and not more in one turn than leaves others theirs. */
import { performance } from "node:perf_hooks";
import type { Channel } from "./channel.js";
import type { Limits, Totals } from "./limits.js";
import type { Batch, Replies } from "./replies.js";

export class Sender {
	/** a writev is under way */
	sending = false;
	#scheduled = false;
	/** bytes handed over since others have certainly had a turn */
	#turnBytes = 0;
	#sendingSince = 0;
	#closed = false;
	#waiting: (() => void)[] = [];

	/** @param proceed called when a batch has left, or what was scheduled was sent */
	constructor(
		private readonly channel: Channel,
		private readonly replies: Replies,
		private readonly limits: Limits,
		private readonly totals: Totals,
		private readonly proceed: () => void,
	) {}

	/** Something is written and has not left. */
	get busy(): boolean {
		return this.sending || this.replies.bytes > 0;
	}

	/** True when no more replies should be made now: the batch is full and cannot leave yet. */
	crowded(): boolean {
		if (!this.#full()) return false;
		this.flush();
		return this.#full();
	}

	#full(): boolean {
		const { batchReplies, batchBytes } = this.limits;
		return this.replies.count >= batchReplies || this.replies.bytes >= batchBytes;
	}

	/** Sends what it may; the rest follows when the batch under way has left or others have had their turn. */
	flush(): void {
		if (this.#closed) this.replies.take()?.release();
		if (this.sending || this.replies.bytes === 0) return;
		if (this.#turnBytes >= this.limits.batchBytes) {
			this.flushSoon();
			return;
		}
		this.#send(this.replies.take()!);
	}

	#send(batch: Batch): void {
		this.#turnBytes += batch.bytes;
		this.totals.held += batch.bytes;
		this.sending = true;
		let returned = false;
		this.channel.write(batch.pieces, (error) => {
			this.sending = false;
			this.totals.held -= batch.bytes;
			batch.release();
			if (error) this.channel.destroy();
			else if (returned) {
				this.flush();
				this.proceed();
			}
			this.#wake();
		});
		returned = true;
		if (this.sending) this.#sendingSince = performance.now();
	}

	/** After the poll phase: everything that completes in this turn of the event loop leaves together. */
	flushSoon(): void {
		if (this.#scheduled) return;
		this.#scheduled = true;
		setImmediate(() => {
			this.#scheduled = false;
			this.#turnBytes = 0;
			this.flush();
			this.proceed();
			this.#wake();
		});
	}

	/** Resolves when there is room for more replies; false: nobody is there to get them. */
	async room(): Promise<boolean> {
		while (!this.#closed && this.crowded()) await new Promise<void>((resolve) => this.#waiting.push(resolve));
		return !this.#closed;
	}

	#wake(): void {
		for (const go of this.#waiting.splice(0)) go();
	}

	stalled(now: number): boolean {
		return this.sending && now - this.#sendingSince > this.limits.sendTimeout;
	}

	close(): void {
		this.#closed = true;
		this.replies.take()?.release();
		this.#wake();
	}
}
