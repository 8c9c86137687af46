/** One run at a time has a VM: a lock on this machine that goes with the process. */
import { constants as C, mkdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { sys } from "../../../native/index.js";
import { HypervisorError } from "../errors.js";
import type { Domain } from "./domain.js";

export interface Lock {
	release(): void;
}

/** For this user alone; its content goes with a reboot. */
export const ownFolder = (): string => {
	const uid = process.getuid!();
	const path =
		uid === 0
			? "/run/springback"
			: join(process.env.XDG_RUNTIME_DIR ?? "/tmp", process.env.XDG_RUNTIME_DIR ? "springback" : `springback-${uid}`);
	mkdirSync(path, { recursive: true, mode: 0o700 });
	if (statSync(path).uid !== uid)
		throw new HypervisorError("DENIED", `${path}: belongs to somebody else: remove it, or set XDG_RUNTIME_DIR`);
	return path;
};

/** Undefined when another run has the VM. */
export const tryLock = ({ id }: Domain): Lock | undefined => {
	const fd = sys.open(join(ownFolder(), `libvirt-${id}.lock`), C.O_RDWR | C.O_CREAT | C.O_NOFOLLOW, 0o600);
	if (sys.lock(fd, "exclusive", 0, 1)) return { release: () => sys.close(fd) };
	sys.close(fd);
	return undefined;
};

export const busy = (domain: Domain, why = "is being backed up or moved by another run"): HypervisorError =>
	new HypervisorError("BUSY", `VM ${domain.name} ${why}: try again when it has ended`);

export const lockDomain = (domain: Domain): Lock => {
	const lock = tryLock(domain);
	if (lock === undefined) throw busy(domain);
	return lock;
};
