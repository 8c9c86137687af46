/** What a plan may say: the one description from which both the parser and the JSON schema come. */
import { isIP, isIPv4 } from "node:net";
import type { LabNetwork } from "../../lab/contract.js";
import type { PointChoice, Stabilise } from "../model.js";
import type { TestKind, TestSpec } from "../tests/contract.js";
import { inNetwork, networkOf } from "./addresses.js";
import { choice, duration, integer, type JsonSchema, memory, only, type Shape, text } from "./shapes.js";
import { converted, forms, type Item, list, mapping, may, must, type Named, object, variants } from "./structures.js";
import { testShape } from "./tests.js";

/** What a role says of a test; the rest is the kind's default. */
export type RoleTest = Pick<TestSpec, "kind"> & Partial<Omit<TestSpec, "kind">>;

/** A set of tests that fits what a VM does. */
export interface Role {
	summary: string;
	tests: readonly RoleTest[];
	/** ms, for all of a VM */
	timeoutMs: number;
	/** starts, and has to pass, before the others of its group, which need it */
	first: boolean;
}

export type Roles = Readonly<Record<string, Role>>;

const NAME = { pattern: "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", words: "a name of letters, digits, “.”, “_” and “-”" };
const VM = { pattern: "^[^/@\\u0000-\\u001f]+$", words: "a name of a VM, or a pattern with * and ?" };
const NETWORK = { pattern: "^[^\\u0000-\\u001f]*$", words: "a network's name" };
const MAC = {
	pattern: "^([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}$",
	words: "a MAC address such as 52:54:00:12:34:56 (in quotes)",
};

const POINTS: Shape<PointChoice> = forms<PointChoice>("points: latest, new, {random: 3, days: 30} or {named: ID}", {
	single: converted(choice(["latest", "new"]), (which): PointChoice => ({ which })),
	members: converted(
		object(
			"points such as {random: 3, days: 30} or {named: ID}",
			{
				random: may(integer(1, 1000), "so many, chosen at random"),
				days: may(integer(1, 36_500), "out of the points of the last days; left out: of all"),
				named: may(text("an id of a point, its first digits, or a time", undefined, { numbers: true }), "this one"),
			},
			{
				oneOf: [
					{ required: ["random"], not: { required: ["named"] } },
					{ required: ["named"], not: { anyOf: [{ required: ["random"] }, { required: ["days"] }] } },
				],
			},
		),
		({ random, days, named }, place, source): PointChoice => {
			if ((random === undefined) === (named === undefined))
				source.fail(place, 'give either "random" (with "days", if you like) or "named"');
			if (named !== undefined && days !== undefined) source.fail(place, '"days" goes with "random" only');
			return named === undefined
				? { which: "random", count: random!, days: days ?? null }
				: { which: "named", point: named };
		},
	),
});

/** ms that a guest gets to boot, unless the plan says otherwise */
const BOOT_MS = 10 * 60_000;
const timeout = may(duration, "limit of it; default: 10m");
const STABILISE: Shape<Stabilise> = forms<Stabilise>(
	"auto, agent, address, or a mapping such as {by: console, quiet: 10s}",
	{
		single: converted(choice(["auto", "agent", "address"]), (by): Stabilise => ({ by, timeoutMs: BOOT_MS })),
		members: variants<Stabilise>("a mapping such as {by: console, quiet: 10s}", "by", {
			...Object.fromEntries(
				(["auto", "agent", "address"] as const).map((by) => [
					by,
					converted(
						object("stabilise", { by: must(choice([by]), "how"), timeout }),
						({ timeout = BOOT_MS }): Stabilise => ({ by, timeoutMs: timeout }),
					),
				]),
			),
			console: converted(
				object("stabilise", {
					by: must(choice(["console"]), "how"),
					quiet: must(duration, "console or picture has not changed for so long"),
					timeout,
				}),
				({ by, quiet, timeout = BOOT_MS }): Stabilise => ({ by, quietMs: quiet, timeoutMs: timeout }),
			),
			output: converted(
				object("stabilise", {
					by: must(choice(["output"]), "how"),
					match: must(text("a regular expression"), "what the console says"),
					timeout,
				}),
				({ by, match, timeout = BOOT_MS }, place, source): Stabilise => {
					try {
						new RegExp(match, "mu");
					} catch {
						source.fail(place, `${JSON.stringify(match)} is not a regular expression`);
					}
					return { by, match, timeoutMs: timeout };
				},
			),
			time: converted(
				object("stabilise", {
					by: must(choice(["time"]), "how"),
					wait: must(duration, "so long after power-on"),
					timeout,
				}),
				({ by, wait, timeout }): Stabilise => ({ by, waitMs: wait, timeoutMs: timeout ?? Math.max(BOOT_MS, wait) }),
			),
		}),
	},
);

