/** What the rooms above use of evidence. */
export type { SignedReport } from "./document.js";
export { EvidenceError } from "./errors.js";
export { importReports, reportsFolder } from "./folder.js";
export { junit } from "./junit.js";
export { fingerprintOfFile, loadSigner, ownFingerprint, type Signer, signerPaths } from "./signer.js";
export { summaryText } from "./summary.js";
export { line } from "./text.js";
export { type FolderVerdict, type KnownKeys, readReport, type Verdict, verifyFolder, verifyReport } from "./verify.js";
export { type PostOptions, postResult } from "./webhook.js";
export { type Written, writeReport } from "./write.js";
