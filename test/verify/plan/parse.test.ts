/** Plans: what is understood, and what is said about everything else. */
import t from "tap";
import { explain, explanation, initialPlan, parsePlan } from "../../../src/verify/plan/index.js";
import { KINDS, ROLES, VMS } from "./kinds.js";

const machine = { cpus: 2, memoryMiB: 8192 };
const context = { path: "plans/nightly.yaml", kinds: KINDS, roles: ROLES, vms: VMS, machine };
const parse = (text: string, more: Partial<typeof context> = {}) => parsePlan(text, { ...context, ...more });
/** `version: 1` and one VM with these lines, which begin in line 4. */
const ofDb1 = (lines: string) => `version: 1\nvms:\n  db1:\n${lines}\n`;

t.test("everything a plan can say", async (t) => {
	const plan = parse(`
version: 1
name: shop-nightly
host: kvm1
limits: { parallel: 3, cpus: 6, memory: 12g, timeout: 2h }
onFailure: group
webhook: { url: "https://example.com/hook", secret: { file: /etc/springback/hook } }
defaults: { points: new, memory: 1g, stabilise: agent, timeout: 20m }
groups:
  shop:
    networks:
      lan: { gateway: 192.168.7.1/24, range: 192.168.7.100-192.168.7.200, names: { pay.example.com: 192.168.7.9 } }
      "":
    vms:
      web1: { after: [db1], role: web, points: { random: 2, days: 30 } }
      "web*": { after: ["db*", web1], cpus: 1, stabilise: { by: output, match: "login:", timeout: 90s } }
      db1:
        points: { named: 9a41c07e }
        stabilise: { by: console, quiet: 10s }
        addresses: { "52:54:00:AA:BB:CC": 192.168.7.21 }
        tests:
          - boot
          - tcp: 5432
          - tcp: { port: 22, expect: SSH }
            name: ssh speaks
            timeout: 3s
            retries: 7
            pause: 500ms
            optional: true
          - boot: { quiet: 2m }
            name: long silence
vms:
  dc1: { role: directory, stabilise: { by: time, wait: 60s } }
`);
	t.match(plan, {
		name: "shop-nightly",
		host: "kvm1",
		limits: { parallel: 3, cpus: 6, memoryMiB: 12 * 1024, timeoutMs: 7_200_000 },
		onFailure: "group",
		webhook: "https://example.com/hook",
		webhookSecretFile: "/etc/springback/hook",
	});
	t.strictSame(
		plan.groups.map(({ name, vms }) => [name, vms.map(({ vm, after }) => [vm, ...after])]),
		[
			["shop", [["db1"], ["web1", "db1"], ["web2", "db1", "web1"]]],
			["dc1", [["dc1"]]],
		],
	);
	t.strictSame(plan.groups[0].networks, [
		{
			name: "lan",
			gateway: "192.168.7.1/24",
			range: ["192.168.7.100", "192.168.7.200"],
			names: { "pay.example.com": "192.168.7.9" },
		},
		{ name: "" },
	]);
	const [db1, web1, web2] = plan.groups[0].vms;
	t.match(db1, { points: { which: "named", point: "9a41c07e" }, stabilise: { by: "console", quietMs: 10_000 } });
	t.match(db1, {
		memoryMiB: 1024,
		cpus: null,
		timeoutMs: 20 * 60_000,
		addresses: { "52:54:00:aa:bb:cc": "192.168.7.21" },
	});
	t.strictSame(db1.tests, [
		{ kind: "boot", name: "boot", timeoutMs: 10_000, retries: 2, retryMs: 5_000, optional: false, options: {} },
		{
			kind: "tcp",
			name: "tcp 5432",
			timeoutMs: 10_000,
			retries: 2,
			retryMs: 5_000,
			optional: false,
			options: { port: 5432 },
		},
		{
			kind: "tcp",
			name: "ssh speaks",
			timeoutMs: 3_000,
			retries: 7,
			retryMs: 500,
			optional: true,
			options: { port: 22, expect: "SSH" },
		},
		{
			kind: "boot",
			name: "long silence",
			timeoutMs: 10_000,
			retries: 2,
			retryMs: 5_000,
			optional: false,
			options: { quietMs: 120_000 },
		},
	]);
	t.match(web1, { role: "web", points: { which: "random", count: 2, days: 30 }, timeoutMs: 15 * 60_000 });
	t.strictSame(
		web1.tests.map(({ name, options }) => [name, options]),
		[
			["boot", {}],
			["http 80", { port: 80, path: "/" }],
		],
	);
	t.match(web2, { cpus: 1, stabilise: { by: "output", match: "login:", timeoutMs: 90_000 } });
	t.match(plan.groups[1].vms[0], { timeoutMs: 30 * 60_000, stabilise: { by: "time", waitMs: 60_000 } });
});

