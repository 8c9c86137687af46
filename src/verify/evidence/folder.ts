/** The folder of reports: where it is, which files are in it, and what the catalogue should know of them. */
import { mkdirSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { readFileWhole } from "../../../native/durable-file.js";
import { sys } from "../../../native/index.js";
import type { Catalog } from "../../catalog/index.js";
import { decodeReport, type SignedReport, sha256Of } from "./document.js";

const REPORT = /^([0-9a-f]{32})\.(json|html)$/;

/**
 * `reports/` in the repository, beside what it is about. Of an encrypted one `reports/` in the state directory: screens
 * and consoles of guests must not lie in the clear where the repository does.
 */
export const reportsFolder = (repository: string, state: string): string =>
	join(isEncrypted(repository) ? state : repository, "reports");

/** An encrypted repository has keys (docs/format.md, 11). */
const isEncrypted = (repository: string): boolean => listed(join(repository, "keys")).length > 0;

/** Runs that have a JSON file in a folder, and those that have a page. */
export const reportFiles = (folder: string): { json: string[]; html: string[] } => {
	const found = { json: [] as string[], html: [] as string[] };
	for (const name of listed(folder)) {
		const match = REPORT.exec(name);
		if (match !== null) found[match[2] as "json" | "html"].push(match[1]);
	}
	return found;
};

/** Makes the folder, durably. */
export const makeFolder = (folder: string): void => {
	if (mkdirSync(folder, { recursive: true, mode: 0o700 }) !== undefined) sys.fsyncDirectory(dirname(folder));
};

/** What the catalogue keeps of a report. */
export const noteReport = (
	catalog: Catalog,
	{ report, chain, key }: SignedReport,
	file: string,
	sha256: string,
): void =>
	catalog.reports.add(
		{
			run: report.id,
			repository: report.repository.id,
			plan: report.plan,
			result: report.result,
			started: report.started,
			ended: report.ended,
			file,
			signer: key.fingerprint,
			sequence: chain.sequence,
			sha256,
		},
		report.vms.map(({ vm, point, result, fault, timeToServiceMs, started }) => ({
			vm,
			point: point.id,
			result,
			fault,
			timeToServiceMs: timeToServiceMs === null ? null : Math.round(timeToServiceMs),
			started,
		})),
	);

/**
 * Takes in what the catalogue does not know: after its loss, or of other servers. A report that is damaged is left alone
 * and named in what this returns; whose key signed it plays no part here.
 */
export const importReports = (folder: string, catalog: Catalog): { imported: number; damaged: string[] } => {
	const known = catalog.reports.runs();
	const damaged: string[] = [];
	let imported = 0;
	for (const run of reportFiles(folder).json) {
		if (known.has(run)) continue;
		const file = join(folder, `${run}.json`);
		const bytes = readFileWhole(file);
		const { document } = decodeReport(bytes);
		if (document === undefined || document.report.id !== run) damaged.push(file);
		else {
			noteReport(catalog, document, file, sha256Of(bytes));
			imported++;
		}
	}
	return { imported, damaged };
};

const listed = (folder: string): string[] => {
	try {
		return readdirSync(folder).sort();
	} catch (error) {
		if ((error as { code?: string }).code === "ENOENT") return [];
		throw error;
	}
};
