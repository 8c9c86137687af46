/** Surface of the repository room. */
export { BlockCache, type CacheStats, createBlockCache } from "./cache.js";
export * from "./contract.js";
export { holdText } from "./holds.js";
export { checkTag, checkVmName } from "./names.js";
export { type InitOptions, initRepository, type OpenRepositoryOptions, openRepository } from "./open.js";
