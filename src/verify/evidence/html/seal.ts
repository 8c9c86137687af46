/**
 * The page with what makes it verifiable alone: the signed report as a JSON block, and a seal over every byte of the page
 * (the signature of its SHA-256 with the seal's own content left out).
 */
import { canonical } from "../canonical.js";
import { faultsOfDocument, type SignedReport, sha256Of } from "../document.js";
import { isSignature, type Signer } from "../signer.js";
import { type History, page } from "./page.js";

const REPORT = '<script type="application/json" id="springback-report">';
const SEAL = '<script type="application/json" id="springback-page">';
const END = "</script>";
const TAIL = `${END}\n</body>\n</html>\n`;

/** What the seal signs: a page's hash can never be taken for a report. */
const sealed = (sha256: string): Buffer => Buffer.from(`springback-page/1\n${sha256}\n`);

/** The bytes of the HTML file. */
export const encodePage = (signed: SignedReport, history: History, signer: Signer): Buffer => {
	// "<" would end the block.
	const embedded = canonical(signed).replaceAll("<", "\\u003c");
	const start = `${page(signed, history)}${REPORT}${embedded}${END}\n${SEAL}`;
	const sha256 = sha256Of(Buffer.from(start + TAIL));
	const seal = canonical({ sha256, signature: signer.sign(sealed(sha256)) });
	return Buffer.from(`${start}${seal}${TAIL}`);
};

/** As `decodeReport`: `faults` is empty when every byte of the page is as it was written. */
export const decodePage = (bytes: Buffer): { document: SignedReport | undefined; faults: string[] } => {
	const at = bytes.lastIndexOf(SEAL);
	const from = at + SEAL.length;
	const to = bytes.length - Buffer.byteLength(TAIL);
	if (at < 0 || to < from || bytes.toString("latin1", to) !== TAIL)
		return { document: undefined, faults: ["its seal is missing: it was changed or cut off"] };
	const begin = bytes.lastIndexOf(REPORT, at);
	if (begin < 0) return { document: undefined, faults: ["the report in it is missing"] };
	let document: SignedReport;
	let seal: { sha256: string; signature: string };
	try {
		const text = new TextDecoder("utf-8", { fatal: true });
		const block = text.decode(bytes.subarray(begin + REPORT.length, at));
		document = JSON.parse(block.slice(0, block.lastIndexOf(END))) as SignedReport;
		seal = JSON.parse(text.decode(bytes.subarray(from, to)));
	} catch {
		return { document: undefined, faults: ["the report in it is no whole JSON document: it was changed"] };
	}
	const faults = faultsOfDocument(document);
	if (faults.length > 0) return { document: undefined, faults };
	const sha256 = sha256Of(Buffer.concat([bytes.subarray(0, from), bytes.subarray(to)]));
	const { signature } = seal;
	if (
		typeof signature !== "string" ||
		canonical({ sha256, signature }) !== bytes.toString("utf8", from, to) ||
		!isSignature(document.key.public, sealed(sha256), signature)
	)
		return {
			document: undefined,
			faults: ["the page is not as it was written: what it shows may not be what the report in it says"],
		};
	return { document, faults: [] };
};
