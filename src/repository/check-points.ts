/**
 * Check, part three: walks the block map of every disk of every point, reads and hashes each page once, asks for every
 * block, and says which bytes of which disk are lost. Subtrees found clean are not walked again.
 */
import { addHit, type Faults, interrupted } from "./check-faults.js";
import type { PackReport } from "./check-packs.js";
import type { CheckFault, CheckOptions } from "./contract.js";
import { IdentityTable } from "./identity-table.js";
import type { Index } from "./index-set.js";
import { IDENTITY_BYTES, isAbsent, OBJECT_MAX_BYTES, packName, TYPE } from "./layout.js";
import { LiveSet } from "./live-set.js";
import { blockCount, FAN_OUT, levelsFor, MAP_PAGE_BYTES } from "./map-geometry.js";
import type { StoredPoint } from "./points.js";
import { RecordReader } from "./record-reader.js";
import { soundBlocks } from "./sound-blocks.js";
import type { Store } from "./store.js";

/** `elsewhere`: records to take as good although the index does not know where. Returns those that cannot be had. */
export const checkPoints = async (
	store: Store,
	index: Index,
	packs: PackReport,
	points: StoredPoint[],
	blockSize: number,
	faults: Faults,
	options: CheckOptions,
	elsewhere?: IdentityTable,
): Promise<IdentityTable> => {
	const sound = await soundBlocks(index, packs);
	const reader = new RecordReader(store, index);
	const walker = new MapWalker(reader, packs, sound, blockSize, faults, options.signal, elsewhere);
	let done = 0;
	for (const point of points) {
		for (const disk of point.disks) {
			interrupted(options.signal, faults);
			if (disk.root !== null) await walker.walkDisk({ point, ...disk }, Buffer.from(disk.root, "hex"));
		}
		for (const file of point.files) await walker.checkFile(point, file);
		done += 1;
		options.progress?.({ done, total: points.length, what: "restore points", unit: "items" });
	}
	return walker.lost;
};

interface Disk {
	point: StoredPoint;
	name: string;
	size: number;
}

type Missing = { kind: string; file: string; message: string };
/** A page that was read, or why not. */
type Page = { bytes: Buffer } | { fault: Missing };

class MapWalker {
	/** pages with everything below, by their fingerprints: a few bytes each, and there may be millions */
	readonly #clean: LiveSet;
	/** records that cannot be had */
	readonly lost = new IdentityTable();

	constructor(
		private readonly reader: RecordReader,
		private readonly packs: PackReport,
		private readonly sound: { blocks: LiveSet; pages: number },
		private readonly blockSize: number,
		private readonly faults: Faults,
		private readonly signal: AbortSignal | undefined,
		private readonly elsewhere: IdentityTable | undefined,
	) {
		this.#clean = new LiveSet(sound.pages);
	}

	async walkDisk(disk: Disk, root: Buffer): Promise<void> {
		const level = levelsFor(blockCount(disk.size, this.blockSize)) - 1;
		if (this.#isClean(root, 0, level)) return;
		const [page] = await this.#pages(root, [0]);
		await this.#walk(disk, page, root, 0, level, 0);
	}

	/** A page is clean as the root of a subtree of one height. */
	#isClean(identities: Buffer, offset: number, level: number): boolean {
		return this.#clean.has(identities, offset, level);
	}

