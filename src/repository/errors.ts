/** Turns what the store and the system report into one clear line for the user. */
import type { SystemError } from "../../native/index.js";
import { RepositoryError } from "./contract.js";

/** The system's error code of whatever was thrown, or "". */
export const codeOf = (error: unknown): string => (error as SystemError | undefined)?.code ?? "";

/** One line: what was thrown, without stack or line breaks. */
export const causeOf = (error: unknown): string => {
	const text = error instanceof Error ? error.message : String(error);
	return text.split("\n")[0].trim();
};

/** Wraps a failed store operation; a RepositoryError passes through. `place` is the repository's path. */
export const storeError = (error: unknown, place: string, doing: string): RepositoryError => {
	if (error instanceof RepositoryError) return error;
	const code = codeOf(error);
	const options = { cause: error };
	if (code === "ENOSPC" || code === "EDQUOT")
		return new RepositoryError(
			"NO_SPACE",
			`no space left in ${place} while ${doing}: free some and try again`,
			options,
		);
	if (code === "EROFS" || code === "EACCES" || code === "EPERM")
		return new RepositoryError(
			"READ_ONLY",
			`cannot write to ${place} while ${doing} (${code}): check its owner and mount`,
			options,
		);
	return new RepositoryError("IO", `${place}: error while ${doing}: ${causeOf(error)}`, options);
};
