/** An Image made larger by zeros at its end: VM disks are whole sectors, source files need not be. */
import { ConcatImage } from "./concat.js";
import type { Image } from "./image.js";
import { ZeroImage } from "./zero.js";

/** `image` followed by zeros up to `size` bytes; owns `image`. Throws RangeError when `size` is smaller. */
export function padded(image: Image, size: number): Image {
	if (!Number.isSafeInteger(size) || size < image.size)
		throw new RangeError(`an image of ${image.size} bytes cannot be padded to ${size}`);
	return size === image.size ? image : new ConcatImage([image, new ZeroImage(size - image.size)]);
}
