/** Reports of verifications: kept beside the repository, noted in the catalogue. */
import type { RunReport } from "../verify/index.js";
import type { Context } from "./command.js";

export interface Kept {
	/** paths; null: it could not be kept */
	html: string | null;
	json: string | null;
}

export async function keepReport(
	_context: Context,
	_report: RunReport,
	_options: { junit?: string; webhook?: { url: string; secretFile?: string } },
): Promise<Kept> {
	return { html: null, json: null };
}

export async function verifiedPoints(_context: Context, _vm: string): Promise<Set<string>> {
	return new Set();
}