const ADDRESS = text("an address such as 192.168.7.20", "^[0-9A-Fa-f.:]+$");
const address = converted(ADDRESS, (value, place, source) =>
	isIP(value) === 0 ? source.fail(place, `"${value}" is not an IP address`) : value,
);

const LAB_NETWORK = converted(
	object("a network such as {gateway: 192.168.7.1/24}", {
		gateway: may(
			text("an address with prefix length such as 192.168.7.1/24", "^[0-9.]+/[0-9]{1,2}$"),
			"what guests know as their gateway; it leads nowhere",
		),
		range: may(
			text("first and last address such as 192.168.7.100-192.168.7.200", "^[0-9.]+ ?- ?[0-9.]+$"),
			"for guests that ask by DHCP; default: the upper half",
		),
		names: may(
			mapping("names with addresses", VM, address),
			"what DNS in the lab answers, besides the guests' own names",
		),
	}),
	({ gateway, range, names }, place, source): Omit<LabNetwork, "name"> => {
		const network = gateway === undefined ? undefined : networkOf(gateway);
		if (gateway !== undefined && network === undefined)
			source.fail(place, `"${gateway}" is not an address with prefix length such as 192.168.7.1/24`);
		const [first, last] = range?.split("-").map((one) => one.trim()) ?? [];
		if (range !== undefined) {
			if (!isIPv4(first) || !isIPv4(last)) source.fail(place, `"${range}" is not a range of two IPv4 addresses`);
			if (network === undefined) source.fail(place, '"range" needs "gateway"');
			if (![first, last].every((one) => inNetwork(one, network!)))
				source.fail(place, `range ${range} is not within the network of ${gateway}`);
		}
		return {
			...(gateway === undefined ? {} : { gateway }),
			...(range === undefined ? {} : { range: [first, last] as [string, string] }),
			...(names === undefined ? {} : { names: Object.fromEntries(names.map(({ key, value }) => [key, value])) }),
		};
	},
);

const URL_WORDS = "a URL such as https://example.com/hook";
const webhookUrl = converted(text(URL_WORDS, "^https?://[^\\s]+$"), (value, place, source) => {
	const url = URL.canParse(value) ? new URL(value) : source.fail(place, `"${value}" is not ${URL_WORDS}`);
	if (url.username !== "" || url.password !== "")
		source.fail(place, "the URL holds a password: take it out, plans are copied into repositories");
	return value;
});
const WEBHOOK = forms<{ url: string; secret?: { file: string } }>(`${URL_WORDS}, or {url, secret: {file: PATH}}`, {
	single: converted(webhookUrl, (url) => ({ url })),
	members: object("{url, secret: {file: PATH}}", {
		url: must(webhookUrl, "told the result of each run by POST"),
		secret: may(
			object("{file: PATH}", { file: must(text("a path"), "file with the secret") }),
			"signs what is sent (HMAC-SHA-256); never the secret itself, only the file it is in",
		),
	}),
});

