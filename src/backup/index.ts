/** What the rooms above use of backup/. */
export { type BackupOptions, type BackupReport, backup } from "./backup.js";
export { POINT_FILES, type ReadConfig, readConfig } from "./config-file.js";
export { type CopyOptions, type CopyTarget, copyImage } from "./copy.js";
export { type CopyPointOptions, type CopyPointReport, copyPoint } from "./copy-point.js";
export { SourceError } from "./errors.js";
export { type ExportOptions, type ExportReport, exportDisk, findDisk } from "./export.js";
export { type HostBackupOptions, type HostBackupReport, hostBackup } from "./host-backup.js";
export { CONSISTENCIES, type MinimumConsistency } from "./host-consistency.js";
export { type HostFacts, hostFactsOf, lastPointOf } from "./host-facts.js";
export { type OpenSource, openSource } from "./open-source.js";
export { findQemu } from "./qemu.js";
export {
	type BackedUpSession,
	backupSession,
	lastPointOfSession,
	type SessionBackupOptions,
	type SessionBackupReport,
	sessionFactsOf,
} from "./session-backup.js";
export { backupSeveral, type SeveralOptions, type VmOutcome } from "./several.js";
export { type FileFormat, parseSources, type SourceSpec } from "./source-spec.js";
export { type ListedVm, readVmList } from "./vm-list.js";
