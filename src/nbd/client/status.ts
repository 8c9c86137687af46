/**
 * Block status → extents. Asks further ahead than it is asked, growing while the answers stay short, so that an
 * empty 64 TiB export is walked in a few thousand requests whatever the caller's step.
 */
import type { Extent, ExtentKind } from "../../image/image.js";
import { pushExtent } from "../../image/range.js";
import { Command, State } from "../protocol.js";
import type { Transmission } from "./transmission.js";

const MIN_WINDOW = 64 * 1024 * 1024;
/** Lengths are 32 bits in the protocol. */
const MAX_WINDOW = 4 * 1024 ** 3 - 1024 ** 2;
/** Windows asked for at once: hides the round trip to a distant server. */
const MAX_AHEAD = 4;
const FEW = 256;
const MANY = 8192;

/** Bits of base:allocation: a hole that does not promise zeros may read as anything, so it is data. */
export function allocationKind(flags: number): ExtentKind {
	if ((flags & State.ZERO) === 0) return "data";
	return (flags & State.HOLE) !== 0 ? "unallocated" : "zero";
}

/** Bit of qemu:dirty-bitmap: (docs/interop/nbd.txt of QEMU): what is dirty is data. */
export const dirtyKind = (flags: number): ExtentKind => ((flags & 1) !== 0 ? "data" : "unallocated");

export class BlockStatus {
	/** what is known, [knownFrom, knownTo) */
	private known: Extent[] = [];
	private knownFrom = 0;
	private knownTo = 0;
	private window = MIN_WINDOW;
	private ahead = 1;

	constructor(
		private readonly transmission: Transmission,
		private readonly context: number,
		private readonly size: number,
		/** minimum block size: requests are aligned to it */
		private readonly align: number,
		private readonly name: string,
		private readonly kindOf: (flags: number) => ExtentKind = allocationKind,
	) {}

	/** The content changed: what is known no longer holds. */
	forget(): void {
		this.known = [];
		this.knownTo = this.knownFrom = 0;
	}

	async extents(offset: number, length: number): Promise<Extent[]> {
		const list: Extent[] = [];
		const end = offset + length;
		for (let at = offset; at < end; ) {
			if (at < this.knownFrom || at >= this.knownTo) await this.ask(at, end - at);
			const to = Math.min(end, this.knownTo);
			let i = this.indexOf(at);
			for (let from = at; from < to; i++) {
				const run = this.known[i];
				const runEnd = Math.min(run.offset + run.length, to);
				pushExtent(list, from, runEnd - from, run.kind);
				from = runEnd;
			}
			at = to;
		}
		return list;
	}

	private indexOf(at: number): number {
		let low = 0;
		let high = this.known.length - 1;
		while (low < high) {
			const middle = (low + high + 1) >> 1;
			if (this.known[middle].offset <= at) low = middle;
			else high = middle - 1;
		}
		return low;
	}

	/** Asks for one window, or for several at once while the answers stay short, and keeps what adjoins. */
	private async ask(at: number, wanted: number): Promise<void> {
		const from = at - (at % this.align);
		const windows: { from: number; length: number }[] = [];
		const wish = Math.min(Math.max(wanted + at - from, this.window), MAX_WINDOW);
		for (let i = 0, start = from; i < this.ahead && start < this.size; i++) {
			const length = Math.min(Math.ceil(wish / this.align) * this.align, this.size - start);
			windows.push({ from: start, length });
			start += length;
		}
		const answers = await Promise.all(windows.map((window) => this.askOne(window.from, window.length)));
		this.known = [];
		this.knownFrom = this.knownTo = from;
		let count = 0;
		for (const [i, answer] of answers.entries()) {
			if (windows[i].from !== this.knownTo) break;
			for (const run of answer.runs) pushExtent(this.known, run.offset, run.length, run.kind);
			this.knownTo = answer.end;
			count = Math.max(count, answer.count);
		}
		// A server may answer for less than it was asked, but never for nothing: then all of it counts as data.
		if (this.knownTo <= at) {
			this.knownTo = from + windows[0].length;
			this.known = [{ offset: from, length: windows[0].length, kind: "data" }];
		}
		if (count < FEW) {
			if (this.window === MAX_WINDOW) this.ahead = Math.min(this.ahead * 2, MAX_AHEAD);
			this.window = Math.min(this.window * 2, MAX_WINDOW);
		} else {
			this.ahead = 1;
			if (count > MANY) this.window = Math.max(this.window / 2, MIN_WINDOW);
		}
	}

	private async askOne(from: number, length: number): Promise<{ runs: Extent[]; end: number; count: number }> {
		const runs: Extent[] = [];
		let end = from;
		let count = 0;
		await this.transmission.submit({
			command: Command.BLOCK_STATUS,
			offset: from,
			length,
			status: (context, descriptors) => {
				if (context !== this.context) return;
				count += descriptors.length / 8;
				for (let i = 0; i < descriptors.length && end < this.size; i += 8) {
					const run = Math.min(descriptors.readUInt32BE(i), this.size - end);
					if (run === 0) throw new Error(`${this.name}: block status with an empty extent`);
					pushExtent(runs, end, run, this.kindOf(descriptors.readUInt32BE(i + 4)));
					end += run;
				}
			},
		});
		return { runs, end, count };
	}
}
