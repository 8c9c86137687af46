/** What the rooms above use of evidence. */
export type { SignedReport } from "./document.js";
export { EvidenceError } from "./errors.js";
export { importReports, reportsFolder } from "./folder.js";
export { fingerprintOfFile, loadSigner, ownFingerprint, type Signer, signerPaths } from "./signer.js";
export { type FolderVerdict, type KnownKeys, type Verdict, verifyFolder, verifyReport } from "./verify.js";
export { type Written, writeReport } from "./write.js";
