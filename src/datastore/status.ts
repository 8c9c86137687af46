/** Overlay errors as vfs statuses. Anything else is a bug and is thrown on. */
import { OverlayError, type OverlayErrorCode } from "../overlay/contract.js";
import type { Failed, Status } from "../vfs/vfs.js";

const STATUS: Record<OverlayErrorCode, Status> = {
	ENOENT: "NOENT",
	EEXIST: "EXIST",
	ENOTDIR: "NOTDIR",
	EISDIR: "ISDIR",
	ENOTEMPTY: "NOTEMPTY",
	EINVAL: "INVAL",
	ENOSPC: "NOSPC",
	EIO: "IO",
	EFBIG: "FBIG",
	EMLINK: "MLINK",
	ESTALE: "STALE",
	ENAMETOOLONG: "NAMETOOLONG",
	ECORRUPT: "IO",
};

export function failed(error: unknown): Failed {
	if (error instanceof OverlayError) return { status: STATUS[error.code] };
	const code = (error as { code?: string }).code;
	if (code === "EIO" || code === "ECORRUPT" || code === "ECLOSED") return { status: "IO" };
	if (code === "ENOSPC") return { status: "NOSPC" };
	throw error;
}
