/** Which part of every pack the next `check --read-data=N%` reads: remembered per repository in the state directory. */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { DataSlice } from "../repository/index.js";

/** Positions are whole thousandths of a percent, so that steps add up exactly. */
const WHOLE = 100_000;

export class Rotation {
	readonly #file: string;

	/** `state`: the state directory; `repository`: its id */
	constructor(
		private readonly state: string,
		repository: string,
	) {
		this.#file = join(state, `check-${repository}.json`);
	}

	/** The next slice of `percent` percent. What cannot be read counts as never checked. */
	slice(percent: number): DataSlice {
		let next = 0;
		try {
			next = Number(JSON.parse(readFileSync(this.#file, "utf8")).next);
		} catch {
			// The first check of this repository here, or a file that is no good: begin at the beginning.
		}
		if (!Number.isInteger(next) || next < 0 || next >= WHOLE) next = 0;
		return { from: next / WHOLE, share: percent / 100 };
	}

	/** Remembers that `slice` was read; returns why that failed. */
	advance({ from, share }: DataSlice): string | undefined {
		const next = Math.round((from + share) * WHOLE) % WHOLE;
		try {
			mkdirSync(this.state, { recursive: true, mode: 0o700 });
			writeFileSync(`${this.#file}.new`, `${JSON.stringify({ next })}\n`, { mode: 0o600 });
			renameSync(`${this.#file}.new`, this.#file);
			return undefined;
		} catch (error) {
			return (error as NodeJS.ErrnoException).code ?? String(error);
		}
	}
}
