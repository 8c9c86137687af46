/** nfsstat3 (RFC 1813 section 2.6). */
import type { Status } from "../../vfs/vfs.js";

/** What the protocol adds to the file system's failures. */
export type NfsStatus = Status | "TOOSMALL";

const NUMBERS: Record<NfsStatus | "OK", number> = {
	OK: 0,
	PERM: 1,
	NOENT: 2,
	IO: 5,
	ACCES: 13,
	EXIST: 17,
	XDEV: 18,
	NODEV: 19,
	NOTDIR: 20,
	ISDIR: 21,
	INVAL: 22,
	FBIG: 27,
	NOSPC: 28,
	ROFS: 30,
	MLINK: 31,
	NAMETOOLONG: 63,
	NOTEMPTY: 66,
	DQUOT: 69,
	STALE: 70,
	BADHANDLE: 10001,
	NOT_SYNC: 10002,
	BAD_COOKIE: 10003,
	NOTSUPP: 10004,
	TOOSMALL: 10005,
	SERVERFAULT: 10006,
	BADTYPE: 10007,
	JUKEBOX: 10008,
};

export const statusNumber = (status: NfsStatus | "OK"): number => NUMBERS[status];
