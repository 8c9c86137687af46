/** What the rooms above use of nbd/. */
export { connectNbd, NbdImage, type NbdOptions } from "./client/image.js";
export { isNbdUri, NBD_PORT, type NbdAddress, parseNbdUri } from "./uri.js";
