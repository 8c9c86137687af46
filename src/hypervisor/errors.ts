/** Errors of this room: one line that names host, VM and remedy. */
export type HypervisorCode =
	| "NOT_FOUND"
	| "AMBIGUOUS"
	| "INVALID"
	| "UNREACHABLE"
	| "DENIED"
	| "UNSUPPORTED"
	| "STATE"
	| "BUSY"
	| "NO_AGENT"
	| "TIMEOUT"
	| "NO_SPACE"
	| "INTERRUPTED"
	| "FAILED";

export class HypervisorError extends Error {
	override readonly name = "HypervisorError";
	constructor(
		readonly code: HypervisorCode,
		message: string,
		options?: ErrorOptions,
	) {
		super(message, options);
	}
}

/** One line: what was thrown, without stack or line breaks. */
export const causeOf = (error: unknown): string =>
	(error instanceof Error ? error.message : String(error)).split("\n")[0].trim();
