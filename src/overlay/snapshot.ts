/**
 * Frozen epochs as read-only Images, and change sets.
 */
import { type Extent, type Image, ImageError, type Loan } from "../image/image.js";
import { changesWithin } from "./changes.js";
import type { Hold } from "./checkpoint.js";
import { getU64 } from "./codec.js";
import type { EpochSnapshot } from "./contract.js";
import type { Node } from "./inode.js";
import type { PageStore } from "./page-store.js";
import type { ContentReader, View } from "./reader.js";
import { ZEROS } from "./runs.js";
import { idOf, keyOf, scan, TYPE } from "./tree.js";

class SnapshotImage implements Image {
	closed = false;

	constructor(
		readonly reader: ContentReader,
		readonly view: View,
		readonly size: number,
	) {}

	#check(offset: number, length: number): void {
		if (this.closed) throw new ImageError("ECLOSED", "the snapshot was released", offset, length);
		if (offset < 0 || offset + length > this.size) throw new RangeError("read beyond the end of the snapshot");
	}

	read(offset: number, target: Buffer): void | Promise<void> {
		this.#check(offset, target.length);
		const wait = this.reader.read(this.view, offset, target);
		return wait?.catch((cause: unknown) => {
			if (cause instanceof ImageError) throw cause;
			throw new ImageError("EIO", (cause as Error).message, offset, target.length, { cause });
		});
	}

	borrow(offset: number, length: number): Loan[] | undefined {
		this.#check(offset, length);
		return this.reader.borrow(this.view, offset, length);
	}

	extents(offset: number, length: number): Extent[] | Promise<Extent[]> {
		this.#check(offset, length);
		return this.reader.extents(this.view, offset, length);
	}

	async close(): Promise<void> {
		this.closed = true;
	}
}

/** `node`, `epoch` and `view` are of the instant of the freeze; the tree is `hold`'s, until `released` is called. */
export const makeSnapshot = (
	released: () => void,
	hold: Hold,
	reader: ContentReader,
	store: PageStore,
	node: Node,
	epoch: number,
	view: View,
): EpochSnapshot => {
	const frozen = { ...view, deltas: [], root: hold.root };
	const image = new SnapshotImage(reader, frozen, node.size);
	let left = false;
	return {
		epoch,
		image,
		changedSince: (since) => {
			if (image.closed) throw new ImageError("ECLOSED", "the snapshot was released", 0, 0);
			return changes(store, hold, node, since);
		},
		changes: (since, offset, length) => {
			if (image.closed) throw new ImageError("ECLOSED", "the snapshot was released", offset, length);
			return changesWithin(reader, frozen, node, since, offset, length);
		},
		release: async () => {
			if (left) return;
			left = true;
			image.closed = true;
			released();
		},
	};
};

const changes = (store: PageStore, hold: Hold, node: Node, since: number): Extent[] => {
	// Beyond the lowest size since then everything is new, if only zeros.
	const cut = Math.min(node.size, ...node.shrinks.filter((s) => s.epoch > since).map((s) => s.size));
	const out: Extent[] = [];
	const push = (start: number, end: number, kind: Extent["kind"]): void => {
		if (start >= end) return;
		const last = out[out.length - 1];
		if (last && last.kind === kind && last.offset + last.length === start) last.length += end - start;
		else out.push({ offset: start, length: end - start, kind });
	};
	let covered = cut;
	const a = keyOf(TYPE.extent, node.id);
	for (const entry of scan(store, hold.root, a, a + 1)) {
		if (idOf(entry.a) !== node.id) break;
		const value = Buffer.from(entry.source.buffer, entry.source.byteOffset + entry.at, 16);
		const end = Math.min(entry.b + value.readUInt32LE(8), node.size);
		if (value.readUInt32LE(12) <= since) continue;
		if (entry.b > covered) push(covered, entry.b, "zero");
		push(entry.b, end, getU64(value, 0) === ZEROS ? "zero" : "data");
		covered = Math.max(covered, end);
	}
	push(covered, node.size, "zero");
	return out;
};
