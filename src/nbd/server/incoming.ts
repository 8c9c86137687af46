/**
 * A WRITE whose data is arriving. Large ones are written part by part as they come, so that no connection can make us
 * hold tens of megabytes; a client is answered when all parts are done.
 */

import { writePart } from "./commands.js";
import type { NbdExport } from "./export.js";
import type { Request } from "./request.js";

/** Data up to this length is written in one piece. */
const PART = 1024 * 1024;

export class Incoming {
	/** bytes that have not been taken yet */
	left: number;
	/** the first error of a part */
	failure: unknown;
	#offset: number;
	#pending = 0;

	/** @param refusal error number of a write that is not carried out: its data is still taken, and dropped */
	constructor(
		readonly request: Request,
		private readonly stable: boolean,
		readonly refusal: number,
		private readonly exported: NbdExport,
	) {
		this.left = request.length;
		this.#offset = request.offset;
	}

	/** bytes that must be there in one piece before more can be taken */
	get wanted(): number {
		return this.refusal !== 0 ? 1 : Math.min(this.left, PART);
	}

	/** How many of `available` bytes are taken next; 0: too few are there. */
	next(available: number): number {
		const wanted = Math.min(this.left, PART);
		if (available >= wanted) return wanted;
		return this.refusal !== 0 ? available : 0;
	}

	get done(): boolean {
		return this.left === 0 && this.#pending === 0;
	}

	/** Takes `length` bytes. The promise never rejects; call `settle` when it has settled. */
	take(length: number, data: () => Buffer): Promise<void> | undefined {
		const offset = this.#offset;
		this.#offset += length;
		this.left -= length;
		const { exported } = this;
		if (this.refusal !== 0 || this.failure !== undefined || exported.readOnly) return undefined;
		this.#pending++;
		return writePart(exported.image, offset, data(), this.stable).catch((error: unknown) => {
			this.failure ??= error;
		});
	}

	/** A part has been written, or has failed. True: it was the last. */
	settle(): boolean {
		this.#pending--;
		return this.done;
	}
}