t.test("defaults, and VMs that stand alone", async (t) => {
	const plan = parse("version: 1\nvms: [db1, 'web*', 'weird*name']\n");
	t.match(plan, {
		name: "nightly",
		host: null,
		onFailure: "continue",
		webhook: null,
		limits: { parallel: 4, cpus: 8, memoryMiB: 6144, timeoutMs: 6 * 3_600_000 },
	});
	t.strictSame(
		plan.groups.map(({ name, vms }) => [name, ...vms.map(({ vm }) => vm)]),
		["db1", "web1", "web2", "weird*name"].map((name) => [name, name]),
		"a name with a star in it is a name",
	);
	t.match(plan.groups[0].vms[0], {
		points: { which: "latest" },
		stabilise: { by: "auto", timeoutMs: 600_000 },
		timeoutMs: 1_800_000,
		tests: [],
		memoryMiB: null,
	});
	t.strictSame(
		parse("version: 1\ngroups: {all: {vms: ['*', dc1]}}").groups[0].vms.map(({ vm }) => vm),
		["db1", "mail", "web1", "web2", "weird*name", "dc1"],
		"what is named is not what a pattern takes",
	);
	t.equal(parse("version: 1\ngroups: {db1: {vms: [mail]}}\nvms: [db1]").groups[1].name, "db1-2");
});

t.test("a directory comes first, but after what it needs", async (t) => {
	const plan = parse(`version: 1
groups:
  all:
    vms:
      web1: { after: [mail] }
      mail:
      dc1: { role: directory, after: [db1] }
      db1:
`);
	t.strictSame(
		plan.groups[0].vms.map(({ vm, after }) => [vm, after]),
		[
			["db1", []],
			["dc1", ["db1"]],
			["mail", ["dc1"]],
			["web1", ["mail", "dc1"]],
		],
	);
});

t.test("a VM's own test replaces the role's of the same name; aliases are resolved", async (t) => {
	const { vms } = parse(`version: 1
groups:
  a:
    vms:
      web1: &web { role: web, tests: [{ boot: { expect: login }, name: boot, optional: true }] }
      web2: *web
`).groups[0];
	for (const { tests } of vms)
		t.match(
			tests.map(({ name, optional, options }) => ({ name, optional, options })),
			[{ name: "http 80" }, { name: "boot", optional: true, options: { expect: "login" } }],
		);
});

