/** Work in one process that may run at once, and work that must be alone; in the order in which it was asked for. */
export class Turns {
	/** settles when the last that is alone has ended */
	#alone: Promise<unknown> = Promise.resolve();
	readonly #together = new Set<Promise<unknown>>();

	/** Runs beside others of its kind, after what is alone. */
	together<T>(work: () => Promise<T>): Promise<T> {
		const run = this.#alone.then(work);
		const ended = run
			.catch(() => {})
			.then(() => {
				this.#together.delete(ended);
			});
		this.#together.add(ended);
		return run;
	}

	/** Runs when everything before has ended. */
	alone<T>(work: () => Promise<T>): Promise<T> {
		const run = this.end().then(work);
		this.#alone = run.catch(() => {});
		return run;
	}

	/** Resolves when everything that was asked for has ended. */
	async end(): Promise<void> {
		await Promise.all([this.#alone, ...this.#together]);
	}
}
