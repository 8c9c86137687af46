/** Restore points as files (docs/format.md, 9): encode, verify, list in order. */
import type { Consistency, Point } from "./contract.js";
import { causeOf, codeOf } from "./errors.js";
import type { Keyring } from "./keyring.js";
import { isId, pointName } from "./layout.js";
import { decodeObjectFile, encodeObjectFile } from "./object-file.js";
import type { Store } from "./store.js";
import { secondsText } from "./time.js";

/** Files that are read at once when all are listed. */
const READ_TOGETHER = 64;
/** Bytes that the first read of a point asks for. */
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
	disks: stored.disks.map(({ name, size }) => ({ name, size })),
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
		const points: StoredPoint[] = [];
		for (let first = 0; first < names.length; first += READ_TOGETHER) {
			const some = names.slice(first, first + READ_TOGETHER);
			const loaded = await Promise.all(some.map((id) => this.#known.get(id) ?? this.#load(id)));
			for (const point of loaded) if (point !== undefined) points.push(point);
		}
		const present = new Set(names);
		for (const id of this.#known.keys()) if (!present.has(id)) this.#known.delete(id);
		return points.sort(comparePoints);
	}

	/** One point by id; undefined when it is not there or damaged. */
	async get(id: string): Promise<StoredPoint | undefined> {
		return (await this.exists(id)) ? (this.#known.get(id) ?? this.#load(id)) : undefined;
	}

	async exists(id: string): Promise<boolean> {
		return isId(id) && (await this.#store.size(pointName(id))) !== undefined;
	}

	async #load(id: string): Promise<StoredPoint | undefined> {
		const name = pointName(id);
		try {
			const point = decodePoint(await this.#read(name), id, this.#keyring);
			this.#known.set(id, point);
			return point;
		} catch (error) {
			if (codeOf(error) !== "ENOENT") this.bad.set(id, causeOf(error));
			return undefined;
		}
	}

	/** A whole file; nearly all are short, so that one read does. */
	async #read(name: string): Promise<Buffer> {
		const start = await this.#store.read(name, 0, SHORT_BYTES);
		if (start.length < SHORT_BYTES) return start;
		return this.#store.read(name, 0, (await this.#store.size(name)) ?? SHORT_BYTES);
	}

	/** Rereads every file, so that damage since the first reading shows. */
	forget(): void {
		this.#known.clear();
	}
}
