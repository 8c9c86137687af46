/**
 * Results of non-idempotent requests, the newest REQUESTS_KEPT of them, in the order in which they took effect.
 */
import { REQUESTS_KEPT } from "./geometry.js";

export class Requests {
	readonly #byNumber = new Map<number, { key: string; reply: Buffer }>();
	readonly #byKey = new Map<string, number>();
	/** numbers whose stored state differs from the last checkpoint */
	readonly dirty = new Set<number>();
	next = 1;

	get(key: string): Buffer | undefined {
		const number = this.#byKey.get(key);
		return number === undefined ? undefined : this.#byNumber.get(number)?.reply;
	}

	/** Adds the newest result; returns how to undo it. */
	add(key: string, reply: Buffer): () => void {
		const number = this.next++;
		const before = this.#byKey.get(key);
		this.load(number, key, reply);
		this.dirty.add(number);
		const oldest = number - REQUESTS_KEPT;
		const dropped = this.#byNumber.get(oldest);
		if (dropped) this.#drop(oldest, dropped.key);
		return () => {
			this.#byNumber.delete(number);
			if (before === undefined) this.#byKey.delete(key);
			else this.#byKey.set(key, before);
			if (dropped) this.load(oldest, dropped.key, dropped.reply);
			this.next = number;
		};
	}

	load(number: number, key: string, reply: Buffer): void {
		this.#byNumber.set(number, { key, reply });
		this.#byKey.set(key, number);
	}

	/** What to store under each dirty number: undefined where nothing is left. */
	at(number: number): { key: string; reply: Buffer } | undefined {
		return this.#byNumber.get(number);
	}

	#drop(number: number, key: string): void {
		this.#byNumber.delete(number);
		if (this.#byKey.get(key) === number) this.#byKey.delete(key);
		this.dirty.add(number);
	}
}
