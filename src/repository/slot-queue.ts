/** A first-in-first-out queue of slot numbers with a fixed capacity. */
export class SlotQueue {
	readonly #slots: Int32Array;
	#first = 0;
	length = 0;

	constructor(capacity: number) {
		this.#slots = new Int32Array(capacity);
	}

	push(slot: number): void {
		this.#slots[(this.#first + this.length) % this.#slots.length] = slot;
		this.length += 1;
	}

	/** The oldest, or -1. */
	shift(): number {
		if (this.length === 0) return -1;
		const slot = this.#slots[this.#first];
		this.#first = (this.#first + 1) % this.#slots.length;
		this.length -= 1;
		return slot;
	}

	/** Removes every slot for which `which` says so. */
	drop(which: (slot: number) => boolean): void {
		for (let n = this.length; n > 0; n--) {
			const slot = this.shift();
			if (!which(slot)) this.push(slot);
		}
	}
}
