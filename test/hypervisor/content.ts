/** Whole images, for comparison. */
import type { Image } from "../../src/image/index.js";

export const MIB = 2 ** 20;

export async function contentOf(image: Image): Promise<Buffer> {
	const bytes = Buffer.alloc(image.size);
	for (let at = 0; at < image.size; at += MIB) await image.read(at, bytes.subarray(at, Math.min(at + MIB, image.size)));
	return bytes;
}
