/**
 * Starts reads of single records: all that are begun in one turn of the event loop go to the native threads in one call,
 * and one call back tells of all that have ended. A miss costs no promise and no job object here.
 */
import type { Lane, RecordQueue } from "../../native/index.js";
import { RecordRequests } from "../../native/record-requests.js";
import type { DescriptorCache, OpenFile } from "./file-descriptors.js";
import type { RecordWaiter, Wanted } from "./store.js";

/** Reads under way at once; more are not started this way. */
const TICKETS = 1024;
/** Reads of one native call. */
const BATCH = 128;
/** What a record of a data block can have: 1 MiB of plain bytes, and room for header and tag. */
const MAX_RECORD_BYTES = 2 * 1024 * 1024;

export class RecordStarter {
	readonly #descriptors: DescriptorCache;
	readonly #queue: RecordQueue;
	readonly #requests = new RecordRequests(BATCH);
	readonly #outcomes = new Uint32Array(TICKETS);
	/** by ticket */
	readonly #waiters: (RecordWaiter | undefined)[] = new Array(TICKETS).fill(undefined);
	readonly #files: (OpenFile | undefined)[] = new Array(TICKETS).fill(undefined);
	readonly #free: number[] = Array.from({ length: TICKETS }, (_, n) => n);
	/** of the batch that gathers */
	#targets: Uint8Array[] = [];
	readonly #tickets = new Uint32Array(BATCH);
	readonly #flushing = () => this.#flush();

	constructor(lane: Lane, descriptors: DescriptorCache) {
		this.#descriptors = descriptors;
		this.#queue = lane.recordQueue(this.#outcomes, (count) => this.#ended(count));
	}

	/** As `Store.startRecord`. */
	start(
		name: string,
		position: number,
		length: number,
		seal: Uint8Array | undefined,
		wanted: Wanted,
		waiter: RecordWaiter,
	): boolean {
		if (length > MAX_RECORD_BYTES || this.#free.length === 0) return false;
		const file = this.#descriptors.acquireOpen(name);
		if (file === undefined) return false;
		const ticket = this.#free.pop()!;
		this.#waiters[ticket] = waiter;
		this.#files[ticket] = file;
		const at = this.#targets.length;
		const { identity, offset, type, rawLength, targetOffset } = wanted;
		this.#requests.set(at, ticket, file.fd, position, length, identity, offset, type, rawLength, targetOffset, seal);
		this.#tickets[at] = ticket;
		this.#targets.push(wanted.target);
		if (at === 0) queueMicrotask(this.#flushing);
		if (at + 1 === BATCH) this.#flush();
		return true;
	}

	#flush(): void {
		const targets = this.#targets;
		if (targets.length === 0) return;
		this.#targets = [];
		let queued = false;
		try {
			queued = this.#queue.submit(this.#requests.bytes, targets);
		} catch {
			// One request that is not acceptable: each is told so by itself when it is read again.
		}
		if (queued) return;
		const tickets = this.#tickets.slice(0, targets.length);
		queueMicrotask(() => {
			for (const ticket of tickets) this.#end(ticket, false);
		});
	}

	#ended(count: number): void {
		for (let n = 0; n < count; n++) this.#end(this.#outcomes[n] >>> 1, (this.#outcomes[n] & 1) === 1);
	}

	#end(ticket: number, good: boolean): void {
		const waiter = this.#waiters[ticket]!;
		this.#descriptors.release(this.#files[ticket]!);
		this.#waiters[ticket] = undefined;
		this.#files[ticket] = undefined;
		this.#free.push(ticket);
		waiter.recordRead(good);
	}
}
