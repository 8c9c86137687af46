/** Moments of one VM's verification, each noted once. */
import type { TimelineEntry } from "./model.js";

export class Timeline {
	readonly #began = performance.now();
	readonly #entries: TimelineEntry[] = [];

	/** @param began wall clock of the same moment */
	constructor(readonly began: Date) {}

	/** ms since it began */
	readonly elapsed = (): number => Math.round(performance.now() - this.#began);

	/** Notes a moment that is now, or `atMs`, unless it is noted already. */
	note(what: string, detail: string | null = null, { atMs, tookMs }: { atMs?: number; tookMs?: number } = {}): void {
		if (this.at(what) !== undefined) return;
		this.#entries.push({ what, atMs: Math.max(0, Math.round(atMs ?? this.elapsed())), tookMs: tookMs ?? null, detail });
	}

	/** ms of a moment by the wall clock (UTC) */
	ofTime(time: string): number {
		return Date.parse(time) - this.began.getTime();
	}

	at(what: string): number | undefined {
		return this.#entries.find((entry) => entry.what === what)?.atMs;
	}

	/** Does `work`, noted as one entry with how long it took. */
	async during<T>(what: string, work: () => Promise<T>, detail?: (result: T) => string): Promise<T> {
		const atMs = this.elapsed();
		const result = await work();
		this.note(what, detail?.(result) ?? null, { atMs, tookMs: this.elapsed() - atMs });
		return result;
	}

	get entries(): TimelineEntry[] {
		return [...this.#entries].sort((a, b) => a.atMs - b.atMs);
	}
}
