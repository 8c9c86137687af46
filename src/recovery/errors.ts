/** The error of this room: one line that names the thing and the remedy. */
export type RecoveryCode = "USAGE" | "REFUSED" | "STATE" | "BUSY" | "UNKNOWN" | "INTERRUPTED" | "FAILED";

export class RecoveryError extends Error {
	override readonly name = "RecoveryError";
	constructor(
		readonly code: RecoveryCode,
		message: string,
		options?: ErrorOptions,
	) {
		super(message, options);
	}
}

/** One line: what was thrown, without stack or line breaks. */
export const causeOf = (error: unknown): string =>
	(error instanceof Error ? error.message : String(error)).split("\n")[0].trim();

/** Throws INTERRUPTED when the signal has fired. */
export const checkInterrupted = (signal: AbortSignal, what: string): void => {
	if (signal.aborted) throw new RecoveryError("INTERRUPTED", `${what} was interrupted`);
};
