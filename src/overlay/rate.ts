/** How fast bytes come, of late. */

/** Milliseconds that are looked at together. */
const WINDOW = 50;

export class Rate {
	#began = Number.NEGATIVE_INFINITY;
	#bytes = 0;
	/** bytes per millisecond of the window before */
	#before = 0;

	/** `now`: milliseconds of a clock that never goes back */
	constructor(readonly now: () => number = () => performance.now()) {}

	add(bytes: number): void {
		this.#turn();
		this.#bytes += bytes;
	}

	/** Bytes per millisecond; 0 when none have come for some time. */
	get current(): number {
		this.#turn();
		return this.#before;
	}

	#turn(): void {
		const now = this.now();
		const passed = now - this.#began;
		if (passed < WINDOW) return;
		this.#before = passed < 2 * WINDOW ? this.#bytes / passed : 0;
		this.#began = now;
		this.#bytes = 0;
	}
}
