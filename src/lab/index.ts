/** Labs: networks without a way out, for guests that are verified. */
export { cleanLabs } from "./clean.js";
export type { Endpoint, Lab, LabGuest, LabMode, LabNetwork, LabPort, LabRequest } from "./contract.js";
export { LabError } from "./errors.js";
export { openLab } from "./open.js";
export { missingPackages } from "./run.js";
