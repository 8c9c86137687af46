/** One result of a self-check. */
export interface Finding {
	check: string;
	level: "ok" | "warn" | "fail";
	message: string;
	/** what to do about it */
	remedy?: string;
}
