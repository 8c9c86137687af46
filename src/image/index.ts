/** What the rooms above use of image/. */
export { ConcatImage } from "./concat.js";
export {
	type Extent,
	type ExtentKind,
	type Image,
	ImageError,
	type Loan,
	type WritableImage,
} from "./image.js";
export { LimitedImage, ReadLimit, type Timer, timerUntil } from "./limited.js";
export { padded } from "./padded.js";
export { checkRange, pushExtent } from "./range.js";
export { openRaw, RawImage, type RawOptions } from "./raw.js";
export { SliceImage } from "./slice.js";
export { ZeroImage } from "./zero.js";
