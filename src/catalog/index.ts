/** What the rooms above use of catalog/. */
export { Catalog, type DocumentNote } from "./catalog.js";
export { findHost, type Host, putHost, readHosts, removeHost } from "./documents.js";
export { CatalogError } from "./errors.js";
export { withLock } from "./file-lock.js";
export { type CatalogPaths, catalogPaths } from "./paths.js";
export type { ReportNote, TrendEntry, VerificationNote } from "./reports.js";
export { type RestoreResult, restoreSettings, settingsOf } from "./restore-settings.js";
export { type Run, type RunResult, whoStarts } from "./runs.js";
export { noteChanges, saveSettings } from "./settings.js";
