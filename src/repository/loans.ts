/** Loans of cached bytes: a slot stays pinned until its loan is released. */
import type { Loan } from "../image/image.js";
import type { SlotPool } from "./slot-pool.js";

export class SlotLoan implements Loan {
	#slot: number;

	constructor(
		private readonly pool: SlotPool,
		slot: number,
		readonly data: Buffer,
	) {
		this.#slot = slot;
	}

	/** A second call is ignored, so that it cannot unpin somebody else's loan. */
	release(): void {
		if (this.#slot < 0) return;
		this.pool.unpin(this.#slot);
		this.#slot = -1;
	}
}

/** Zeros belong to nobody. */
export class ZeroLoan implements Loan {
	constructor(readonly data: Buffer) {}

	release(): void {}
}
