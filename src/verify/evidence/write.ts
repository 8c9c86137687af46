/** Writes a report: signed, chained to the one before it, as JSON and as a page, durably, and notes it in the catalogue. */
import { join } from "node:path";
import { readFileWhole, replaceFileDurably } from "../../../native/durable-file.js";
import { type Catalog, withLock } from "../../catalog/index.js";
import type { RunReport } from "../model.js";
import { type Chain, decodeReport, encodeReport, sha256Of, signReport } from "./document.js";
import { importReports, makeFolder, noteReport, reportFiles } from "./folder.js";
import type { History } from "./html/page.js";
import { encodePage } from "./html/seal.js";
import type { Signer } from "./signer.js";

export interface Written {
	json: string;
	html: string;
	/** hex, of the JSON file */
	sha256: string;
	chain: Chain;
	/** files in the folder that are no sound reports */
	damaged: string[];
}

/** runs that a plot shows */
const TREND_RUNS = 50;

/** Durable when it resolves. A crash leaves both files, the JSON file alone, or nothing. */
export const writeReport = (report: RunReport, folder: string, signer: Signer, catalog: Catalog): Promise<Written> =>
	// One at a time: two reports of one key must not both come after the same one.
	withLock(signer.lock, () => {
		makeFolder(folder);
		// A crash may have come between the file and its note; and a lost catalogue knows of none.
		const { damaged } = importReports(folder, catalog);
		const last = catalog.reports.head(report.repository.id, signer.fingerprint);
		const chain: Chain = {
			sequence: (last?.sequence ?? 0) + 1,
			previous: last === undefined ? null : { run: last.run, sha256: last.sha256 },
		};
		const signed = signReport(report, chain, signer);
		const bytes = encodeReport(signed);
		const sha256 = sha256Of(bytes);
		const json = join(folder, `${report.id}.json`);
		const html = join(folder, `${report.id}.html`);
		replaceFileDurably(json, bytes);
		noteReport(catalog, signed, json, sha256);
		replaceFileDurably(html, encodePage(signed, historyOf(report, catalog), signer));
		completePages(folder, signer, catalog);
		return { json, html, sha256, chain, damaged };
	});

/** A crash may have come between the two files of a report. */
const completePages = (folder: string, signer: Signer, catalog: Catalog): void => {
	const { json, html } = reportFiles(folder);
	const done = new Set(html);
	for (const run of json) {
		if (done.has(run)) continue;
		const { document } = decodeReport(readFileWhole(join(folder, `${run}.json`)));
		if (document?.report.id !== run || document.key.fingerprint !== signer.fingerprint) continue;
		replaceFileDurably(join(folder, `${run}.html`), encodePage(document, historyOf(document.report, catalog), signer));
	}
};

/** Of each VM, with this run: one that was verified at several points in it appears once for each. */
const historyOf = (report: RunReport, catalog: Catalog): History =>
	new Map(
		report.vms.map(({ vm }) => [vm, catalog.reports.trend(report.repository.id, vm, TREND_RUNS, report.started)]),
	);
