/**
 * Operations on their way into one batch: each is logged and applied in memory in one go, and all are undone
 * when the batch cannot be written.
 */
import { xxh3 } from "../../native/index.js";
import type { BatchBuilder } from "./batch.js";
import type { Content, Operation } from "./operations.js";
import type { State } from "./state.js";

export class Transaction {
	readonly #undo: (() => void)[] = [];

	constructor(
		readonly state: State,
		readonly builder: BatchBuilder,
		/** of payload checksums */
		readonly seed: bigint,
	) {}

	log(op: Operation): void {
		this.builder.add(op);
		this.#undo.push(this.state.apply(op, 0));
	}

	/** Content with payload. `data` must stay untouched until the batch is written. */
	content(op: Content, data: Uint8Array): void {
		op.checksum = xxh3(data, this.seed);
		const position = this.builder.addContent(op, data);
		this.#undo.push(this.state.apply(op, position));
	}

	rollback(): void {
		for (const undo of this.#undo.reverse()) undo();
	}
}
