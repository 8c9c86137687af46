/** Who may run at once: VMs wait until processors, memory and places suffice for them. */
export interface Need {
	/** VMs at once */
	places: number;
	cpus: number;
	memoryMiB: number;
}

interface Waiting {
	need: Need;
	start(): void;
}

export class Budget {
	readonly #used: Need = { places: 0, cpus: 0, memoryMiB: 0 };
	#waiting: Waiting[] = [];

	constructor(readonly limits: Need) {}

	/** True when it could never run beside nothing; only memory is hard, processors are merely shared. */
	tooMuch({ memoryMiB }: Need): boolean {
		return memoryMiB > this.limits.memoryMiB;
	}

	/** Resolves when there is room, with what gives it back. Rejects when the signal fires before. */
	take(need: Need, signal: AbortSignal): Promise<() => void> {
		return new Promise((resolve, reject) => {
			const waiting: Waiting = {
				need,
				start: () => {
					signal.removeEventListener("abort", giveUp);
					this.#add(need, 1);
					let given = false;
					resolve(() => {
						if (given) return;
						given = true;
						this.#add(need, -1);
						this.#go();
					});
				},
			};
			const giveUp = (): void => {
				this.#waiting = this.#waiting.filter((one) => one !== waiting);
				reject(signal.reason);
				this.#go();
			};
			if (signal.aborted) {
				reject(signal.reason);
				return;
			}
			signal.addEventListener("abort", giveUp, { once: true });
			this.#waiting.push(waiting);
			this.#go();
		});
	}

	#add(need: Need, sign: 1 | -1): void {
		this.#used.places += sign * need.places;
		this.#used.cpus += sign * need.cpus;
		this.#used.memoryMiB += sign * need.memoryMiB;
	}

	/** In the order of asking; a small one may go before a big one that does not fit yet. */
	#go(): void {
		for (const waiting of [...this.#waiting]) {
			if (!this.#fits(waiting.need)) continue;
			this.#waiting = this.#waiting.filter((one) => one !== waiting);
			waiting.start();
		}
	}

	#fits(need: Need): boolean {
		// Alone it may have more than all: else it would wait for ever.
		if (this.#used.places === 0) return true;
		return (["places", "cpus", "memoryMiB"] as const).every((of) => this.#used[of] + need[of] <= this.limits[of]);
	}
}
