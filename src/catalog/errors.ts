/** Errors of this room: one line that names the file and the remedy. */
export class CatalogError extends Error {
	override readonly name = "CatalogError";
	constructor(
		readonly code:
			| "NOT_FOUND"
			| "EXISTS"
			| "DAMAGED"
			| "NEWER_FORMAT"
			| "AMBIGUOUS"
			| "LOCKED"
			| "INVALID"
			| "NOT_EMPTY"
			| "IO",
		message: string,
		options?: ErrorOptions,
	) {
		super(message, options);
	}
}

/** The system's error code of whatever was thrown, or "". */
export const codeOf = (error: unknown): string => String((error as { code?: string } | undefined)?.code ?? "");

/** One line: what was thrown, without stack or line breaks. */
export const causeOf = (error: unknown): string =>
	(error instanceof Error ? error.message : String(error)).split("\n")[0].trim();