t.test("every fault is one line with its place and what would be right", async (t) => {
	for (const [text, message] of [
		["", /^plans\/nightly\.yaml:1:1: nothing is written here: it must be a plan$/],
		["hello", /:1:1: "hello" is not a plan$/],
		["version: 2\nvms: [db1]", /:1:10: version: 2 is not 1$/],
		["vms: [db1]", /:1:1: "version" is missing: it is 1/],
		["version: 1", /:1:1: "groups" or "vms" is missing/],
		["version: 1\nvms: [", /:2:7: /],
		["version: 1\nversion: 1\n", /:2:1: Map keys must be unique$/],
		["version: 1\n---\nversion: 1", /:2:1: Source contains multiple documents/],
		["version: !!js 1\nvms: [db1]", /:1:10: Unresolved tag/],
		["version: 1\nvmz: [db1]", /:2:1: "vmz" means nothing here: did you mean "vms"\?$/],
		["version: 1\non-failure: stop\nvms: [db1]", /:2:1: "on-failure" means nothing here: did you mean "onFailure"\?$/],
		["version: 1\nonFailure: halt\nvms: [db1]", /:2:12: onFailure: "halt" is not one of continue, group, stop$/],
		["version: 1\nvms: [dbl]", /:2:7: vms\[1\]: there is no VM "dbl" with a restore point: did you mean "db1"\?$/],
		["version: 1\nvms: [db1, db1]", /:2:12: vms\[2\]: "db1" is in this plan twice: a VM belongs to one group$/],
		["version: 1\nvms: ['x*']", /:2:7: vms\[1\]: no VM matches "x\*": there is db1, dc1/],
		["version: 1\nvms: [db1, 'db*']", /:2:12: vms\[2\]: every VM that "db\*" matches is in this plan already$/],
		["version: 1\nvms: []", /:2:6: vms: is empty: it must be a list of names or patterns$/],
		["version: 1\nvms: {}", /:2:6: vms: is empty/],
		["version: 1\nvms:", /:2:5: vms: nothing is written here/],
		[ofDb1("    timeout: 90"), /:4:14: vms\.db1\.timeout: 90 is not a duration: write 500ms, 90s, 5m, 2h or 1d$/],
		[ofDb1("    timeout: 90 s"), /:4:14: vms\.db1\.timeout: "90 s" is not a duration/],
		[ofDb1("    memory: 512"), /:4:13: vms\.db1\.memory: 512 is not an amount of memory: write 512m or 2g$/],
		[ofDb1("    cpus: 0"), /:4:11: vms\.db1\.cpus: 0 is not a whole number from 1 to 256$/],
		[ofDb1("    role: wen"), /:4:11: vms\.db1\.role: "wen" is not one of web, database, directory$/],
		[ofDb1("    points: newest"), /:4:13: vms\.db1\.points: "newest" is not one of latest, new$/],
		[ofDb1("    points: {random: 2, named: a}"), /:4:13: vms\.db1\.points: give either "random"/],
		[ofDb1("    points: {named: a, days: 3}"), /:4:13: vms\.db1\.points: "days" goes with "random" only$/],
		[
			ofDb1("    stabilise: {by: agnet}"),
			/:4:21: vms\.db1\.stabilise\.by: "agnet" means nothing here: did you mean "agent"\?$/,
		],
		[ofDb1("    stabilise: {by: console}"), /:4:16: vms\.db1\.stabilise: "quiet" is missing: it is a duration/],
		[ofDb1("    stabilise: {by: agent, quiet: 5s}"), /:4:28: vms\.db1\.stabilise: "quiet" means nothing here/],
		[ofDb1("    stabilise: {by: output, match: '('}"), /:4:16: vms\.db1\.stabilise: "\(" is not a regular expression$/],
		[ofDb1("    addresses: {'52:54': 10.0.0.1}"), /:4:17: vms\.db1\.addresses: "52:54" is not a MAC address/],
		[ofDb1("    addresses: {'52:54:00:00:00:01': 10.0.0.300}"), /:4:38: .*"10\.0\.0\.300" is not an IP address$/],
		[
			ofDb1("    after: [web1]"),
			/:4:5: vms\.db1: "after" means nothing here: it is for VMs that share a lab, under "groups"$/,
		],
		[ofDb1("    tests: tcp"), /:4:12: vms\.db1\.tests: "tcp" is not a list of tests$/],
		[ofDb1("    tests: [tcp]"), /:4:13: vms\.db1\.tests\[1\]: "tcp" needs "port": write tcp: NUMBER$/],
		[ofDb1("    tests: [tpc: 22]"), /:4:13: .*"tpc" is neither a test nor a setting of one: did you mean "tcp"\?$/],
		[ofDb1("    tests: [pong]"), /:4:13: .*there is no test "pong": there is boot, agent, tcp, http, sql$/],
		[ofDb1("    tests: [tcp: 99999]"), /:4:18: .*\.tcp: 99999 is not a whole number from 1 to 65535 \(port\)$/],
		[ofDb1("    tests: [tcp: ]"), /:4:18: .*\.tcp: "port" is missing: write tcp: NUMBER$/],
		[ofDb1("    tests: [tcp: {prot: 5}]"), /:4:19: .*\.tcp: "prot" means nothing here: did you mean "port"\?$/],
		[ofDb1("    tests: [tcp: {expect: a}]"), /:4:18: .*\.tcp: "port" is missing: it is a whole number/],
		[ofDb1("    tests: [{tcp: 1, boot: }]"), /:4:22: .*one test, not two: begin "boot" with a dash of its own$/],
		[ofDb1("    tests: [{name: x}]"), /:4:13: .*no test is named/],
		[ofDb1("    tests: [sql: postgresql]"), /:4:18: .*"postgresql" is not a mapping of options$/],
		[ofDb1("    tests: [sql: {engine: db2, user: a}]"), /:4:27: .*"db2" is not one of postgresql, mysql$/],
		[ofDb1("    tests: [http: {path: health}]"), /:4:19: .*\.http: path must begin with "\/"$/],
		[ofDb1("    tests: [http: {names: [a, b, c]}]"), /:4:27: .*\.names: has 3 items: at most 2 are allowed$/],
		[ofDb1("    tests: [http: {header: {a: 1}}]"), /:4:32: .*header\.a: 1 is not text$/],
		[ofDb1("    tests: [boot: {quiet: 11m}]"), /:4:19: .*quiet 11m is not from 0 ms to 10 min$/],
		[ofDb1("    tests: [boot: {quietMs: 5}]"), /:4:20: .*"quietMs" means nothing here: did you mean "quiet"\?$/],
		[ofDb1("    tests: [boot: {expect: '['}]"), /:4:28: .*"\[" is not a regular expression/],
		[ofDb1("    tests: [boot, boot]"), /:4:19: .*two tests are called "boot": give one of them a "name"/],
		["version: 1\nwebhook: ftp://x\nvms: [db1]", /:2:10: webhook: "ftp:\/\/x" is not a URL/],
		["version: 1\nwebhook: https://u:p@x/\nvms: [db1]", /:2:10: webhook: the URL holds a password: take it out/],
		["version: 1\ngroups:\n  a b:\n    vms: [db1]", /:3:3: groups: "a b" is not a name of letters/],
		["version: 1\ngroups:\n  a: {}", /:3:6: groups\.a: "vms" is missing/],
		["version: 1\ngroups: {a: {vms: [db1], networks: {l: {range: 1.2.3.4-1.2.3.9}}}}", /"range" needs "gateway"$/],
		[
			"version: 1\ngroups: {a: {vms: [db1], networks: {l: {gateway: 1.2.3.1/24, range: 1.2.3.4-1.2.4.9}}}}",
			/range 1\.2\.3\.4-1\.2\.4\.9 is not within the network of 1\.2\.3\.1\/24$/,
		],
		["version: 1\ngroups: {a: {vms: [db1], networks: {l: {gateway: 1.2.3.999/24}}}}", /is not an address with prefix/],
		[
			"version: 1\ngroups: {a: {vms: {db1: {after: [web1]}}}}",
			/after\[1\]: "web1" is not in this group: there is none$/,
		],
		[
			"version: 1\ngroups:\n  a:\n    vms:\n      db1: {after: [web1]}\n      web1: {after: [mail]}\n      mail: {after: [db1]}",
			/:5:7: .*each waits for the next, so none can start: db1 → web1 → mail → db1: take one "after" out$/,
		],
		["version: 1\nvms: &a\n  db1: {tests: *a}", /:3:16: vms\.db1\.tests: a mapping is not a list of tests$/],
	] as const) {
		try {
			parse(text);
			t.fail(`accepted: ${text}`);
		} catch (error) {
			t.match(error, { name: "PlanError", code: "USAGE", message: /^plans\/nightly\.yaml:\d+:\d+: [^\n]+$/ }, text);
			t.match((error as Error).message, message, text);
		}
	}
});

