/**
 * What a session changed of a disk, as contexts of block status: `springback:changed` since its restore point, and
 * `springback:changed:EPOCH` since that epoch of an earlier frozen view; for QEMU's tools, which only know dirty bitmaps,
 * the same as `qemu:dirty-bitmap:changed` and `qemu:dirty-bitmap:changed-EPOCH`.
 */
import type { Extent } from "../../image/image.js";
import type { ExportContexts, StatusRun } from "../../nbd/index.js";

export const CONTEXT_NAMES = ["springback:changed", "qemu:dirty-bitmap:changed"];
const CONTEXT = /^(?:springback:changed(?::(\d{1,10}))?|qemu:dirty-bitmap:changed(?:-(\d{1,10}))?)$/;
/** of both: the bit that QEMU calls NBD_STATE_DIRTY */
const CHANGED = 1;

/** @param changes extents of a range written after an epoch, sorted */
export function changeContexts(
	changes: (epoch: number, offset: number, length: number) => Extent[] | Promise<Extent[]>,
): ExportContexts {
	return {
		names: CONTEXT_NAMES,
		find(name) {
			const match = CONTEXT.exec(name);
			if (!match) return undefined;
			const epoch = Number(match[1] ?? match[2] ?? 0);
			return (offset, length) => {
				const found = changes(epoch, offset, length);
				return Array.isArray(found)
					? runsOf(found, offset, length)
					: found.then((extents) => runsOf(extents, offset, length));
			};
		},
	};
}

/** Changed runs, and those between them. */
function runsOf(extents: Extent[], offset: number, length: number): StatusRun[] {
	const runs: StatusRun[] = [];
	let at = offset;
	for (const extent of extents) {
		if (extent.offset > at) runs.push({ length: extent.offset - at, flags: 0 });
		runs.push({ length: extent.length, flags: CHANGED });
		at = extent.offset + extent.length;
	}
	if (at < offset + length) runs.push({ length: offset + length - at, flags: 0 });
	return runs;
}
