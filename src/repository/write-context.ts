/** What everything that stores records in a repository is given: backup, prune and repair. */
import type { Compression } from "./compression.js";
import type { Keyring } from "./keyring.js";
import type { Random } from "./layout.js";
import type { Store } from "./store.js";

export interface WriteContext {
	store: Store;
	keyring: Keyring;
	/** of data blocks: the repository's, or what a backup asks for */
	compression: Compression;
	/** bytes */
	blockSize: number;
	random: Random;
	/** new records between two checkpoints */
	checkpointRecords: number;
}
