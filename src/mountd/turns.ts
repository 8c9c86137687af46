/**
 * Who waits for whom among requests: those that name the same things are taken one at a time, in the order in which they
 * came; others go on beside them. So a repository that does not answer holds up only what needs it.
 */
export class Turns {
	/** thing → end of the last request that names it */
	readonly #last = new Map<string, Promise<unknown>>();

	/** Runs `work` when all earlier requests that name one of `things` have ended. */
	take<T>(things: string[], work: () => Promise<T>): Promise<T> {
		const before = things.map((thing) => this.#last.get(thing));
		const run = Promise.all(before).then(work);
		const ended = run.catch(() => undefined);
		for (const thing of things) this.#last.set(thing, ended);
		void ended.then(() => {
			for (const thing of things) if (this.#last.get(thing) === ended) this.#last.delete(thing);
		});
		return run;
	}

	/** No request runs or waits. */
	get none(): boolean {
		return this.#last.size === 0;
	}

	/** When all requests have ended. */
	async idle(): Promise<void> {
		await Promise.all(this.#last.values());
	}
}
