/** An Image that stops a backup half way, until the test lets it go on. */
import type { Extent, Image } from "../../src/image/image.js";
import { MemoryImage, MIB } from "./helpers.js";

/** Reads beyond 4 MiB wait until `go`: a backup that has looked up some blocks, and not yet committed. */
export class SlowImage implements Image {
	readonly #inner: MemoryImage;
	readonly #gate: Promise<void>;
	readonly half: Promise<void>;
	go = (): void => {};
	#reached = (): void => {};

	constructor(readonly content: Buffer) {
		this.#inner = new MemoryImage(content);
		this.#gate = new Promise((resolve) => {
			this.go = resolve;
		});
		this.half = new Promise((resolve) => {
			this.#reached = resolve;
		});
	}

	get size(): number {
		return this.content.length;
	}

	read(offset: number, target: Buffer): void | Promise<void> {
		if (offset < MIB * 4) return this.#inner.read(offset, target);
		this.#reached();
		return this.#gate.then(() => this.#inner.read(offset, target));
	}

	extents(offset: number, length: number): Extent[] {
		return this.#inner.extents(offset, length);
	}

	async close(): Promise<void> {}
}
