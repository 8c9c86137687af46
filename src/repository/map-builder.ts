/**
 * Builds a block map from identities that arrive in ascending block order. Holds one page per level; a page that
 * is complete is handed out at once, so memory does not depend on the disk's size and absent regions cost nothing.
 */
import type { Identity, Keyring } from "./keyring.js";
import { IDENTITY_BYTES } from "./layout.js";
import { FAN_OUT, levelsFor, MAP_PAGE_BYTES } from "./map-geometry.js";

/** A finished page: its plain bytes are the receiver's. */
export interface MapPage {
	identity: Identity;
	bytes: Buffer;
}

export class MapBuilder {
	readonly #levels: { bytes: Buffer; number: number }[];
	readonly #keyring: Keyring;
	readonly #emit: (page: MapPage) => void;
	#root: Buffer | null = null;

	constructor(blocks: number, keyring: Keyring, emit: (page: MapPage) => void) {
		this.#levels = Array.from({ length: levelsFor(blocks) }, () => ({
			bytes: Buffer.alloc(MAP_PAGE_BYTES),
			number: -1,
		}));
		this.#keyring = keyring;
		this.#emit = emit;
	}

	/** Names the content of block `n`; blocks never named are zero. */
	set(n: number, identities: Buffer, offset: number): void {
		const number = Math.floor(n / FAN_OUT);
		if (this.#levels[0].number !== number) this.#open(0, number);
		identities.copy(this.#levels[0].bytes, (n % FAN_OUT) * IDENTITY_BYTES, offset, offset + IDENTITY_BYTES);
	}

	#open(level: number, number: number): void {
		this.#close(level);
		this.#levels[level].number = number;
	}

	#close(level: number): void {
		const page = this.#levels[level];
		if (page.number < 0) return;
		const identity = this.#keyring.identityOf(page.bytes);
		this.#emit({ identity, bytes: Buffer.from(page.bytes) });
		page.bytes.fill(0);
		const above = this.#levels[level + 1];
		if (above === undefined) {
			this.#root = identity;
			return;
		}
		const number = Math.floor(page.number / FAN_OUT);
		if (above.number !== number) this.#open(level + 1, number);
		identity.copy(above.bytes, (page.number % FAN_OUT) * IDENTITY_BYTES);
	}

	/** Hands out the remaining pages; returns the root's identity, null when every block is zero. */
	finish(): Buffer | null {
		for (let level = 0; level < this.#levels.length; level++) this.#close(level);
		return this.#root;
	}
}
