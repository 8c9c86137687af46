/** Surface of the repository room. */
export { BlockCache, type CacheStats, createBlockCache } from "./cache.js";
export { parseCompression } from "./compression.js";
export * from "./contract.js";
export { holdText } from "./holds.js";
export { type KeyInfo, KeyManager } from "./manage-keys.js";
export { checkTag, checkVmName } from "./names.js";
export {
	type InitOptions,
	type InitResult,
	initRepository,
	type OpenRepositoryOptions,
	openRepository,
} from "./open.js";
export { type RestoredConfig, restoreConfig } from "./restore-config.js";
export { type Settings, type SettingsName, SettingsStore } from "./settings.js";
export { unlockRepository } from "./unlock.js";
