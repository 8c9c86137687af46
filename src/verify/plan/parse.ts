/** The text of a plan → the plan as it is carried out: patterns resolved, defaults and roles filled in, order found. */
import { availableParallelism, totalmem } from "node:os";
import { basename } from "node:path";
import type { GroupPlan, VerificationPlan, VmPlan } from "../model.js";
import type { TestKind, TestSpec } from "../tests/contract.js";
import { type PlanText, planShape, type Role, type Roles } from "./description.js";
import { type Claim, type Dependent, inOrder, matches, resolveClaims } from "./select.js";
import { type Place, Source } from "./source.js";
import { suggestion } from "./suggest.js";
import { completed } from "./tests.js";

export interface PlanContext {
	/** for messages, and for the plan's name */
	path: string;
	kinds: readonly TestKind[];
	roles: Roles;
	/** names of VMs that have restore points */
	vms: readonly string[];
	/** of this machine, for default limits; default: what it has */
	machine?: { cpus: number; memoryMiB: number };
}

const MINUTE = 60_000;
/** Unless plan or role say otherwise. */
export const DEFAULTS = { parallel: 4, vmMs: 30 * MINUTE, runMs: 360 * MINUTE, bootMs: 10 * MINUTE } as const;

type Settings = NonNullable<PlanText["vms"]>[number]["value"];
interface Member extends Claim<Settings> {
	/** null: stands alone */
	group: string | null;
}

/** Throws PlanError with file, line and column. */
export const parsePlan = (text: string, context: PlanContext): VerificationPlan => {
	const source = new Source(text, context.path);
	const plan = planShape(context.kinds, context.roles).read(source.root, source);
	const { limits = {}, webhook } = plan;
	const machine = context.machine ?? {
		cpus: availableParallelism(),
		memoryMiB: Math.floor(totalmem() / 2 ** 20),
	};
	return {
		version: 1,
		name: plan.name ?? nameOf(context.path),
		host: plan.host ?? null,
		limits: {
			parallel: limits.parallel ?? DEFAULTS.parallel,
			cpus: limits.cpus ?? 4 * machine.cpus,
			memoryMiB: limits.memory ?? Math.floor((machine.memoryMiB * 3) / 4),
			timeoutMs: limits.timeout ?? DEFAULTS.runMs,
		},
		onFailure: plan.onFailure ?? "continue",
		groups: groupsOf(plan, source, context),
		webhook: webhook?.url ?? null,
		webhookSecretFile: webhook?.secret?.file ?? null,
	};
};

const nameOf = (path: string): string => {
	const name = basename(path)
		.replace(/\.ya?ml$/, "")
		.replaceAll(/[^A-Za-z0-9._-]/g, "-");
	return /^[A-Za-z0-9]/.test(name) ? name.slice(0, 64) : "plan";
};

const groupsOf = (plan: PlanText, source: Source, context: PlanContext): GroupPlan[] => {
	if (plan.groups === undefined && plan.vms === undefined)
		return source.fail(source.root, '"groups" or "vms" is missing: it says which VMs to verify');
	const members: Member[] = [
		...(plan.groups ?? []).flatMap(({ key: group, value }) => value.vms.map((vm) => ({ ...vm, group }))),
		...(plan.vms ?? []).map((vm) => ({ ...vm, group: null })),
	];
	const resolved = resolveClaims(members, context.vms, source);
	const claimed = members.map((member, i) => ({ member, vms: resolved[i] }));
	const grouped = (plan.groups ?? []).map(({ key: name, value }): GroupPlan => {
		const vms = claimed
			.filter(({ member }) => member.group === name)
			.flatMap(({ member, vms }) => vms.map((vm) => ({ vm, member })));
		return {
			name,
			networks: (value.networks ?? []).map(({ key, value }) => ({ name: key, ...value })),
			vms: memberPlans(vms, plan, source, context),
		};
	});
	const alone = claimed
		.filter(({ member }) => member.group === null)
		.flatMap(({ member, vms }) =>
			vms.map(
				(vm): GroupPlan => ({
					name: freeName(vm, grouped),
					networks: [],
					vms: memberPlans([{ vm, member }], plan, source, context),
				}),
			),
		);
	return [...grouped, ...alone];
};

