/** What the rooms above use of hypervisor/. */
export * from "./contract.js";
export { HypervisorError } from "./errors.js";
export { HOST_TYPES, openHost } from "./open.js";
