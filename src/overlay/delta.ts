/**
 * Content changes since the last freeze: runs per file, and what they keep alive in each log segment.
 */
import type { InodeId } from "./contract.js";
import { HOLE, type Run, Runs } from "./runs.js";

export class Delta {
	readonly files = new Map<InodeId, Runs>();
	/** segment → live bytes that only this delta knows of */
	readonly live = new Map<number, number>();
	/** inode → content bytes in its runs */
	readonly bytes = new Map<InodeId, number>();
	/** live payload bytes in all */
	total = 0;
	/** runs in all */
	count = 0;

	constructor(readonly segmentBytes: number) {}

	/** Returns how to undo it. */
	put(id: InodeId, run: Run): () => void {
		const runs = this.#runs(id);
		const gone = this.#change(id, runs, () => runs.put(run));
		this.#account(id, run, 1);
		return () => {
			this.#change(id, runs, () => runs.erase(run.start, run.end));
			for (const old of gone) {
				this.#change(id, runs, () => runs.put(old));
				this.#account(id, old, 1);
			}
		};
	}

	#runs(id: InodeId): Runs {
		let runs = this.files.get(id);
		if (!runs) {
			runs = new Runs();
			this.files.set(id, runs);
		}
		return runs;
	}

	#change(id: InodeId, runs: Runs, act: () => Run[]): Run[] {
		this.count -= runs.list.length;
		const gone = act();
		this.count += runs.list.length;
		for (const run of gone) this.#account(id, run, -1);
		return gone;
	}

	#account(id: InodeId, run: Run, sign: 1 | -1): void {
		if (run.position === HOLE) return;
		const length = (run.end - run.start) * sign;
		if (run.position > 0) {
			const segment = Math.floor(run.position / this.segmentBytes);
			this.live.set(segment, (this.live.get(segment) ?? 0) + length);
			this.total += length;
			this.bytes.set(id, (this.bytes.get(id) ?? 0) + length);
		}
	}
}
