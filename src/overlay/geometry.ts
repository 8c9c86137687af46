/**
 * Sizes and limits of the overlay format (docs/overlay-format.md). Bytes unless said otherwise.
 */

/** Unit of log batches and of the index: what a kernel writes back at once. */
export const PAGE = 4096;
/** Payloads begin at multiples of this within a batch. */
export const SECTOR = 512;
/** Payloads up to this length travel among the operations. */
export const INLINE_MAX = 2048;
export const DEFAULT_SEGMENT = 16 * 1024 * 1024;
export const MIN_SEGMENT = 64 * 1024;
export const DEFAULT_RESERVE = 128 * 1024 * 1024;
/** Most log that a replay reads. */
export const REPLAY_LIMIT = 64 * 1024 * 1024;
/** Most segments in a plan. */
export const PLAN_MAX = 64;
/** Changes gathered before a checkpoint starts. */
export const DELTA_LIMIT = 16384;
/** Payload bytes of one batch, as far as the segment allows. */
export const BATCH_PAYLOAD = 1024 * 1024;
/** Operations of one batch (pwritev takes 1024 parts). */
export const BATCH_OPERATIONS = 256;
/** Free segments that keep their blocks: so many, or this share of the used ones. */
export const SPARE_SEGMENTS = 4;
export const SPARE_SHARE = 0.1;
/** Newest duplicate-request records kept. */
export const REQUESTS_KEPT = 4096;
/** Bytes covered by one bit of a presence map, and bits per stored chunk. */
export const REGION = 256 * 1024;
export const REGIONS_PER_CHUNK = 4096;
export const NAME_MAX = 255;
export const TARGET_MAX = 4095;
export const REPLY_MAX = 3072;
export const SHRINKS_MAX = 32;
/** Superblock areas at 0 and SUPERBLOCK; pages from 2 × SUPERBLOCK on. */
export const SUPERBLOCK = 64 * 1024;
export const FIRST_PAGE = (2 * SUPERBLOCK) / PAGE;

export const alignUp = (n: number, unit: number): number => Math.ceil(n / unit) * unit;

/** How many segments the log may use between two checkpoints; the last batch of each may leave a rest. */
export const planLength = (segmentBytes: number): number =>
	Math.max(2, Math.min(PLAN_MAX, Math.floor(REPLAY_LIMIT / segmentBytes)));

/**
 * How many synced batches in a segment tell that the next is worth filling with zeros. They cost as much as a segment of
 * data; but in a segment that is not filled, each sync waits for the file system's journal, and so for everybody else.
 */
export const syncsToFill = (segmentBytes: number): number => Math.max(1, Math.floor(segmentBytes / (4 * 1024 * 1024)));

/** Payload bytes of one batch in segments of this size. */
export const batchPayload = (segmentBytes: number): number => Math.min(BATCH_PAYLOAD, alignUp(segmentBytes / 8, PAGE));
