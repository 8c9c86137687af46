/** The JSON schema of plans with all kinds of tests and roles there are, as its file has it. */
import { fileURLToPath } from "node:url";
import { planSchema } from "../../src/verify/plan/index.js";
import { KINDS, ROLES } from "../../src/verify/tests/index.js";

export const SCHEMA_FILE = fileURLToPath(new URL("../../../docs/verification-plan.schema.json", import.meta.url));

export const schemaText = (): string => `${JSON.stringify(planSchema(KINDS, ROLES), null, "\t")}\n`;
