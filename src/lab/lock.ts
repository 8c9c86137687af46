/** Whose lab it is: a lock that goes with the process, seen by runs with other directories, too. */
import { constants as C, existsSync, mkdirSync } from "node:fs";
import { type SystemError, sys } from "../../native/index.js";
import { LabError } from "./errors.js";
import { names } from "./names.js";

export interface Lock {
	release(): void;
}

/** Throws BUSY when a living process has it. */
export const lockLab = (id: string): Lock => {
	try {
		mkdirSync(names(id).run, { recursive: true, mode: 0o755 });
		const lock = tryLock(id);
		if (lock !== undefined) return lock;
	} catch (error) {
		if (!["EACCES", "EPERM", "EROFS"].includes((error as SystemError).code)) throw error;
		throw new LabError("DENIED", `${names(id).run} cannot be made: run as root, or use mode "user"`);
	}
	throw busy(id);
};

export const busy = (id: string): LabError => new LabError("BUSY", `lab ${id} is open already: use another id`);

/** Undefined when a living process has it. The lab must have a folder (`lockLab`). */
const tryLock = (id: string): Lock | undefined => {
	const fd = sys.open(names(id).lock, C.O_RDWR | C.O_CREAT | C.O_NOFOLLOW, 0o600);
	if (sys.lock(fd, "exclusive", 0, 1)) return { release: () => sys.close(fd) };
	sys.close(fd);
	return undefined;
};

/** True when a living process has the lab. */
export const isLocked = (id: string): boolean => {
	if (!existsSync(names(id).lock)) return false;
	const lock = tryLock(id);
	lock?.release();
	return lock === undefined;
};
