/**
 * Dirty bitmaps as a chain: each snapshot begins a new one and stops the one before, so that the stopped ones say what
 * changed between two snapshots. Tracking is validated, not trusted: a gap or a flag of QEMU's ends its use.
 */
import type { DirtyBitmap, UsedNode } from "./block-nodes.js";
import { OURS } from "./block-nodes.js";

/** Bitmaps kept for each disk, the one that records included: how many snapshots back `since` may lie. */
export const BITMAPS_KEPT = 5;
/** bytes; changes are known to this grain */
export const GRANULARITY = 65536;
const NAME = /^springback-(\d{8})-[0-9a-f]{8}$/;

const sequenceOf = (name: string): number | undefined => {
	const match = NAME.exec(name);
	return match === null ? undefined : Number(match[1]);
};

interface Tracked extends DirtyBitmap {
	sequence: number;
}

const tracked = ({ bitmaps }: UsedNode): Tracked[] =>
	bitmaps
		.flatMap((bitmap) => {
			const sequence = sequenceOf(bitmap.name);
			return sequence === undefined ? [] : [{ ...bitmap, sequence }];
		})
		.sort((a, b) => a.sequence - b.sequence);

/** The name of a new bitmap, after all that any of the disks has; `random`: 8 hex digits. */
export const nextBitmap = (nodes: UsedNode[], random: string): string => {
	const last = Math.max(0, ...nodes.flatMap((node) => tracked(node).map(({ sequence }) => sequence)));
	return `${OURS}${String(last + 1).padStart(8, "0")}-${random}`;
};

export const changeIdOf = (bitmap: string): string => bitmap.slice(OURS.length);

/** Bitmaps that QEMU found not closed in order. */
export const inconsistent = (node: UsedNode): string[] =>
	tracked(node)
		.filter((bitmap) => bitmap.inconsistent === true)
		.map(({ name }) => name);

/** Bitmaps before the newest ones: nobody asks so far back. */
export const tooOld = (node: UsedNode): string[] => {
	const good = tracked(node).filter((bitmap) => bitmap.inconsistent !== true);
	return good.slice(0, Math.max(0, good.length - BITMAPS_KEPT)).map(({ name }) => name);
};

/** Those that still record. */
export const recording = (node: UsedNode): string[] =>
	tracked(node)
		.filter((bitmap) => bitmap.recording)
		.map(({ name }) => name);

/** The good one right before `name` in the chain. */
export const bitmapBefore = (node: UsedNode, name: string): string | undefined =>
	tracked(node).find((one) => one.sequence === sequenceOf(name)! - 1 && one.inconsistent !== true)?.name;

/**
 * The bitmaps whose union is what changed between the snapshot `since` and the one that began `now`; or why that is not
 * known.
 */
export const bitmapsSince = (node: UsedNode, since: string, now: string): { names: string[] } | { why: string } => {
	const first = sequenceOf(OURS + since);
	const end = sequenceOf(now)!;
	const all = tracked(node);
	const begin = all.find(({ name }) => name === OURS + since);
	if (first === undefined || begin === undefined)
		return {
			why: "the disk has no record of what changed since then (it was powered off without one, moved, or replaced, or that backup is too long ago)",
		};
	const between = all.filter(({ sequence }) => sequence >= first && sequence < end);
	const flawed = between.find((bitmap) => bitmap.inconsistent === true || bitmap.recording);
	if (flawed !== undefined)
		return { why: "the record of what changed was not closed in order (QEMU or the machine died)" };
	// Numbers have no gaps but where somebody removed a bitmap.
	if (between.some(({ sequence }, index) => sequence !== first + index) || between.length !== end - first)
		return { why: "a part of the record of what changed is missing on this disk" };
	return { names: between.map(({ name }) => name) };
};
