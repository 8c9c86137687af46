/** Plans with the kinds and roles there are: the schema's file, the documentation, plans to begin with. */
import { readFileSync } from "node:fs";
import t from "tap";
import { parse as parseYaml } from "yaml";
import { SCHEMA_FILE, schemaText } from "../../../scripts/plan-schema/schema.js";
import { initialPlan, parsePlan } from "../../../src/verify/plan/index.js";
import { KINDS, ROLES, type TestKind } from "../../../src/verify/tests/index.js";
import { isValid } from "./tiny-validator.js";

const parse = (text: string, vms: string[]) =>
	parsePlan(text, { path: "nightly.yaml", kinds: KINDS, roles: ROLES, vms });
const schema = JSON.parse(readFileSync(SCHEMA_FILE, "utf8"));

t.test("docs/verification-plan.schema.json is of now", async (t) => {
	t.equal(readFileSync(SCHEMA_FILE, "utf8"), schemaText(), "run node build/scripts/plan-schema/main.js");
});

t.test("the complete example of the documentation is accepted, and means what it says", async (t) => {
	const [, text] = /```yaml\n(version: 1[\s\S]*?)```/.exec(readFileSync("docs/verification.md", "utf8"))!;
	const plan = parse(text, ["db1", "dc1", "web1", "web2", "tiny"]);
	t.ok(isValid(schema, parseYaml(text)));
	t.strictSame(
		plan.groups.map(({ name, vms }) => [name, vms.map(({ vm, after }) => [vm, ...after])]),
		[
			["shop", [["dc1"], ["db1", "dc1"], ["web1", "db1", "dc1"], ["web2", "db1", "dc1"]]],
			["tiny", [["tiny"]]],
		],
	);
	t.match(plan.groups[0].vms[3].tests.at(-1), { name: "the shop answers", retries: 10, retryMs: 5_000 });
	const [, tests] = /```yaml\n(tests:[\s\S]*?)```/.exec(readFileSync("docs/verification.md", "utf8"))!;
	const indented = tests.replaceAll(/^/gm, "    ");
	t.equal(parse(`version: 1\nvms:\n  db1:\n${indented}`, ["db1"]).groups[0].vms[0].tests.length, 3);
});

t.test("every kind and every role can be written, and a plan to begin with is good", async (t) => {
	const names = Object.keys(ROLES).map((role) => `${role}-1`);
	const roles = names.map((name) => `  ${name}: {role: ${name.slice(0, -2)}}\n`).join("");
	const plan = parse(`version: 1\nvms:\n${roles}`, names);
	t.ok(isValid(schema, parseYaml(`version: 1\nvms:\n${roles}`)));
	for (const { vms } of plan.groups) t.ok(vms[0].tests.length > 0 && vms[0].timeoutMs > 0, vms[0].vm);
	const text = initialPlan(
		[...names, "x"].map((name) => ({ name })),
		{ kinds: KINDS, roles: ROLES },
	);
	t.ok(isValid(schema, parseYaml(text)));
	t.strictSame(
		parse(text, [...names, "x"]).groups.map(({ vms }) => vms[0].role),
		[...Object.keys(ROLES), null],
		"roles guessed from names",
	);
	for (const kind of KINDS) {
		const { required = [] } = kind.schema as { required?: string[] };
		if (required.length > 0 || !takesNothing(kind)) continue;
		const one = `version: 1\nvms:\n  x:\n    tests: [${kind.kind}, {${kind.kind}: , name: other}]\n`;
		t.equal(parse(one, ["x"]).groups[0].vms[0].tests[1].name, "other", kind.kind);
		t.ok(isValid(schema, parseYaml(one)));
	}
});

const takesNothing = ({ options }: TestKind): boolean => {
	try {
		options({});
		return true;
	} catch {
		return false;
	}
};
