/** Reports of verifications: kept beside the repository, noted in the catalogue, told to whoever is to know. */
import { writeFileSync } from "node:fs";
import type { Repository } from "../repository/index.js";
import { importReports, junit, loadSigner, postResult, reportsFolder, writeReport } from "../verify/evidence/index.js";
import type { RunReport } from "../verify/index.js";
import type { Context } from "./command.js";
import { errorLine } from "./exit.js";
import { repositoryPath, statePath } from "./places.js";
import { openCatalog } from "./recorded.js";

export interface Kept {
	/** paths; null: it could not be kept */
	html: string | null;
	json: string | null;
	/** what went wrong with keeping or telling it; neither changes the result */
	warnings: string[];
}

export interface ReportOptions {
	junit?: string;
	webhook?: { url: string; secretFile: string | null };
}

/** Never rejects: the result of a verification stands whether or not it can be kept. */
export async function keepReport(context: Context, report: RunReport, options: ReportOptions): Promise<Kept> {
	const kept: Kept = { html: null, json: null, warnings: [] };
	try {
		const { Catalog } = await import("../catalog/index.js");
		const catalog = await openCatalog(context, Catalog.open);
		try {
			const state = statePath(context);
			const folder = reportsFolder(repositoryPath(context), state);
			const written = await writeReport(report, folder, await loadSigner(state), catalog);
			Object.assign(kept, { html: written.html, json: written.json });
			for (const file of written.damaged)
				kept.warnings.push(`${file} is no sound report any more: springback report verify`);
		} finally {
			catalog.close();
		}
	} catch (error) {
		kept.warnings.push(`the report is not kept: ${errorLine(error)}`);
	}
	if (options.junit !== undefined)
		try {
			writeFileSync(options.junit, junit(report));
		} catch (error) {
			kept.warnings.push(`--junit: ${errorLine(error)}`);
		}
	if (options.webhook !== undefined) {
		const { url, secretFile } = options.webhook;
		const warning = await postResult(url, report, { secretFile, file: kept.html });
		if (warning !== undefined) kept.warnings.push(warning);
	}
	return kept;
}

/** Points that an earlier run has judged. */
export async function verifiedPoints(context: Context, { id }: Repository): Promise<Set<string>> {
	const { Catalog } = await import("../catalog/index.js");
	const catalog = await openCatalog(context, Catalog.open);
	try {
		// A catalogue that was lost learns of them from the files.
		importReports(reportsFolder(repositoryPath(context), statePath(context)), catalog);
		return catalog.reports.verifiedPoints(id);
	} finally {
		catalog.close();
	}
}
