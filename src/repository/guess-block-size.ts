/**
 * Finds the block size of a repository that lost its springback.json: of the possible ones, that with which every block that a
 * map names has the length that its place on the disk wants. Nearly always the longest stored block says it.
 */
import { ENTRY_BYTES } from "./identity-table.js";
import type { Index } from "./index-set.js";
import { BLOCK_SIZES, IDENTITY_BYTES, isAbsent, TYPE } from "./layout.js";
import { blockCount, blockLength, FAN_OUT } from "./map-geometry.js";
import { MapReader } from "./map-reader.js";
import { readPackTable } from "./pack-reader.js";
import { PageStore } from "./page-store.js";
import type { StoredPoint } from "./points.js";
import { RecordReader } from "./record-reader.js";
import type { Store } from "./store.js";

/** The block sizes that everything agrees with, smallest first; more than one only where nearly nothing is stored. */
export const possibleBlockSizes = async (
	store: Store,
	index: Index,
	packs: Iterable<string>,
	points: StoredPoint[],
): Promise<number[]> => {
	const longest = await longestBlock(store, index, packs);
	let possible = BLOCK_SIZES.filter((size) => size >= longest);
	const pages = new PageStore(new RecordReader(store, index));
	for (const { disks } of points)
		for (const { size, root } of disks) {
			if (possible.length < 2) return possible;
			if (root === null) continue;
			const identity = Buffer.from(root, "hex");
			const fitting: number[] = [];
			for (const blockSize of possible)
				if (await fits(new MapReader(pages, identity, size, blockSize), index)) fitting.push(blockSize);
			// None: the map is damaged, and says nothing.
			if (fitting.length > 0) possible = fitting;
		}
	return possible;
};

const longestBlock = async (store: Store, index: Index, packs: Iterable<string>): Promise<number> => {
	let longest = 0;
	for (const pack of packs) {
		const entries = (await readPackTable(store, pack, index.keyring))?.entries ?? Buffer.alloc(0);
		for (let at = 0; at < entries.length && entries[at + 47] === TYPE.block; at += ENTRY_BYTES)
			longest = Math.max(longest, entries.readUInt32LE(at + 44) & 0xffffff);
		if (longest === BLOCK_SIZES.at(-1)) break;
	}
	return longest;
};

/** Whether every block that the map names has the length that it must have there. */
const fits = async (map: MapReader, index: Index): Promise<boolean> => {
	try {
		for (let leaf = 0; leaf * FAN_OUT < map.blocks; leaf++) {
			const page = await map.leaf(leaf);
			if (page === null) continue;
			for (let n = 0; n < FAN_OUT; n++) {
				if (isAbsent(page, n * IDENTITY_BYTES)) continue;
				const block = leaf * FAN_OUT + n;
				if (block >= blockCount(map.size, map.blockSize)) return false;
				const place = await index.find(page, n * IDENTITY_BYTES, TYPE.block);
				if (place !== null && place.rawLength !== blockLength(map.size, map.blockSize, block)) return false;
			}
		}
		return true;
	} catch {
		// A page that is none: with this block size the tree would have another height.
		return false;
	}
};
