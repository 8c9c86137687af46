/** Whether reports are as they were signed, by whom, and whether one is missing. */
import { basename, join } from "node:path";
import { readFileWhole } from "../../../native/durable-file.js";
import type { ReportNote } from "../../catalog/index.js";
import { decodeReport, type SignedReport, sha256Of } from "./document.js";
import { EvidenceError } from "./errors.js";
import { reportFiles } from "./folder.js";
import { decodePage } from "./html/seal.js";

/** Fingerprints of keys that are trusted, and whose they are. */
export type KnownKeys = ReadonlyMap<string, "own" | "given">;

export interface Verdict {
	file: string;
	form: "json" | "html";
	/** nothing is wrong */
	ok: boolean;
	/** one sentence each */
	faults: string[];
	/** null: not even that can be told */
	key: { fingerprint: string; known: "own" | "given" | "no" } | null;
	/** of a report that is whole */
	document: SignedReport | undefined;
	/** hex SHA-256 of the file */
	sha256: string;
}

/** Every byte of a file, `.json` or `.html`. Throws what reading it throws. */
export const verifyReport = (file: string, keys: KnownKeys): Verdict => {
	const bytes = readFileWhole(file);
	const form = isPage(file, bytes) ? "html" : "json";
	const { document, faults } = decoded(form === "html" ? decodePage : decodeReport, bytes);
	const sha256 = sha256Of(bytes);
	if (document === undefined) return { file, form, ok: false, faults, key: null, document, sha256 };
	const { fingerprint } = document.key;
	const known = keys.get(fingerprint) ?? "no";
	const all = [...faults];
	if (known === "no")
		all.push(
			`signed by a key that is not known here (${fingerprint}): give it with --key if it is the one you were told of`,
		);
	const named = /^([0-9a-f]{32})\.(json|html)$/.exec(basename(file));
	if (named !== null && named[1] !== document.report.id)
		all.push(`it is the report of run ${document.report.id}, under another name`);
	return { file, form, ok: all.length === 0, faults: all, key: { fingerprint, known }, document, sha256 };
};

const decoded = (decode: typeof decodeReport, bytes: Buffer): ReturnType<typeof decodeReport> => {
	try {
		return decode(bytes);
	} catch {
		// Nested deeper than any report, or with members of other types.
		return { document: undefined, faults: ["it is no report"] };
	}
};

export interface FolderVerdict {
	reports: Verdict[];
	/** reports that are gone, or were never there: one sentence each */
	missing: string[];
	/** reports without a page: nothing is lost, the JSON file has it all */
	withoutPage: string[];
}

/**
 * All reports of a folder, and the chains of their keys. `notes`: what the catalogue knows of them; it also tells that the
 * newest are gone, which a chain cannot.
 */
export const verifyFolder = (folder: string, keys: KnownKeys, notes: readonly ReportNote[] = []): FolderVerdict => {
	const { json, html } = reportFiles(folder);
	const reports = [
		...json.map((run) => verifyReport(join(folder, `${run}.json`), keys)),
		...html.map((run) => verifyReport(join(folder, `${run}.html`), keys)),
	];
	const present = new Set(json);
	const missing = new Map<string, string>();
	for (const { run, file, started } of notes)
		if (!present.has(run)) missing.set(run, `run ${run} of ${started} is gone: there was ${file}`);
	for (const run of html)
		if (!present.has(run) && !missing.has(run)) missing.set(run, `run ${run} has a page, but its JSON file is gone`);
	for (const { run, what } of brokenLinks(reports)) if (!missing.has(run)) missing.set(run, what);
	for (const verdict of reports) {
		const note = notes.find(({ run }) => verdict.form === "json" && verdict.document?.report.id === run);
		if (note !== undefined && note.sha256 !== verdict.sha256) {
			verdict.ok = false;
			verdict.faults.push("it was signed again: the catalogue knows another file of this run");
		}
	}
	return { reports, missing: [...missing.values()], withoutPage: json.filter((run) => !html.includes(run)) };
};

/** Reports that others come after, and that are not there or not the same. */
const brokenLinks = (reports: readonly Verdict[]): { run: string; what: string }[] => {
	const whole = reports.filter(({ form, document }) => form === "json" && document !== undefined);
	return whole.flatMap(({ document }) => {
		const { chain, report, key } = document!;
		const before = chain.previous;
		if (before === null)
			return chain.sequence === 1 ? [] : [{ run: report.id, what: `run ${report.id} names no report before it` }];
		const found = whole.find((other) => other.document!.report.id === before.run);
		if (found === undefined) {
			// A damaged one is named as such already.
			const damaged = reports.some(({ file, document }) => document === undefined && file.includes(before.run));
			return damaged ? [] : [{ run: before.run, what: `run ${before.run} is gone: ${report.id} comes after it` }];
		}
		const same =
			found.sha256 === before.sha256 &&
			found.document!.chain.sequence === chain.sequence - 1 &&
			found.document!.key.fingerprint === key.fingerprint;
		return same ? [] : [{ run: report.id, what: `run ${before.run} is not the report that ${report.id} came after` }];
	});
};

/** A report that is shown: whole, whoever signed it. Throws EvidenceError DAMAGED. */
export const readReport = (file: string, bytes: Buffer): SignedReport => {
	const { document, faults } = decoded(isPage(file, bytes) ? decodePage : decodeReport, bytes);
	if (document === undefined) throw new EvidenceError("DAMAGED", `${file} is no sound report: ${faults[0]}`);
	return document;
};

const isPage = (file: string, bytes: Buffer): boolean =>
	file.endsWith(".html") || /^\s*</.test(bytes.toString("latin1", 0, 64));
