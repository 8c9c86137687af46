/** What the rooms above use of plans. */
export type { Role, Roles } from "./description.js";
export { explain, explanation } from "./explain.js";
export { type InventoryVm, initialPlan } from "./initial.js";
export { type PlanContext, parsePlan } from "./parse.js";
export { planSchema } from "./schema.js";
export { PlanError } from "./source.js";
