/** Recognizes sequential streams among a disk's reads and says what to fetch before it is asked for. */

const STREAMS = 8;
/** Requests of one stream arrive out of order when a client keeps several in flight, blocks. */
const SLACK = 8;
const FIRST_WINDOW = 4;

export class ReadAhead {
	/** per stream: the block after the highest one read */
	readonly #next = new Float64Array(STREAMS).fill(-1);
	/** per stream: the block after the last one asked for ahead */
	readonly #ahead = new Float64Array(STREAMS);
	readonly #window = new Int32Array(STREAMS);
	#oldest = 0;
	readonly #limit: number;
	/** result of `observe`: the first block to fetch */
	from = 0;

	/** `limit`: most blocks to be ahead; 0 turns it off. */
	constructor(limit: number) {
		this.#limit = limit;
	}

	/** A read has reached `block`. Returns how many blocks to fetch from `from`, mostly 0. Allocates nothing. */
	observe(block: number): number {
		for (let n = 0; n < STREAMS; n++) {
			const next = this.#next[n];
			if (next < 0 || block < next - SLACK || block > next + SLACK) continue;
			if (block < next) return 0;
			this.#next[n] = block + 1;
			if (this.#limit === 0) return 0;
			if (this.#window[n] === 0) {
				// Second block in a row: a stream.
				this.#window[n] = Math.min(FIRST_WINDOW, this.#limit);
				this.#ahead[n] = block + 1;
			}
			if (this.#ahead[n] - block > this.#window[n] / 2) return 0;
			this.from = Math.max(this.#ahead[n], block + 1);
			const count = block + 1 + this.#window[n] - this.from;
			this.#ahead[n] = this.from + count;
			this.#window[n] = Math.min(this.#window[n] * 2, this.#limit);
			return count;
		}
		this.#next[this.#oldest] = block + 1;
		this.#window[this.#oldest] = 0;
		this.#oldest = (this.#oldest + 1) % STREAMS;
		return 0;
	}
}
