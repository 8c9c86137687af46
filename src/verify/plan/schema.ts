/** The JSON schema of plans (draft 2020-12): for editors, and for programs that write plans. */
import type { TestKind } from "../tests/contract.js";
import { definitionsOf, planShape, type Roles } from "./description.js";

/**
 * What the parser refuses and a schema cannot: VMs that are not there or in the plan twice, cycles, two tests of one
 * name, addresses outside their network, options that contradict each other.
 */
export const planSchema = (kinds: readonly TestKind[], roles: Roles): Record<string, unknown> => ({
	$schema: "https://json-schema.org/draft/2020-12/schema",
	title: "Verification plan of springback, version 1",
	...planShape(kinds, roles).schema,
	$defs: definitionsOf(kinds),
});
