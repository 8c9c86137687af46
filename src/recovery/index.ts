/** What the rooms above use of recovery/. */

export { configOf } from "./config-of.js";
export { RecoveryError } from "./errors.js";
export type { Finding } from "./findings.js";
export { type Finished, finishRecovery } from "./finish.js";
export type { Life } from "./life.js";
export { isVerified, migrate } from "./migrate.js";
export type { Plan, PlanRequest } from "./plan.js";
export { Records, type RecoveryRecord } from "./records.js";
export { type Recovered, recover } from "./recover.js";
export { restoreDisk, restoreVm } from "./restore.js";
export { connecting, filesOf } from "./steps.js";
export type {
	EndedSession,
	NamedHost,
	Published,
	PublishOptions,
	Serving,
	SessionEnd,
	SessionState,
	World,
} from "./world.js";
