/**
 * The data blocks that can be had, as far as a check knows: those of which an index segment names a place where nothing is
 * wrong. One pass over the index in its own order, instead of one random page of it for each block of each map.
 */
import type { PackReport } from "./check-packs.js";
import { causeOf } from "./errors.js";
import { ENTRY_BYTES } from "./identity-table.js";
import type { Index } from "./index-set.js";
import { TYPE } from "./layout.js";
import { LiveSet } from "./live-set.js";
import { PACK_TRAILER_BYTES } from "./pack-format.js";
import { BadSegment, type Segment } from "./segment.js";
import { PAGE_BYTES, pageCount } from "./segment-format.js";

const READ_PAGES = 64;

/**
 * Also says how many map pages the index names. Fingerprints (see LiveSet): about two of a million lost blocks are taken for
 * good ones here. What is wrong with the packs that had them is found and told all the same.
 */
export const soundBlocks = async (index: Index, packs: PackReport): Promise<{ blocks: LiveSet; pages: number }> => {
	const segments = [...index.segments];
	const blocks = new LiveSet(packs.blocks);
	let pages = 0;
	for (const segment of segments) {
		try {
			pages += await addSound(segment, packs, blocks);
		} catch (error) {
			// Damaged since it was verified. What only it names is looked up one by one, and reported then.
			if (!(error instanceof BadSegment)) throw error;
			index.reject(segment, causeOf(error));
		}
	}
	return { blocks, pages };
};

/** Resolves with the number of map pages that the segment names. */
const addSound = async (segment: Segment, packs: PackReport, sound: LiveSet): Promise<number> => {
	let mapPages = 0;
	// Of a pack in which nothing is wrong every record within the file is good.
	const ends = segment.packs.map(({ id }) => (packs.bad.has(id) ? 0 : (packs.sizes.get(id) ?? 0)));
	for (let first = 0; first < segment.trailer.pages; first += READ_PAGES) {
		const pages = await segment.readPages(first, Math.min(READ_PAGES, segment.trailer.pages - first));
		for (let start = 0; start < pages.length; start += PAGE_BYTES) {
			const used = pageCount(pages.subarray(start, start + PAGE_BYTES)) * ENTRY_BYTES;
			for (let at = start; at < start + used; at += ENTRY_BYTES) {
				if (pages[at + 47] === TYPE.page) mapPages += 1;
				if (pages[at + 47] !== TYPE.block) continue;
				const row = pages.readUInt32LE(at + 32);
				const offset = pages.readUInt32LE(at + 36);
				const length = pages.readUInt32LE(at + 40);
				const whole = offset + length + PACK_TRAILER_BYTES <= ends[row];
				if (whole || packs.faultOf({ pack: segment.packs[row].id, offset, length, rawLength: 0 }) === undefined)
					sound.add(pages, at, TYPE.block);
			}
		}
	}
	return mapPages;
};
