/**
 * Plans how a source disk is read: walks its extents and gathers blocks that hold data into chunks, so that zeros and
 * unallocated runs are never read and scattered blocks still fill a buffer.
 */
import type { Extent, Image } from "../image/image.js";
import type { BlockRange } from "./block-ranges.js";

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

/** Data extents of [start, stop) in order, asked for in windows that adapt to how fragmented the source is. */
async function* dataExtents(image: Image, start: number, stop: number): AsyncGenerator<Extent> {
	let window = GIB;
	for (let from = start; from < stop; ) {
		const length = Math.min(window, stop - from);
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

/** Ranges shorter than this, bytes, are read without asking what of them is data: most of what changed is. */
const ASK_FROM = 4 * 1024 * 1024;

async function* rangesExtents(image: Image, blockSize: number, ranges: readonly BlockRange[]): AsyncGenerator<Extent> {
	for (const { from, to } of ranges) {
		const start = from * blockSize;
		const stop = Math.min(image.size, to * blockSize);
		if (stop - start < ASK_FROM) yield { offset: start, length: stop - start, kind: "data" };
		else yield* dataExtents(image, start, stop);
	}
}

/** Chunks of a disk, or of `ranges` of it. */
export async function* planChunks(
	image: Image,
	blockSize: number,
	blocksPerChunk: number,
	ranges?: readonly BlockRange[],
): AsyncGenerator<Chunk> {
	let chunk: Chunk = { blocks: [], pieces: [], length: 0, end: 0 };
	const extents = ranges ? rangesExtents(image, blockSize, ranges) : dataExtents(image, 0, image.size);
	for await (const extent of extents) {
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
