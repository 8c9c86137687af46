/** The error of this room: one line that names the thing and the remedy. */
export type VerifyCode = "USAGE" | "STATE" | "BUSY" | "INTERRUPTED" | "FAILED";

export class VerifyError extends Error {
	override readonly name = "VerifyError";
	constructor(
		readonly code: VerifyCode,
		message: string,
		options?: ErrorOptions,
	) {
		super(message, options);
	}
}

/** One line: what was thrown, without stack or line breaks. */
export const causeOf = (error: unknown): string =>
	(error instanceof Error ? error.message : String(error)).split("\n")[0].trim();

/** Why a run ended before its end, for reports. @param signal that has fired */
export const endOf = ({ reason }: AbortSignal): string =>
	(reason as { name?: string } | undefined)?.name === "TimeoutError"
		? "the time that the plan gives the run (limits.timeout) was over"
		: "the run was cancelled";
