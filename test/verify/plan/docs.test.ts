/** The documentation's examples are plans. */
import { readFileSync } from "node:fs";
import t from "tap";
import { parsePlan } from "../../../src/verify/plan/index.js";
import { KINDS, ROLES } from "./kinds.js";

t.test("the complete example is accepted, and its numbers are what it says", async (t) => {
	const [, text] = /```yaml\n(version: 1[\s\S]*?)```/.exec(readFileSync("docs/verification.md", "utf8"))!;
	const kinds = KINDS.map((kind) => {
		if (kind.kind !== "http") return kind;
		const { properties, ...rest } = kind.schema as { properties: object };
		return { ...kind, schema: { ...rest, properties: { ...properties, text: { type: "string" } } } };
	});
	const plan = parsePlan(text, {
		path: "nightly.yaml",
		kinds,
		roles: ROLES,
		vms: ["db1", "dc1", "web1", "web2", "tiny"],
	});
	t.strictSame(
		plan.groups.map(({ name, vms }) => [name, vms.map(({ vm, after }) => [vm, ...after])]),
		[
			["shop", [["dc1"], ["db1", "dc1"], ["web1", "db1", "dc1"], ["web2", "db1", "dc1"]]],
			["tiny", [["tiny"]]],
		],
	);
	t.match(plan.groups[0].vms[3].tests.at(-1), { name: "the shop answers", retries: 10, retryMs: 5_000 });
});
