/**
 * Keys of the packs of an encrypted repository, derived from the salt in each pack's header (docs/format.md, 6.1
 * and 11) and remembered. In a plain repository there is nothing to know.
 */
import { randomBytes } from "node:crypto";
import type { Keyring } from "./keyring.js";
import { packName } from "./layout.js";
import {
	decodePackTrailer,
	faultOfPackHeader,
	PACK_HEADER_BYTES,
	PACK_TRAILER_BYTES,
	SALT_BYTES,
	saltOfHeader,
} from "./pack-format.js";
import type { Store } from "./store.js";

/** Packs whose keys are remembered: those of 256 GiB of stored data. */
const REMEMBERED = 4096;

export class PackSeals {
	readonly #store: Store;
	readonly #keyring: Keyring;
	readonly #seals = new Map<string, Buffer>();
	/** opens nothing: for packs whose own key cannot be had, so that nothing in them passes as plain data */
	readonly #none = randomBytes(64);

	constructor(store: Store, keyring: Keyring) {
		this.#store = store;
		this.#keyring = keyring;
	}

	/** What a pack's records are read with, after `load`; undefined in a plain repository. */
	of(pack: string): Buffer | undefined {
		return this.#keyring.encrypted ? (this.#seals.get(pack) ?? this.#none) : undefined;
	}

	/** Learns the keys of packs; undefined when they are known already. Never rejects. */
	load(packs: Iterable<string>): Promise<unknown> | undefined {
		if (!this.#keyring.encrypted) return undefined;
		let missing: Set<string> | undefined;
		for (const pack of packs) if (!this.#seals.has(pack)) missing = (missing ?? new Set()).add(pack);
		return missing && Promise.all([...missing].map((pack) => this.#load(pack)));
	}

	async #load(pack: string): Promise<void> {
		try {
			const salt = await this.#salt(pack);
			if (salt === undefined) return;
			if (this.#seals.size >= REMEMBERED) this.#seals.delete(this.#seals.keys().next().value!);
			this.#seals.set(pack, this.#keyring.packSeal(pack, salt));
		} catch {
			// Whoever reads a record of it reports what is wrong with the file.
		}
	}

	/** From the header, or from its copy behind the footer. That it is right is what the records' tags show. */
	async #salt(pack: string): Promise<Buffer | undefined> {
		const name = packName(pack);
		const head = await this.#store.read(name, 0, PACK_HEADER_BYTES);
		if (faultOfPackHeader(head, pack, this.#keyring) === undefined) return saltOfHeader(head);
		const size = (await this.#store.size(name)) ?? 0;
		const tail = await this.#store.read(name, Math.max(0, size - PACK_TRAILER_BYTES), PACK_TRAILER_BYTES);
		const trailer = decodePackTrailer(tail, pack, size);
		if (typeof trailer === "string" || !trailer.encrypted) return undefined;
		return this.#store.read(name, trailer.footerOffset + trailer.footerLength - SALT_BYTES, SALT_BYTES);
	}
}
