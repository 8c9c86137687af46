/** The error of this room, and the words for those of others. */

/** `message` is one line that names the thing and the remedy. "USAGE": the command was wrong, nothing was tried. */
export class SourceError extends Error {
	override readonly name = "SourceError";
	constructor(
		readonly code: "USAGE" | "SOURCE" | "TARGET" | "INTERRUPTED",
		message: string,
		options?: ErrorOptions,
	) {
		super(message, options);
	}
}

const WORDS: Readonly<Record<string, string>> = {
	ENOENT: "no such file; check the path",
	EACCES: "permission denied; run as the owner, or as root",
	EPERM: "operation not permitted; run as the owner, or as root",
	EISDIR: "is a directory; name a file",
	ENOTDIR: "a part of the path is not a directory",
	ELOOP: "too many symbolic links",
	ENOSPC: "no space left on the device; free some and run it again",
	EROFS: "the file system is read-only",
	EEXIST: "exists already",
};

/** One line for whatever was thrown. */
export function reason(error: unknown): string {
	const { code, message } = error as { code?: string; message?: string };
	if (code !== undefined && Object.hasOwn(WORDS, code)) return WORDS[code];
	return (message ?? String(error)).split("\n")[0].trim();
}

/** Throws INTERRUPTED when the signal has fired. */
export function checkInterrupted(signal: AbortSignal | undefined, what: string): void {
	if (signal?.aborted) throw new SourceError("INTERRUPTED", `the ${what} was interrupted`);
}
