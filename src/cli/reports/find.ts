/** The catalogue with all reports it can know of, and the report that somebody means. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { Catalog, type ReportNote, type VerificationNote } from "../../catalog/index.js";
import { EvidenceError, importReports, reportsFolder } from "../../verify/evidence/index.js";
import type { Context } from "../command.js";
import { namesRepository, repositoryPath, statePath } from "../places.js";
import { openCatalog } from "../recorded.js";

export type Known = ReportNote & { vms: VerificationNote[] };

/** Folders to look into: of the repository that is named, and of this state directory. */
export const foldersOf = (context: Context): string[] => {
	const own = join(statePath(context), "reports");
	const named = namesRepository(context) ? [reportsFolder(repositoryPath(context), statePath(context))] : [];
	return [...new Set([...named, own])];
};

/** Opens the catalogue and takes in reports that it does not know; says which files are damaged. */
export const openReports = async (context: Context): Promise<Catalog> => {
	const catalog = await openCatalog(context, Catalog.open);
	try {
		for (const folder of foldersOf(context))
			for (const file of importReports(folder, catalog).damaged)
				context.out.say(`${file} is no sound report: springback report verify ${file} tells why`);
		return catalog;
	} catch (error) {
		catalog.close();
		throw error;
	}
};

/** Reports of the repository that is named, else all; newest first. */
export const knownReports = (context: Context, catalog: Catalog, vm?: string): Known[] => {
	const all = catalog.reports.list({ vm });
	if (!namesRepository(context)) return all;
	const folders = foldersOf(context);
	return all.filter(({ file }) => folders.some((folder) => file.startsWith(join(folder, "/"))));
};

/** A file; else the JSON file of the run with this id, or its first digits; the newest for "latest". */
export const fileOf = (word: string, known: readonly Known[]): string => {
	const found = word === "latest" ? known.slice(0, 1) : known.filter(({ run }) => run.startsWith(word.toLowerCase()));
	if (found.length === 1) return found[0].file;
	if (found.length > 1) throw new EvidenceError("AMBIGUOUS", `${word} means ${found.length} runs: give more of the id`);
	if (existsSync(word)) return word;
	throw new EvidenceError(
		"NOT_FOUND",
		known.length === 0
			? "there are no reports: springback verify makes them; name the repository with --repo"
			: `there is no report ${word}: springback report list shows them`,
	);
};
