/** Writes docs/verification-plan.schema.json anew: `node build/scripts/plan-schema/main.js`. A test tells when it is old. */
import { writeFileSync } from "node:fs";
import { SCHEMA_FILE, schemaText } from "./schema.js";

writeFileSync(SCHEMA_FILE, schemaText());
