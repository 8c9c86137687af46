/** What a client is told of a request that failed. */
import { Errno } from "../protocol.js";

export interface Failure {
	/** one of Errno */
	error: number;
	/** for people, of the client's side */
	words: string;
}

/** The Image is closed: there is nobody to serve any more, and the connection ends. */
export const isGone = (error: unknown): boolean => (error as { code?: string }).code === "ECLOSED";

/** No failure of an Image, but a fault in the program. */
export const isUnexpected = (error: unknown): boolean =>
	!(error instanceof RangeError) && typeof (error as { code?: unknown }).code !== "string";

/** Paths and details of ours are for our log, not for clients. */
export function failureOf(error: unknown): Failure {
	if (error instanceof RangeError) return { error: Errno.EINVAL, words: "outside of the export" };
	if ((error as { code?: string }).code === "ENOSPC")
		return { error: Errno.ENOSPC, words: "no space left on the server" };
	return { error: Errno.EIO, words: "input/output error on the server" };
}

export const WORDS: Record<number, string> = {
	[Errno.EPERM]: "the export is read-only",
	[Errno.EINVAL]: "invalid request",
	[Errno.ENOSPC]: "beyond the end of the export",
	[Errno.EOVERFLOW]: "the request is too large",
	[Errno.ENOMEM]: "the server has no memory for so large a read now",
	[Errno.ENOTSUP]: "not supported",
};
