/** Errors of reports and their key: one line that names the file and the remedy. */
export class EvidenceError extends Error {
	override readonly name = "EvidenceError";
	constructor(
		readonly code: "KEY" | "DAMAGED" | "NOT_FOUND" | "AMBIGUOUS",
		message: string,
		options?: ErrorOptions,
	) {
		super(message, options);
	}
}
