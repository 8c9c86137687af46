/** Check, part one: every byte of every index segment, and an index in memory for the other parts. */
import type { Faults } from "./check-faults.js";
import { causeOf, codeOf } from "./errors.js";
import { compareEntries, ENTRY_BYTES } from "./identity-table.js";
import { Index } from "./index-set.js";
import type { Keyring } from "./keyring.js";
import { isId, type Random, segmentName } from "./layout.js";
import { BadSegment, type Segment } from "./segment.js";
import { PAGE_BYTES, pageCount } from "./segment-format.js";
import type { Store } from "./store.js";

const READ_PAGES = 64;

/** An index that knows all good segments and, from their footers, all packs that these do not name. Nothing is written. */
export const checkSegments = async (store: Store, keyring: Keyring, random: Random, faults: Faults): Promise<Index> => {
	for (const name of await store.list("index"))
		if (!isId(name)) faults.of("unknown-file", `index/${name}`, `index/${name} is not part of a repository`);
	const index = new Index(store, keyring, random, { write: false });
	await index.refresh();
	for (const segment of index.segments) {
		const wrong = await faultOfSegment(segment);
		if (wrong !== undefined) index.reject(segment, wrong);
	}
	for (const [id, why] of [...index.bad, ...index.unreadable])
		faults.of(
			"bad-index",
			segmentName(id),
			`${why}; nothing is lost: springback repair or the next backup rebuilds it`,
		);
	await index.adopt();
	return index;
};

const faultOfSegment = async (segment: Segment): Promise<string | undefined> => {
	const name = segmentName(segment.id);
	let previous: Buffer | undefined;
	try {
		for (let first = 0; first < segment.trailer.pages; first += READ_PAGES) {
			const pages = await segment.readPages(first, Math.min(READ_PAGES, segment.trailer.pages - first));
			for (let at = 0; at < pages.length; at += PAGE_BYTES) {
				const page = pages.subarray(at, at + PAGE_BYTES);
				for (let n = 0; n < pageCount(page); n++) {
					const entry = page.subarray(n * ENTRY_BYTES, (n + 1) * ENTRY_BYTES);
					if (previous !== undefined && compareEntries(previous, 0, entry, 0) >= 0)
						return `${name}: entries are out of order`;
					if (entry.readUInt32LE(32) >= segment.packs.length) return `${name}: an entry names no pack`;
					previous = entry;
				}
			}
		}
		return undefined;
	} catch (error) {
		if (error instanceof BadSegment || codeOf(error) === "EIO") return `${name}: ${causeOf(error)}`;
		throw error;
	}
};
