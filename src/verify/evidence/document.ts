/**
 * A signed report as a file: canonical JSON with a line feed. Members, in their order: `chain`, `format`, `key`, `report`,
 * `signature`. What is signed is the file without `,"signature":"…"` and the line feed, so it can be verified with
 * openssl alone (docs/verification.md).
 */
import { createHash } from "node:crypto";
import type { RunReport } from "../model.js";
import { canonical } from "./canonical.js";
import { isChain, isRunReport } from "./shape.js";
import { fingerprintOf, isSignature, type Signer } from "./signer.js";

export const FORMAT = "springback-report/1";

/** Place of a report among those of its key for one repository. */
export interface Chain {
	/** from 1 */
	sequence: number;
	/** the one before it: its run, and hex SHA-256 of its JSON file; null: it is the first */
	previous: { run: string; sha256: string } | null;
}

export interface SignedReport {
	format: typeof FORMAT;
	chain: Chain;
	key: {
		algorithm: "Ed25519";
		/** base64 of SubjectPublicKeyInfo (DER) */
		public: string;
		/** hex SHA-256 of it */
		fingerprint: string;
	};
	report: RunReport;
	/** base64 */
	signature: string;
}

export const signReport = (report: RunReport, chain: Chain, signer: Signer): SignedReport => {
	const unsigned = {
		format: FORMAT,
		chain,
		key: { algorithm: "Ed25519", public: signer.publicKey, fingerprint: signer.fingerprint },
		report,
	} as const;
	return { ...unsigned, signature: signer.sign(Buffer.from(canonical(unsigned))) };
};

/** The bytes of the file. */
export const encodeReport = (signed: SignedReport): Buffer => Buffer.from(`${canonical(signed)}\n`);

export const sha256Of = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

/** What is wrong with a document: empty when its signature covers all of it. Whose key it is, is another question. */
export const faultsOfDocument = (document: unknown): string[] => {
	const { format, key, report, chain, signature } = (document ?? {}) as Partial<SignedReport>;
	if (format !== FORMAT) return ["it is no report of this version of springback"];
	if (typeof key?.public !== "string" || typeof signature !== "string" || !isChain(chain) || !isRunReport(report))
		return ["parts of it are missing, or not what they should be"];
	if (key.fingerprint !== fingerprintOf(key.public)) return ["the fingerprint is not that of the key in it"];
	const { signature: _, ...unsigned } = document as SignedReport;
	if (!isSignature(key.public, Buffer.from(canonical(unsigned)), signature))
		return ["the signature does not fit the content: it was changed after it was signed"];
	return [];
};

/** Parses a JSON file; `faults` is empty when every byte of it is as it was written. */
export const decodeReport = (bytes: Buffer): { document: SignedReport | undefined; faults: string[] } => {
	let document: SignedReport;
	try {
		document = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)) as SignedReport;
	} catch {
		return { document: undefined, faults: ["it is no whole JSON document: it was changed or cut off"] };
	}
	const faults = faultsOfDocument(document);
	if (faults.length > 0) return { document: undefined, faults };
	if (!encodeReport(document).equals(bytes))
		return { document: undefined, faults: ["its bytes are not as they were written, though its content is"] };
	return { document, faults: [] };
};