/** A VM that stands alone gives its group its name. */
const freeName = (vm: string, groups: GroupPlan[]): string => {
	let name = vm;
	for (let n = 2; groups.some((group) => group.name === name); n++) name = `${vm}-${n}`;
	return name;
};

const memberPlans = (
	vms: { vm: string; member: Member }[],
	plan: PlanText,
	source: Source,
	context: PlanContext,
): VmPlan[] => {
	const names = vms.map(({ vm }) => vm);
	const roleOf = (role: string | undefined) => (role === undefined ? undefined : context.roles[role]);
	const first = vms.filter(({ member }) => roleOf(member.value.role)?.first === true).map(({ vm }) => vm);
	const dependents = vms.map(({ vm, member }): Dependent & { member: Member } => ({
		vm,
		member,
		place: member.keyPlace,
		after: afterOf(vm, member, names, source),
	}));
	/** all that a VM waits for, by the plan's own words */
	const needs = (vm: string, seen = new Set<string>()): Set<string> => {
		for (const name of dependents.find((one) => one.vm === vm)!.after) if (!seen.has(name)) needs(name, seen.add(name));
		return seen;
	};
	// A directory is needed by all others of its group but those that it needs itself.
	const withFirst = dependents.map((one) => ({
		...one,
		after: [
			...one.after,
			...first.filter((name) => !first.includes(one.vm) && !one.after.includes(name) && !needs(name).has(one.vm)),
		],
	}));
	return inOrder(withFirst, source).map(({ vm, member, after, place }): VmPlan => {
		const { value } = member;
		const { defaults = {} } = plan;
		const role = roleOf(value.role);
		const stabilise = value.stabilise ?? defaults.stabilise ?? { by: "auto", timeoutMs: DEFAULTS.bootMs };
		return {
			vm,
			after,
			role: value.role ?? null,
			points: value.points ?? defaults.points ?? { which: "latest" },
			memoryMiB: value.memory ?? defaults.memory ?? null,
			cpus: value.cpus ?? defaults.cpus ?? null,
			stabilise,
			timeoutMs: value.timeout ?? role?.timeoutMs ?? defaults.timeout ?? DEFAULTS.vmMs,
			tests: testsOf(role, value, place, source, context.kinds),
			addresses: Object.fromEntries((value.addresses ?? []).map(({ key, value }) => [key.toLowerCase(), value])),
		};
	});
};

const afterOf = (vm: string, { value }: Member, names: string[], source: Source): string[] => {
	const found = new Set<string>();
	// Only members of groups may have it.
	const { after = [] } = value as { after?: { value: string; place: Place }[] };
	for (const { value: word, place } of after) {
		const those = names.includes(word) ? [word] : names.filter((name) => name !== vm && matches(word, name));
		if (those.length === 0)
			source.fail(
				place,
				`"${word}" is not in this group: ${suggestion(
					word,
					names.filter((name) => name !== vm),
				)}`,
			);
		for (const name of those) found.add(name);
	}
	return [...found];
};

/** Those of the role, then the VM's own; one of the same name replaces the role's. */
const testsOf = (
	role: Role | undefined,
	{ tests = [] }: Settings,
	at: Place,
	source: Source,
	kinds: readonly TestKind[],
): TestSpec[] => {
	const own = new Set<string>();
	for (const { value, place } of tests) {
		if (own.has(value.name))
			source.fail(place ?? at, `two tests are called "${value.name}": give one of them a "name" of its own`);
		own.add(value.name);
	}
	const ofRole = (role?.tests ?? []).map((test) => completed(test, kinds));
	return [...ofRole.filter(({ name }) => !own.has(name)), ...tests.map(({ value }) => value)];
};
