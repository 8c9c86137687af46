/**
 * Plans how a source disk is read: walks its extents and gathers blocks that hold data into chunks, so that zeros and
 * unallocated runs are never read and scattered blocks still fill a buffer.
 */
import type { Extent, Image } from "../image/image.js";

/** A run to read: bytes of the source and where in the chunk's buffer they go. */
export interface Piece {
	offset: number;
	length: number;
	at: number;
}

/** Up to `blocksPerChunk` blocks in ascending order, back to back in one buffer. */
export interface Chunk {
	blocks: number[];
	pieces: Piece[];
	/** bytes of the buffer in use; only the disk's last block can be short */
	length: number;
	/** the source is done up to here */
	end: number;
}

const GIB = 1024 ** 3;
/** A window that yields more extents than this is halved next time, one with far fewer doubled. */
const MANY_EXTENTS = 4096;

/** Data extents in order, asked for in windows that adapt to how fragmented the source is. */
async function* dataExtents(image: Image): AsyncGenerator<Extent> {
	let window = GIB;
	for (let from = 0; from < image.size; ) {
		const length = Math.min(window, image.size - from);
		const extents = await image.extents(from, length);
		let end = from;
		for (const extent of extents) {
			// A map built from runs out of order would be silently wrong.
			if (extent.offset < end || extent.offset + extent.length > from + length)
				throw new Error(`its extents are out of order at offset ${extent.offset}`);
			end = extent.offset + extent.length;
			if (extent.kind === "data" && extent.length > 0) yield extent;
		}
		from += length;
		if (extents.length > MANY_EXTENTS) window = Math.max(GIB / 64, window / 2);
		else if (extents.length < MANY_EXTENTS / 16) window *= 2;
	}
}

/** Chunks of a disk. */
export async function* planChunks(image: Image, blockSize: number, blocksPerChunk: number): AsyncGenerator<Chunk> {
	let chunk: Chunk = { blocks: [], pieces: [], length: 0, end: 0 };
	for await (const extent of dataExtents(image)) {
		let offset = extent.offset;
		const end = extent.offset + extent.length;
		while (offset < end) {
			const block = Math.floor(offset / blockSize);
			if (chunk.blocks.at(-1) !== block) {
				if (chunk.blocks.length === blocksPerChunk) {
					yield chunk;
					chunk = { blocks: [], pieces: [], length: 0, end: 0 };
				}
				chunk.blocks.push(block);
				chunk.length += Math.min(blockSize, image.size - block * blockSize);
			}
			const stop = Math.min(end, (block + 1) * blockSize);
			const at = (chunk.blocks.length - 1) * blockSize + (offset - block * blockSize);
			const last = chunk.pieces.at(-1);
			if (last !== undefined && last.offset + last.length === offset && last.at + last.length === at)
				last.length += stop - offset;
			else chunk.pieces.push({ offset, length: stop - offset, at });
			chunk.end = stop;
			offset = stop;
		}
	}
	if (chunk.blocks.length > 0) yield chunk;
}
