/**
 * Reads on their way to the disk. What they look at may be recycled only after they have ended.
 */
interface Round {
	count: number;
	over(): void;
}

const round = (): Round => ({ count: 0, over: () => undefined });

export class Readers {
	#round = round();
	#earlier: Promise<void> = Promise.resolve();

	/** A read begins; call the result when it has ended. */
	enter(): () => void {
		const mine = this.#round;
		mine.count++;
		return () => {
			if (--mine.count === 0) mine.over();
		};
	}

	/** Resolves when every read that has begun by now has ended. */
	drained(): Promise<void> {
		const last = this.#round;
		if (last.count > 0) {
			const ended = new Promise<void>((resolve) => {
				last.over = resolve;
			});
			this.#earlier = this.#earlier.then(() => ended);
			this.#round = round();
		}
		return this.#earlier;
	}
}
