/**
 * One process per session, and only on file systems that keep what they promise.
 */
import { constants } from "node:fs";
import { type SystemError, sys } from "../../native/index.js";
import { OverlayError } from "./contract.js";

/** Takes the session's lock; returns its descriptor. The kernel releases it when the process dies. */
export const lockSession = (directory: string): number => {
	const fd = sys.open(`${directory}/lock`, constants.O_RDWR | constants.O_CREAT, 0o600);
	if (sys.lock(fd, "exclusive", 0, 1)) return fd;
	sys.close(fd);
	throw new OverlayError(
		"EIO",
		`session ${directory} is open in another process: end that one (springback sessions), or wait for it`,
	);
};

/** statfs(2) f_type of file systems whose syncs and locks depend on a network or on another process. */
const REFUSED = new Map([
	[0x6969, "NFS"],
	[0x517b, "SMB"],
	[0xff534d42, "CIFS"],
	[0xfe534d42, "SMB"],
	[0x5346414f, "AFS"],
	[0x00c36400, "Ceph"],
	[0x01021997, "9P"],
	[0x0bd00bd0, "Lustre"],
	[0x65735546, "FUSE"],
	[0x564c, "NCP"],
	[0x73757245, "Coda"],
	[0x01161970, "GFS2"],
	[0x7461636f, "OCFS2"],
]);

/** The name of a refused file system; undefined for one that may be tried. `type` as statfs(2) gives it. */
export const refusedFileSystem = (type: number): string | undefined => REFUSED.get(type >>> 0);

/** Throws OverlayError EINVAL when the file system under `directory` cannot hold a session. */
export const probe = (directory: string): void => {
	const network = refusedFileSystem(sys.statfs(directory).type);
	if (network) {
		throw new OverlayError(
			"EINVAL",
			`${directory} is on ${network}: sessions need a local file system (ext4, XFS, …); choose another --state`,
		);
	}
	const step = (what: string, act: () => void): void => {
		try {
			act();
		} catch (cause) {
			const { code } = cause as SystemError;
			if (code === "ENOSPC" || code === "EDQUOT") {
				throw new OverlayError("ENOSPC", `${directory}: the file system is full`, { cause });
			}
			throw new OverlayError("EINVAL", `${directory} cannot hold a session: ${what} fails (${code ?? cause})`, {
				cause,
			});
		}
	};
	const from = `${directory}/probe.tmp`;
	const to = `${directory}/probe`;
	let fd = -1;
	let other = -1;
	try {
		step("creating a file", () => {
			fd = sys.open(from, constants.O_RDWR | constants.O_CREAT | constants.O_TRUNC, 0o600);
		});
		step("writing", () => sys.pwrite(fd, Buffer.from("probe"), 0));
		step("syncing", () => sys.fdatasync(fd));
		step("renaming", () => sys.rename(from, to));
		step("syncing a directory", () => sys.fsyncDirectory(directory));
		step("locking", () => {
			other = sys.open(to, constants.O_RDWR);
			if (!sys.lock(fd, "exclusive", 0, 1)) throw new Error("refused");
			if (sys.lock(other, "exclusive", 0, 1)) throw new Error("two holders");
		});
	} finally {
		for (const open of [fd, other]) if (open >= 0) sys.close(open);
		for (const path of [from, to]) removeIfThere(path);
	}
};

const removeIfThere = (path: string): void => {
	try {
		sys.unlink(path);
	} catch (error) {
		if ((error as SystemError).code !== "ENOENT") throw error;
	}
};