	/** Walks the page named at `offset`; true when everything below is there. */
	async #walk(
		disk: Disk,
		page: Page,
		identities: Buffer,
		offset: number,
		level: number,
		number: number,
	): Promise<boolean> {
		interrupted(this.signal, this.faults);
		const span = this.blockSize * FAN_OUT ** (level + 1);
		if ("fault" in page) {
			const { kind, file, message } = page.fault;
			this.#hit(this.faults.of(kind, file, message), disk, number * span, span);
			return false;
		}
		const whole =
			level === 0
				? await this.#blocks(disk, page.bytes, number * span)
				: await this.#children(disk, page.bytes, level - 1, number);
		if (whole) this.#clean.add(identities, offset, level);
		return whole;
	}

	/** Walks the children of a page, which are read together. */
	async #children(disk: Disk, page: Buffer, level: number, number: number): Promise<boolean> {
		const wanted: number[] = [];
		for (let at = 0; at < MAP_PAGE_BYTES; at += IDENTITY_BYTES)
			if (!isAbsent(page, at) && !this.#isClean(page, at, level)) wanted.push(at);
		const children = await this.#pages(page, wanted);
		let whole = true;
		for (let n = 0; n < wanted.length; n++) {
			// A twin beside it may have been walked meanwhile.
			if (this.#isClean(page, wanted[n], level)) continue;
			const child = number * FAN_OUT + wanted[n] / IDENTITY_BYTES;
			if (!(await this.#walk(disk, children[n], page, wanted[n], level, child))) whole = false;
		}
		return whole;
	}

	/** Reads and verifies the pages named at `offsets`. */
	async #pages(identities: Buffer, offsets: number[]): Promise<Page[]> {
		const wanted = offsets.map((offset) => ({
			identity: identities,
			offset,
			type: TYPE.page,
			rawLength: MAP_PAGE_BYTES,
			target: Buffer.allocUnsafe(MAP_PAGE_BYTES),
			targetOffset: 0,
		}));
		const results = await this.reader.read(wanted);
		return Promise.all(
			wanted.map(async ({ target, offset }, n): Promise<Page> => {
				const identity = identities.subarray(offset, offset + IDENTITY_BYTES);
				if (results[n] === undefined && this.reader.index.keyring.identityOf(target).equals(identity))
					return { bytes: target };
				const why = results[n]?.message ?? "content differs from its SHA-256";
				return { fault: await this.#why(identities, offset, TYPE.page, "bad-page", why) };
			}),
		);
	}

	async #blocks(disk: Disk, page: Buffer, start: number): Promise<boolean> {
		let whole = true;
		for (let at = 0; at < MAP_PAGE_BYTES; at += IDENTITY_BYTES) {
			if (isAbsent(page, at)) continue;
			if (this.sound.blocks.has(page, at, TYPE.block)) continue;
			const found = await this.#fault(page, at, TYPE.block);
			if (found === undefined) continue;
			whole = false;
			const fault = this.faults.of(found.kind, found.file, found.message);
			this.#hit(fault, disk, start + (at / IDENTITY_BYTES) * this.blockSize, this.blockSize);
		}
		return whole;
	}

	/** Why no copy of a record can be had; undefined when one can. */
	async #fault(identity: Buffer, offset: number, type: number): Promise<Missing | undefined> {
		let first: Missing | undefined;
		for await (const place of this.reader.index.findAll(identity, offset, type, true)) {
			const fault = this.packs.faultOf(place);
			if (fault === undefined) return undefined;
			first ??= { ...fault, file: packName(place.pack) };
		}
		if (this.elsewhere !== undefined && this.elsewhere.find(identity, offset, type) >= 0) return undefined;
		if (this.lost.find(identity, offset, type) < 0) this.lost.add(identity, offset, type, 0);
		const name = identity.toString("hex", offset, offset + IDENTITY_BYTES);
		return first ?? { kind: "missing-record", file: "packs", message: `no pack has record ${name} and maybe others` };
	}

	/** What is wrong with a record that could not be read. */
	async #why(identity: Buffer, offset: number, type: number, kind: string, message: string): Promise<Missing> {
		const fault = await this.#fault(identity, offset, type);
		if (fault !== undefined) return fault;
		const place = await this.reader.index.find(identity, offset, type);
		return { kind, message, file: place === null ? "packs" : packName(place.pack) };
	}

	#hit(fault: CheckFault, disk: Disk, offset: number, span: number): void {
		const length = Math.min(span, disk.size - offset);
		addHit(fault, { vm: disk.point.vm, point: disk.point.id, disk: disk.name, offset, length });
	}

	/** Reads and hashes one extra file. */
	async checkFile(point: StoredPoint, file: StoredPoint["files"][number]): Promise<void> {
		for (let n = 0; n < file.chunks.length; n++) {
			const rawLength = Math.min(OBJECT_MAX_BYTES, file.size - n * OBJECT_MAX_BYTES);
			const target = Buffer.allocUnsafe(rawLength);
			const identity = Buffer.from(file.chunks[n], "hex");
			const [wrong] = await this.reader.read([
				{ identity, offset: 0, type: TYPE.object, rawLength, target, targetOffset: 0 },
			]);
			if (wrong === undefined && this.reader.index.keyring.identityOf(target).equals(identity)) continue;
			const why = `${file.name}: ${wrong?.message ?? "content differs from its SHA-256"}`;
			const found = await this.#why(identity, 0, TYPE.object, "bad-object", why);
			addHit(this.faults.of(found.kind, found.file, found.message), {
				vm: point.vm,
				point: point.id,
				file: file.name,
			});
		}
	}
}