t.test("what a run would do", async (t) => {
	const plan = parse(`version: 1
onFailure: stop
webhook: https://example.com/hook
groups:
  shop:
    networks: { lan: { gateway: 192.168.7.1/24 } }
    vms:
      db1: { memory: 2g, points: { random: 1, days: 7 } }
      web1: { after: [db1], tests: [{ tcp: 80, retries: 0 }, { agent: , optional: true }] }
`);
	const text = explain(plan);
	for (const words of [
		/^plan nightly: 2 VMs in 1 lab, on QEMU of this machine$/m,
		/^at once: 4 VMs, 8 processors, 6 GiB; all over after 6 h$/m,
		/^after a failure: start nothing more$/m,
		/^the result goes to https:\/\/example\.com\/hook$/m,
		/^ {2}network lan: gateway 192\.168\.7\.1\/24$/m,
		/^ {2}1\. db1: 1 point at random of the last 7 days$/m,
		/^ {2}2\. web1: its newest point, once db1 passed$/m,
		/^ {5}- tcp 80 \(10 s\)$/m,
		/^ {5}- agent \(10 s, up to 2 further attempts every 5 s\), only a warning$/m,
		/no tests: it passes when it boots/,
	])
		t.match(text, words);
	const document = JSON.parse(JSON.stringify(explanation(plan)));
	t.match(document.groups[0].vms[1], {
		vm: "web1",
		words: { points: "its newest point", tests: [/^tcp 80/, /^agent/] },
	});
});

t.test("a plan to begin with is accepted, and tests what the names promise", async (t) => {
	const vms = [
		{ name: "shop-db1", guestOs: "debian12_64Guest", memoryMiB: 2048, cpus: 2, networks: ["lan"] },
		{ name: "www", guestOs: "ubuntu\n# 64" },
		{ name: "dc01" },
		{ name: "name: with # signs" },
		{ name: "webster" },
	];
	const text = initialPlan(vms, { kinds: KINDS, roles: ROLES, host: "kvm1" });
	const plan = parse(text, { vms: vms.map(({ name }) => name) });
	t.equal(plan.host, "kvm1");
	t.strictSame(
		plan.groups.flatMap((group) => group.vms.map(({ vm, role, tests }) => [vm, role, tests.length])),
		[
			["shop-db1", "database", 1],
			["www", "web", 2],
			["dc01", "directory", 1],
			["name: with # signs", null, 2],
			["webster", null, 2],
		],
	);
	const [boot, agent] = plan.groups[4].vms[0].tests;
	t.match(
		[boot, agent],
		[
			{ kind: "boot", optional: false },
			{ kind: "agent", optional: true },
		],
	);
	for (const { kind, summary } of KINDS) t.match(text, new RegExp(`^# {3}- ${kind}.*${summary}$`, "m"));
});
