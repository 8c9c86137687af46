/** The JSON schema of plans says the same as the parser. */
import t from "tap";
import { parse as parseYaml } from "yaml";
import { initialPlan, parsePlan, planSchema } from "../../../src/verify/plan/index.js";
import { KINDS, ROLES, VMS } from "./kinds.js";
import { isValid } from "./tiny-validator.js";

const schema = planSchema(KINDS, ROLES);
const accepts = (text: string): boolean => {
	try {
		parsePlan(text, { path: "plan.yaml", kinds: KINDS, roles: ROLES, vms: VMS });
		return true;
	} catch {
		return false;
	}
};
const head = "version: 1\nvms:\n";
/** Pieces that stand for a VM, and whether they are good: none depends on what a schema cannot know. */
const SETTINGS: readonly [text: string, good: boolean][] = [
	["", true],
	["role: web", true],
	["role: wen", false],
	["points: new", true],
	["points: latest", true],
	["points: last", false],
	["points: {random: 3}", true],
	["points: {random: 3, days: 30}", true],
	["points: {random: 0}", false],
	["points: {days: 30}", false],
	["points: {named: 9a41}", true],
	["points: {named: 9941}", true],
	["points: {named: a, random: 1}", false],
	["points: {named: a, random: 1, days: 2}", false],
	["points: {named: a, days: 2}", false],
	["memory: 2g", true],
	["memory: 2 GiB", false],
	["memory: 2048", false],
	["cpus: 2", true],
	["cpus: 2.5", false],
	["cpus: '2'", false],
	["timeout: 1.5h", true],
	["timeout: 90", false],
	["timeout: soon", false],
	["stabilise: auto", true],
	["stabilise: console", false],
	["stabilise: {by: console, quiet: 10s}", true],
	["stabilise: {by: console}", false],
	["stabilise: {by: console, quiet: 10s, match: a}", false],
	["stabilise: {by: output, match: 'login:', timeout: 5m}", true],
	["stabilise: {by: time, wait: 1m}", true],
	["stabilise: {quiet: 1m}", false],
	["stabilise: [agent]", false],
	["tests: [boot, agent]", true],
	["tests: []", true],
	["tests: [tcp]", false],
	["tests: [tcp: 22]", true],
	["tests: [tcp: 0]", false],
	["tests: [tcp: {port: 22, expect: SSH}]", true],
	["tests: [tcp: {port: 22, exepct: SSH}]", false],
	["tests: [tcp: ]", false],
	["tests: [boot: ]", true],
	["tests: [boot: 5s]", true],
	["tests: [boot: 5]", false],
	["tests: [boot: {quiet: 5s, expect: login}]", true],
	["tests: [{tcp: 22, name: ssh, timeout: 3s, retries: 0, pause: 1s, optional: false}]", true],
	["tests: [{tcp: 22, retry: 1}]", false],
	["tests: [{tcp: 22, retries: -1}]", false],
	["tests: [{tcp: 22, optional: yes}]", false],
	["tests: [{tcp: 22, boot: }]", false],
	["tests: [{name: none}]", false],
	["tests: [http: {method: GET, header: {server: nginx}, names: [a, b], tls: true}]", true],
	["tests: [http: {method: PUT}]", false],
	["tests: [http: {header: {server: 1}}]", false],
	["tests: [http: {names: [a, b, c]}]", false],
	["tests: [sql: {engine: mysql, user: check}]", true],
	["tests: [sql: {engine: mysql}]", false],
	["tests: [sql: mysql]", false],
	["tests: {tcp: 22}", false],
	["addresses: {'52:54:00:12:34:56': 10.0.0.2}", true],
	["addresses: {'525400123456': 10.0.0.2}", false],
	["addresses: {'52:54:00:12:34:56': ten}", false],
	["after: [web1]", false],
	["colour: red", false],
];
const PLANS: readonly [text: string, good: boolean][] = [
	...SETTINGS.map(([text, good]): [string, boolean] => [`${head}  db1: {${text}}\n`, good]),
	["version: 1\nvms: [db1, 'web*']", true],
	["version: 1\nvms: db1", false],
	["version: 1\nvms: []", false],
	["version: 1\nvms: {}", false],
	["version: 1", false],
	["vms: [db1]", false],
	["version: 2\nvms: [db1]", false],
	["version: 1\nvms: [db1]\nname: a b", false],
	[
		"version: 1\nvms: [db1]\nhost: kvm1\nonFailure: stop\nlimits: {parallel: 2, cpus: 4, memory: 4g, timeout: 1h}",
		true,
	],
	["version: 1\nvms: [db1]\nlimits: {parallel: 0}", false],
	["version: 1\nvms: [db1]\nonFailure: halt", false],
	["version: 1\nvms: [db1]\nwebhook: https://example.com/", true],
	["version: 1\nvms: [db1]\nwebhook: {url: 'http://example.com/', secret: {file: /etc/secret}}", true],
	["version: 1\nvms: [db1]\nwebhook: {url: 'http://example.com/', secret: hunter2}", false],
	["version: 1\nvms: [db1]\nwebhook: example.com", false],
	["version: 1\nvms: [db1]\ndefaults: {points: new, timeout: 5m}", true],
	["version: 1\nvms: [db1]\ndefaults: {tests: [boot]}", false],
	["version: 1\ngroups: {shop: {vms: {db1: , web1: {after: [db1]}}}}", true],
	["version: 1\ngroups: {shop: {vms: [db1, web1]}}\nvms: [mail]", true],
	["version: 1\ngroups: {shop: {vms: {db1: {after: []}}}}", false],
	["version: 1\ngroups: {shop: {networks: {lan: {gateway: 10.0.0.1/24}, '': }, vms: [db1]}}", true],
	["version: 1\ngroups: {shop: {networks: {lan: {gateway: 10.0.0.1}}, vms: [db1]}}", false],
	["version: 1\ngroups: {shop: {}}", false],
	["version: 1\ngroups: {'my shop': {vms: [db1]}}", false],
	["[]", false],
	["42", false],
];

t.test("plans that the schema accepts and those that the parser accepts are the same", async (t) => {
	for (const [text, good] of PLANS)
		t.strictSame([isValid(schema, parseYaml(text)), accepts(text)], [good, good], text.replaceAll("\n", "⏎"));
	const initial = initialPlan([{ name: "db1" }, { name: "web1" }], { kinds: KINDS, roles: ROLES });
	t.ok(isValid(schema, parseYaml(initial)) && accepts(initial), "and a plan to begin with");
});
