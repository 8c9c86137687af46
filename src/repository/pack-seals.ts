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

/** What opens a pack. `guessed`: its header and trailer are damaged, so another reading may find better. */
interface PackSeal {
	seal: Buffer;
	guessed: boolean;
}

export class PackSeals {
	readonly #store: Store;
	readonly #keyring: Keyring;
	readonly #seals = new Map<string, PackSeal>();
	/** opens nothing: for packs whose own key cannot be had, so that nothing in them passes as plain data */
	readonly #none = randomBytes(64);

	constructor(store: Store, keyring: Keyring) {
		this.#store = store;
		this.#keyring = keyring;
	}

	/** What a pack's records are read with, after `load`; undefined in a plain repository. */
	of(pack: string): Buffer | undefined {
		return this.#keyring.encrypted ? (this.#seals.get(pack)?.seal ?? this.#none) : undefined;
	}

	/** Learns the keys of packs; undefined when they are known for sure already. Never rejects. */
	load(packs: Iterable<string>): Promise<unknown> | undefined {
		if (!this.#keyring.encrypted) return undefined;
		let missing: Set<string> | undefined;
		for (const pack of packs) if (this.#seals.get(pack)?.guessed !== false) missing = (missing ?? new Set()).add(pack);
		return missing && Promise.all([...missing].map((pack) => this.#load(pack)));
	}

	async #load(pack: string): Promise<void> {
		try {
			const seal = await readPackSeal(this.#store, pack, this.#keyring);
			if (this.#seals.size >= REMEMBERED) this.#seals.delete(this.#seals.keys().next().value!);
			this.#seals.set(pack, seal);
		} catch {
			// Whoever reads a record of it reports what is wrong with the file.
		}
	}
}

/**
 * What opens a pack of an encrypted repository, by the salt in its header, or in the copy behind its footer; where both
 * are damaged, by what the header has there: a guess. That it is right is what tags show: another salt opens nothing.
 */
export const readPackSeal = async (store: Store, pack: string, keyring: Keyring): Promise<PackSeal> => {
	const name = packName(pack);
	const head = await store.read(name, 0, PACK_HEADER_BYTES);
	const byHeader = () => keyring.packSeal(pack, saltOfHeader(head));
	if (faultOfPackHeader(head, pack, keyring) === undefined) return { seal: byHeader(), guessed: false };
	const size = (await store.size(name)) ?? 0;
	const tail = await store.read(name, Math.max(0, size - PACK_TRAILER_BYTES), PACK_TRAILER_BYTES);
	const trailer = decodePackTrailer(tail, pack, size);
	if (typeof trailer === "string" || !trailer.encrypted) return { seal: byHeader(), guessed: true };
	const at = trailer.footerOffset + trailer.footerLength - SALT_BYTES;
	return { seal: keyring.packSeal(pack, await store.read(name, at, SALT_BYTES)), guessed: false };
};
