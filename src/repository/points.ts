/** Restore points as files (docs/format.md, 9): encode, verify, list in order. */
import type { Consistency, Point } from "./contract.js";
import { causeOf, codeOf } from "./errors.js";
import type { Keyring } from "./keyring.js";
import { isId, pointName } from "./layout.js";
import { decodeObjectFile, encodeObjectFile } from "./object-file.js";
import type { Store } from "./store.js";
import { secondsText } from "./time.js";

/** Bytes that are read of each when all are listed: nearly all are shorter. */
const SHORT_BYTES = 16 * 1024;

/** A point as it is stored. */
export interface StoredPoint {
	version: number;
	id: string;
	vm: string;
	/** ms since 1970 UTC */
	taken: number;
	sequence: number;
	parent: string | null;
	/** `root`: hex identity, null for all zeros */
	disks: { name: string; size: number; root: string | null }[];
	consistency: Consistency;
	size_new: number;
	config: unknown;
	files: { name: string; size: number; chunks: string[] }[];
	facts: Record<string, unknown>;
	/** words that retention can tell points by; absent: none */
	tags?: string[];
}

export const encodePoint = (point: StoredPoint, keyring: Keyring): Buffer =>
	encodeObjectFile(point.id, Buffer.from(JSON.stringify(point)), keyring);

/** Verifies and parses; throws an Error that says what is wrong. */
export const decodePoint = (bytes: Buffer, id: string, keyring: Keyring): StoredPoint => {
	const point = JSON.parse(decodeObjectFile(id, bytes, keyring).toString()) as StoredPoint;
	if (point.version !== 1 || point.id !== id || !Array.isArray(point.disks)) throw new Error("holds another point");
	return point;
};

/** The public view. */
export const toPoint = (stored: StoredPoint): Point => ({
	id: stored.id,
	vm: stored.vm,
	time: secondsText(stored.taken),
	disks: stored.disks.map(({ name, size, root }) => ({ name, size, identity: root })),
	consistency: stored.consistency,
	size_new: stored.size_new,
	parent: stored.parent,
	config: stored.config,
	files: stored.files.map(({ name, size }) => ({ name, size })),
	facts: stored.facts,
	tags: stored.tags ?? [],
});

/** Oldest first. */
export const comparePoints = (a: StoredPoint, b: StoredPoint): number =>
	a.taken - b.taken || a.sequence - b.sequence || (a.id < b.id ? -1 : 1);

/** Reads points and remembers them: they never change. */
export class PointStore {
	readonly #store: Store;
	readonly #keyring: Keyring;
	readonly #known = new Map<string, StoredPoint>();
	/** files that are not good points, with the reason, as of the last listing */
	readonly bad = new Map<string, string>();

	constructor(store: Store, keyring: Keyring) {
		this.#store = store;
		this.#keyring = keyring;
	}

	/** All good points, oldest first. */
	async list(): Promise<StoredPoint[]> {
		this.bad.clear();
		const names = (await this.#store.list("points")).filter(isId);
		await this.#loadAll(names.filter((id) => !this.#known.has(id)));
		const points = names.flatMap((id) => this.#known.get(id) ?? []);
		const present = new Set(names);
		for (const id of this.#known.keys()) if (!present.has(id)) this.#known.delete(id);
		return points.sort(comparePoints);
	}

	/** One point by id; undefined when it is not there or damaged. */
	async get(id: string): Promise<StoredPoint | undefined> {
		const known = this.#known.get(id);
		if (known === undefined) return isId(id) ? this.#load(id) : undefined;
		return (await this.exists(id)) ? known : undefined;
	}

	async exists(id: string): Promise<boolean> {
		return isId(id) && (await this.#store.size(pointName(id))) !== undefined;
	}

	/** Reads these, several at once. */
	async #loadAll(ids: string[]): Promise<void> {
		let next = 0;
		for await (const start of this.#store.readStarts(ids.map(pointName), SHORT_BYTES)) {
			const id = ids[next++];
			if (typeof start !== "string" && start.length < SHORT_BYTES) this.#decode(id, start);
			// Long, or not to be read: on its own.
			else if (start !== "ENOENT") await this.#load(id);
		}
	}

	async #load(id: string): Promise<StoredPoint | undefined> {
		const name = pointName(id);
		try {
			const size = await this.#store.size(name);
			return size === undefined ? undefined : this.#decode(id, await this.#store.read(name, 0, size));
		} catch (error) {
			if (codeOf(error) !== "ENOENT") this.bad.set(id, causeOf(error));
			return undefined;
		}
	}

	/** Verifies a whole file, and remembers it or why not. */
	#decode(id: string, bytes: Buffer): StoredPoint | undefined {
		try {
			const point = decodePoint(bytes, id, this.#keyring);
			this.#known.set(id, point);
			return point;
		} catch (error) {
			this.bad.set(id, causeOf(error));
			return undefined;
		}
	}

	/** Rereads every file, so that damage since the first reading shows. */
	forget(): void {
		this.#known.clear();
	}
}
