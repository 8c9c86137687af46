/** An NBD export as the target of an export. What lies beyond the disk's end is left alone. */
import { connectNbd } from "../nbd/index.js";
import { SourceError } from "./errors.js";
import type { ExportTarget } from "./export.js";

/** Rejects with SourceError TARGET when it is read-only or too small. */
export async function openNbdTarget(uri: string, size: number): Promise<ExportTarget> {
	const image = await connectNbd(uri).catch((error) => {
		throw new SourceError("TARGET", (error as Error).message, { cause: error });
	});
	try {
		if (image.readOnly) throw new SourceError("TARGET", `${uri}: the export is read-only`);
		if (image.size < size)
			throw new SourceError("TARGET", `${uri}: has ${image.size} bytes, the disk needs ${size}; enlarge it first`);
	} catch (error) {
		await image.close();
		throw error;
	}
	return {
		write: (offset, data) => image.write(offset, data),
		zero: (offset, length) => image.writeZeroes(offset, length),
		async finish() {
			await image.flush();
			await image.close();
		},
		discard: () => image.close(),
		interrupt: () => void image.close(),
	};
}
