/** What others use of tests/. */
export * from "./contract.js";
export { KINDS, kindOf } from "./kinds.js";
export { ROLES, type Role } from "./roles.js";
export { runTest } from "./run.js";
