/** Shape of a block map (docs/format.md, 5 and 7). */
import { IDENTITY_BYTES } from "./layout.js";

export const FAN_OUT = 64;
export const MAP_PAGE_BYTES = FAN_OUT * IDENTITY_BYTES;

/** Blocks of a disk of `size` bytes. */
export const blockCount = (size: number, blockSize: number): number => Math.ceil(size / blockSize);

/** Plain bytes of block `n`; less than `blockSize` only for the last. */
export const blockLength = (size: number, blockSize: number, n: number): number =>
	Math.min(blockSize, size - n * blockSize);

/** Levels of the tree of a disk of `blocks` blocks: at least 1. */
export const levelsFor = (blocks: number): number => {
	let levels = 1;
	for (let reach = FAN_OUT; reach < blocks; reach *= FAN_OUT) levels += 1;
	return levels;
};
