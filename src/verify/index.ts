/** What the rooms above use of verify/. */
export { cleanUpRuns } from "./clean-up.js";
export { VerifyError } from "./errors.js";
export * from "./model.js";
export { Notes } from "./notes.js";
export { verify } from "./run.js";
export type { Counts, LabServing, VerifyEvent, VerifyWorld } from "./world.js";
