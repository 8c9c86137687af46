/** An Image that is read no faster than agreed: a backup must not take a production disk's whole bandwidth. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Extent, Image, Loan } from "./image.js";

/** Milliseconds that never go back, and how to wait for some of them. */
export interface Timer {
	now(): number;
	sleep(milliseconds: number): Promise<void>;
}

const systemTimer: Timer = {
	now: () => performance.now(),
	sleep: (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds)),
};

/** The system's, except that nobody waits after the signal. */
export const timerUntil = (signal: AbortSignal | undefined): Timer => ({
	...systemTimer,
	sleep: (milliseconds) => sleep(milliseconds, undefined, { signal }).catch(() => {}),
});

/** How much may be read at once after a pause, as time at the agreed rate. */
const BURST_MS = 100;

/** A rate that several images share. */
export class ReadLimit {
	/** when everything granted so far will have been paid for */
	#paid: number;

	constructor(
		readonly bytesPerSecond: number,
		readonly timer: Timer = systemTimer,
	) {
		if (!(bytesPerSecond > 0)) throw new RangeError(`a limit of ${bytesPerSecond} bytes per second`);
		this.#paid = timer.now() - BURST_MS;
	}

	/** Resolves when so many bytes may be read; first come, first served. */
	async grant(bytes: number): Promise<void> {
		const now = this.timer.now();
		const wait = Math.max(this.#paid, now - BURST_MS) - now;
		this.#paid = now + wait + (bytes / this.bytesPerSecond) * 1000;
		if (wait > 0) await this.timer.sleep(wait);
	}
}

/** `image`, read under `limit`; owns `image`. */
export class LimitedImage implements Image {
	constructor(
		readonly image: Image,
		readonly limit: ReadLimit,
	) {}

	get size(): number {
		return this.image.size;
	}

	async read(offset: number, target: Buffer): Promise<void> {
		await this.limit.grant(target.length);
		await this.image.read(offset, target);
	}

	/** Nothing is lent: what is borrowed could not be made to wait. */
	borrow(): Loan[] | undefined {
		return undefined;
	}

	extents(offset: number, length: number): Extent[] | Promise<Extent[]> {
		return this.image.extents(offset, length);
	}

	close(): Promise<void> {
		return this.image.close();
	}
}
