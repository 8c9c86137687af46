/** Whether reports are as they were signed, by whom, and whether one is missing. */
import { basename, join } from "node:path";
import { readFileWhole } from "../../../native/durable-file.js";
import type { ReportNote } from "../../catalog/index.js";
import { type Chain, decodeReport, type SignedReport, sha256Of } from "./document.js";
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
	run: string | null;
	chain: Chain | null;
	/** hex SHA-256 of the file */
	sha256: string;
}

/** Every byte of a file, `.json` or `.html`. Throws what reading it throws. */
export const verifyReport = (file: string, keys: KnownKeys): Verdict => {
	const bytes = readFileWhole(file);
	const form = isPage(file, bytes) ? "html" : "json";
	const { document, faults } = decoded(form === "html" ? decodePage : decodeReport, bytes);
	const sha256 = sha256Of(bytes);
	if (document === undefined) return { file, form, ok: false, faults, key: null, run: null, chain: null, sha256 };
	const { chain, report } = document;
	const { fingerprint } = document.key;
	const known = keys.get(fingerprint) ?? "no";
	const all = [...faults];
	if (known === "no")
		all.push(
			`signed by a key that is not known here (${fingerprint}): give it with --key if it is the one you were told of`,
		);
	const named = /^([0-9a-f]{32})\.(json|html)$/.exec(basename(file));
	if (named !== null && named[1] !== report.id) all.push(`it is the report of run ${report.id}, under another name`);
	return { file, form, ok: all.length === 0, faults: all, key: { fingerprint, known }, run: report.id, chain, sha256 };
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
		const note = notes.find(({ run }) => verdict.form === "json" && verdict.run === run);
		if (note !== undefined && note.sha256 !== verdict.sha256) {
			verdict.ok = false;
			verdict.faults.push("it was signed again: the catalogue knows another file of this run");
		}
	}
	return { reports, missing: [...missing.values()], withoutPage: json.filter((run) => !html.includes(run)) };
};

/** Reports that others come after, and that are not there or not the same. */
const brokenLinks = (reports: readonly Verdict[]): { run: string; what: string }[] => {
	const whole = new Map(
		reports.filter(({ form, run }) => form === "json" && run !== null).map((one) => [one.run!, one]),
	);
	return [...whole].flatMap(([run, { chain, key }]) => {
		const { sequence, previous } = chain!;
		if (previous === null) return sequence === 1 ? [] : [{ run, what: `run ${run} names no report before it` }];
		const found = whole.get(previous.run);
		if (found === undefined) {
			// A damaged one is named as such already.
			const damaged = reports.some((one) => one.run === null && one.file.endsWith(`${previous.run}.json`));
			return damaged ? [] : [{ run: previous.run, what: `run ${previous.run} is gone: ${run} comes after it` }];
		}
		const same =
			found.sha256 === previous.sha256 &&
			found.chain!.sequence === sequence - 1 &&
			found.key!.fingerprint === key!.fingerprint;
		return same ? [] : [{ run, what: `run ${previous.run} is not the report that ${run} came after` }];
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