/** Tests may stand in several places: their schema is in one. */
const TEST_REF = "#/$defs/test";

/** The shape of a whole plan; its schema refers to `definitionsOf`. */
export const planShape = (kinds: readonly TestKind[], roles: Roles) => {
	const common = {
		points: may(POINTS, "which restore points; default: latest"),
		memory: may(memory, "instead of the VM's own"),
		cpus: may(integer(1, 256), "instead of the VM's own"),
		stabilise: may(STABILISE, "when a guest counts as booted; default: auto"),
		timeout: may(duration, "all of the VM is over after so long, tests included; default: 30m"),
	};
	const settings = {
		...common,
		role: may(choice(Object.keys(roles)), "a set of tests that fits what the VM does"),
		tests: may(
			list("a list of tests", { ...testShape(kinds), schema: { $ref: TEST_REF } }, { max: 200 }),
			"besides those of the role",
		),
		addresses: may(
			mapping("addresses by MAC", MAC, address),
			"known addresses, for guests that neither ask by DHCP nor speak",
		),
	};
	const words = "settings of a VM: role, tests, memory, …";
	const ordered = object(words, {
		after: may(
			list("a list of VMs of the same group", text(VM.words, VM.pattern), { min: 1 }),
			"VMs (or patterns) of the same group that must have passed first",
		),
		...settings,
	});
	const alone = object(words, settings, {}, { after: 'it is for VMs that share a lab, under "groups"' });
	type Settings = ReturnType<typeof ordered.read>;
	const vms = (shape: Shape<Settings>) =>
		forms<Named<Settings>[]>("VMs: a list of names or patterns, or a mapping of them", {
			items: converted(list("a list of names or patterns", text(VM.words, VM.pattern), { min: 1 }), (items) =>
				namedOf<Settings>(items),
			),
			members: mapping("VMs: names or patterns", VM, shape, () => ({}) as Settings),
		});
	const group = object("a group: networks and vms", {
		networks: may(
			mapping("networks: as the source calls them", NETWORK, LAB_NETWORK, () => ({})),
			"what the networks of the group's lab are like",
		),
		vms: must(vms(ordered), "in the order in which they start"),
	});
	return object(
		"a plan",
		{
			version: must(only(1), "of this form of plans"),
			name: may(text(NAME.words, NAME.pattern), "default: the file's name"),
			host: may(text("a name of springback hosts"), "where VMs run; default: QEMU on this machine"),
			limits: may(
				object("limits", {
					parallel: may(integer(1, 1000), "VMs at once; default: 4"),
					cpus: may(integer(1, 100_000), "processors of all VMs at once; default: 4 for each of this machine"),
					memory: may(memory, "memory of all VMs at once; default: three quarters of this machine's"),
					timeout: may(duration, "of the whole run; default: 6h"),
				}),
				"what a run may use",
			),
			onFailure: may(
				choice(["continue", "group", "stop"]),
				"after a VM failed: go on with all (default); start no more of its group; start nothing more",
			),
			webhook: may(WEBHOOK, "who is told the result"),
			defaults: may(object("defaults", common), "for VMs that do not say otherwise"),
			groups: may(mapping("groups by name", NAME, group), "VMs that belong together and share a lab"),
			vms: may(vms(alone as Shape<Settings>), "VMs that stand alone, each in a lab of its own"),
		},
		{ anyOf: [{ required: ["groups"] }, { required: ["vms"] }] },
		{
			networks: "it belongs to a group",
			tests: "it belongs to a VM",
			points: 'it belongs to a VM, or into "defaults"',
		},
	);
};

export const definitionsOf = (kinds: readonly TestKind[]): JsonSchema => ({ test: testShape(kinds).schema });

const namedOf = <T>(items: Item<string>[]): Named<T>[] =>
	items.map(({ place, value }) => ({ key: value, keyPlace: place, value: {} as T }));

export type PlanText = ReturnType<ReturnType<typeof planShape>["read"]>;
