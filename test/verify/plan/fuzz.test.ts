/** Plans with random mistakes: each is accepted, or refused in one line with its place; never anything else. */
import { readFileSync } from "node:fs";
import t from "tap";
import { parse as parseYaml } from "yaml";
import { explain, PlanError, parsePlan, planSchema } from "../../../src/verify/plan/index.js";
import { KINDS, ROLES } from "./kinds.js";
import { isValid } from "./tiny-validator.js";

const ROUNDS = process.env.SPRINGBACK_LONG ? 60_000 : 1_000;
const VMS = ["db1", "dc1", "web1", "web2", "tiny"];
const PIECES = [
	...[
		"~",
		"{}",
		"[]",
		"{",
		"}",
		"[",
		"]",
		":",
		"- ",
		"#",
		"&a ",
		"*a",
		"!!x ",
		"'",
		'"',
		"\t",
		"\u0000",
		"\u{1f600}",
		"|",
		">",
		"? ",
	],
	...[
		"5m",
		"1e9",
		"-1",
		"0x1f",
		"yes",
		"null",
		"after:",
		"tests:",
		"vms:",
		"<<: *a",
		"__proto__:",
		"constructor",
		"…",
		"---\n",
	],
];

/** xorshift32: the same every time */
const random = (seed: number) => () => {
	seed ^= seed << 13;
	seed ^= seed >>> 17;
	seed ^= seed << 5;
	return (seed >>> 0) / 2 ** 32;
};

t.test("random mistakes", async (t) => {
	const [, example] = /```yaml\n(version: 1[\s\S]*?)```/.exec(readFileSync("docs/verification.md", "utf8"))!;
	const good = example.replace(', text: "all good"', "");
	const schema = planSchema(KINDS, ROLES);
	const next = random(20261121);
	const upTo = (n: number) => Math.floor(next() * n);
	const words = good.match(/[\w*."]+/g)!;
	let accepted = 0;
	const places = new Set<string>();
	for (let n = 0; n < ROUNDS; n++) {
		let text = good;
		for (let changes = 1 + upTo(3); changes > 0; changes--) {
			const lines = text.split("\n");
			const at = upTo(text.length);
			const line = upTo(lines.length);
			const piece = next() < 0.5 ? PIECES[upTo(PIECES.length)] : words[upTo(words.length)];
			const kind = upTo(5);
			if (kind === 0) text = text.slice(0, at) + piece + text.slice(at);
			else if (kind === 1) text = text.slice(0, at) + text.slice(at + 1 + upTo(12));
			else if (kind === 2) text = lines.toSpliced(line, 1).join("\n");
			else if (kind === 3) text = lines.toSpliced(upTo(lines.length), 0, lines[line]).join("\n");
			else text = text.replace(words[upTo(words.length)], piece);
		}
		try {
			const plan = parsePlan(text, { path: "p.yaml", kinds: KINDS, roles: ROLES, vms: VMS });
			accepted++;
			if (explain(plan) === "" || !isValid(schema, parseYaml(text))) t.fail(`the schema refuses: ${text}`);
		} catch (error) {
			const { message } = error as Error;
			const place = /^p\.yaml:(\d+):(\d+): [^\n]+$/.exec(message);
			if (!(error instanceof PlanError) || place === null) throw new Error(`${message} of:\n${text}`, { cause: error });
			if (Number(place[1]) > text.split("\n").length) t.fail(`${message} is not in:\n${text}`);
			places.add(place[1]);
		}
	}
	t.ok(accepted > ROUNDS / 50 && accepted < ROUNDS / 2, `${accepted} of ${ROUNDS} were still good`);
	t.ok(places.size > 30, `mistakes were found in ${places.size} lines`);
});
