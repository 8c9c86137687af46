/** What a dirty bitmap that QEMU exports over NBD names. */
import type { Extent } from "../image/index.js";
import { connectNbd } from "../nbd/index.js";

/** Bytes asked for at once when changes are listed. */
const STEP = 64 * 1024 ** 3;

export interface ExportAddress {
	/** path of the UNIX socket */
	socket: string;
	exportName: string;
	/** for messages */
	text: string;
}

export const changedExtents = async (
	address: ExportAddress,
	dirtyBitmap: string,
	size: number,
): Promise<{ offset: number; length: number }[]> => {
	const image = await connectNbd(address, { dirtyBitmap });
	try {
		if (!image.hasExtents) throw new Error("QEMU does not tell what changed");
		const found: { offset: number; length: number }[] = [];
		for (let at = 0; at < size; at += STEP) {
			const runs: Extent[] = await image.extents(at, Math.min(STEP, size - at));
			for (const { offset, length, kind } of runs) if (kind === "data") found.push({ offset, length });
		}
		return found;
	} finally {
		await image.close();
	}
};
