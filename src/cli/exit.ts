/** Exit codes (stable) and the one line that a failure becomes. */
export const EXIT = {
	ok: 0,
	failure: 1,
	usage: 2,
	/** a check or a verification found a fault */
	fault: 3,
	/** done, with warnings */
	warnings: 4,
	interrupted: 130,
} as const;

/** Wrong arguments: exit 2. */
export class UsageError extends Error {
	override readonly name = "UsageError";
}

/** Codes of other rooms' errors that mean "the command was wrong" rather than "it failed". */
const USAGE_CODES = new Set(["USAGE"]);

export function exitCode(error: unknown): number {
	if (error instanceof UsageError) return EXIT.usage;
	const { code, name } = error as { code?: string; name?: string };
	if (code === "INTERRUPTED" || name === "AbortError") return EXIT.interrupted;
	return code !== undefined && USAGE_CODES.has(code) ? EXIT.usage : EXIT.failure;
}

/** One line, no stack trace; system errors are put in words. */
export function errorLine(error: unknown): string {
	if (!(error instanceof Error)) return String(error);
	const { code, path, syscall } = error as { code?: string; path?: string; syscall?: string };
	const words = code !== undefined && syscall !== undefined ? SYSTEM[code] : undefined;
	const line = words ? `${path ? `${path}: ` : ""}${words}` : error.message;
	return line.replace(/\s*\n\s*/g, " ");
}

const SYSTEM: Record<string, string> = {
	ENOENT: "no such file or directory; check the path",
	EACCES: "permission denied; run as the owner, or as root",
	EPERM: "operation not permitted; run as the owner, or as root",
	ENOSPC: "no space left on the device; free some and run it again",
	EROFS: "the file system is read-only",
	EISDIR: "is a directory; name a file",
	ENOTDIR: "a part of the path is not a directory",
	EIO: "the device reported an input/output error",
	EMFILE: "too many open files; raise the limit (ulimit -n)",
};
