/** A lock file between processes: open-file-description locks, which end with the process. */
import { constants as C } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { sys } from "../../native/index.js";
import { CatalogError } from "./errors.js";

const WAIT_MS = 10_000;
const STEP_MS = 10;

/** Runs `work` alone. Rejects with LOCKED after ten seconds: what is done under these locks takes milliseconds. */
export const withLock = async <T>(path: string, work: () => T | Promise<T>): Promise<T> => {
	const fd = sys.open(path, C.O_RDWR | C.O_CREAT, 0o600);
	try {
		for (let waited = 0; !sys.lock(fd, "exclusive", 0, 1); waited += STEP_MS) {
			if (waited >= WAIT_MS) throw new CatalogError("LOCKED", `${path}: another springback holds it: try again later`);
			await sleep(STEP_MS);
		}
		return await work();
	} finally {
		sys.close(fd);
	}
};
