/**
 * Check, part three: walks the block map of every disk of every point, reads and hashes each page once, looks every block
 * up, and says which bytes of which disk are lost. Subtrees found clean are not walked again.
 */
import { addHit, type CheckOptions, type Faults, interrupted } from "./check.js";
import type { PackReport } from "./check-packs.js";
import type { CheckFault } from "./contract.js";
import { IdentityTable } from "./identity-table.js";
import type { Index } from "./index-set.js";
import { IDENTITY_BYTES, isAbsent, OBJECT_MAX_BYTES, packName, TYPE } from "./layout.js";
import { blockCount, FAN_OUT, levelsFor, MAP_PAGE_BYTES } from "./map-geometry.js";
import type { StoredPoint } from "./points.js";
import { RecordReader } from "./record-reader.js";
import type { Store } from "./store.js";

export const checkPoints = async (
	store: Store,
	index: Index,
	packs: PackReport,
	points: StoredPoint[],
	blockSize: number,
	faults: Faults,
	options: CheckOptions,
): Promise<void> => {
	const walker = new MapWalker(new RecordReader(store, index), packs, blockSize, faults);
	let done = 0;
	for (const point of points) {
		for (const disk of point.disks) {
			interrupted(options.signal);
			const levels = levelsFor(blockCount(disk.size, blockSize));
			if (disk.root !== null)
				await walker.walk({ point, ...disk }, Buffer.from(disk.root, "hex"), 0, levels - 1, 0, options.signal);
		}
		for (const file of point.files) await walker.checkFile(point, file);
		done += 1;
		options.progress?.({ done, total: points.length, what: "restore points" });
	}
};

interface Disk {
	point: StoredPoint;
	name: string;
	size: number;
}

class MapWalker {
	/** one per level: a page is clean as the root of a subtree of that height */
	readonly #clean: IdentityTable[] = [];

	constructor(
		private readonly reader: RecordReader,
		private readonly packs: PackReport,
		private readonly blockSize: number,
		private readonly faults: Faults,
	) {}

	/** Walks the page named at `offset`; true when everything below is there. */
	async walk(
		disk: Disk,
		identities: Buffer,
		offset: number,
		level: number,
		number: number,
		signal: AbortSignal | undefined,
	): Promise<boolean> {
		this.#clean[level] ??= new IdentityTable();
		const clean = this.#clean[level];
		if (clean.find(identities, offset, TYPE.page) >= 0) return true;
		interrupted(signal);
		const span = this.blockSize * FAN_OUT ** (level + 1);
		const page = await this.#page(disk, identities, offset, number * span, span);
		if (page === undefined) return false;
		let whole = true;
		const child = span / FAN_OUT;
		for (let n = 0; n < FAN_OUT; n++) {
			const at = n * IDENTITY_BYTES;
			if (isAbsent(page, at)) continue;
			const ok =
				level > 0
					? await this.walk(disk, page, at, level - 1, number * FAN_OUT + n, signal)
					: await this.#block(disk, page, at, number * span + n * child);
			whole &&= ok;
		}
		if (whole) clean.add(identities, offset, TYPE.page, MAP_PAGE_BYTES);
		return whole;
	}

	async #page(
		disk: Disk,
		identities: Buffer,
		offset: number,
		start: number,
		span: number,
	): Promise<Buffer | undefined> {
		const target = Buffer.allocUnsafe(MAP_PAGE_BYTES);
		const [fault] = await this.reader.read([
			{ identity: identities, offset, type: TYPE.page, rawLength: MAP_PAGE_BYTES, target, targetOffset: 0 },
		]);
		const identity = identities.subarray(offset, offset + IDENTITY_BYTES);
		if (fault === undefined && this.reader.index.keyring.identityOf(target).equals(identity)) return target;
		const found = (await this.#fault(identities, offset, TYPE.page)) ?? {
			kind: "bad-page",
			file: await this.#fileOf(identities, offset, TYPE.page),
			message: fault?.message ?? "content differs from its SHA-256",
		};
		this.#hit(this.faults.of(found.kind, found.file, found.message), disk, start, span);
		return undefined;
	}

	async #block(disk: Disk, page: Buffer, at: number, start: number): Promise<boolean> {
		const found = await this.#fault(page, at, TYPE.block);
		if (found === undefined) return true;
		this.#hit(this.faults.of(found.kind, found.file, found.message), disk, start, this.blockSize);
		return false;
	}

	/** Why no copy of a record can be had; undefined when one can. */
	async #fault(
		identity: Buffer,
		offset: number,
		type: number,
	): Promise<{ kind: string; file: string; message: string } | undefined> {
		let first: { kind: string; file: string; message: string } | undefined;
		for await (const place of this.reader.index.findAll(identity, offset, type, true)) {
			const fault = this.packs.faultOf(place);
			if (fault === undefined) return undefined;
			first ??= { ...fault, file: packName(place.pack) };
		}
		const name = identity.toString("hex", offset, offset + IDENTITY_BYTES);
		return first ?? { kind: "missing-record", file: "packs", message: `no pack has record ${name} and maybe others` };
	}

	async #fileOf(identity: Buffer, offset: number, type: number): Promise<string> {
		const place = await this.reader.index.find(identity, offset, type);
		return place === null ? "packs" : packName(place.pack);
	}

	#hit(fault: CheckFault, disk: Disk, start: number, span: number): void {
		addHit(fault, disk.point.vm, disk.point.id, disk.name, start, Math.min(span, disk.size - start));
	}

	/** Reads and hashes one extra file. */
	async checkFile(point: StoredPoint, file: StoredPoint["files"][number]): Promise<void> {
		for (let n = 0; n < file.chunks.length; n++) {
			const rawLength = Math.min(OBJECT_MAX_BYTES, file.size - n * OBJECT_MAX_BYTES);
			const target = Buffer.allocUnsafe(rawLength);
			const identity = Buffer.from(file.chunks[n], "hex");
			const [fault] = await this.reader.read([
				{ identity, offset: 0, type: TYPE.object, rawLength, target, targetOffset: 0 },
			]);
			if (fault === undefined && this.reader.index.keyring.identityOf(target).equals(identity)) continue;
			const found = (await this.#fault(identity, 0, TYPE.object)) ?? {
				kind: "bad-object",
				file: await this.#fileOf(identity, 0, TYPE.object),
				message: `${file.name}: ${fault?.message ?? "content differs from its SHA-256"}`,
			};
			this.faults.of(found.kind, found.file, found.message).hits.push({ vm: point.vm, point: point.id });
		}
	}
}
