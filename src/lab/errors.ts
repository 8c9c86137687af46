/** Errors of this room: one line that names the lab's part and the remedy. */
export type LabCode = "INVALID" | "UNSUPPORTED" | "DENIED" | "BUSY" | "FAILED";

export class LabError extends Error {
	override readonly name = "LabError";
	constructor(
		readonly code: LabCode,
		message: string,
		options?: ErrorOptions,
	) {
		super(message, options);
	}
}
