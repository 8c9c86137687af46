/**
 * What system errors mean to a session: out of space is answered and heals, everything else stops it.
 */
import type { SystemError } from "../../native/index.js";
import { OverlayError } from "./contract.js";

const codeOf = (error: unknown): string => (error as SystemError)?.code ?? "";

/** True for a write or allocation that found no room. A sync that says so is a failed sync. */
export const isNoSpace = (error: unknown): boolean => {
	const code = codeOf(error);
	const call = (error as SystemError)?.syscall ?? "";
	return (code === "ENOSPC" || code === "EDQUOT") && !call.includes("sync");
};

export const noSpace = (cause?: unknown): OverlayError =>
	new OverlayError("ENOSPC", "the session's file system is full: free some space, writes then go on", { cause });

export const failed = (directory: string, cause: unknown): OverlayError =>
	new OverlayError(
		"EIO",
		`session ${directory} stopped after a failed write or sync (${codeOf(cause) || String(cause)}): ` +
			"check its disk, then open the session again",
		{ cause },
	);

export const corrupt = (file: string, position: number, what: string): OverlayError =>
	new OverlayError("ECORRUPT", `${file} is damaged at byte ${position}: ${what}`);
