/** What a run of a plan would do, for `--dry-run`: as text, and as a document. */
import type { PointChoice, Stabilise, VerificationPlan, VmPlan } from "../model.js";
import type { TestSpec } from "../tests/contract.js";
import { counted, inWords, memoryInWords } from "./words.js";

export const explain = (plan: VerificationPlan): string => {
	const { limits, groups } = plan;
	const vms = groups.reduce((sum, group) => sum + group.vms.length, 0);
	return [
		`plan ${plan.name}: ${counted(vms, "VM")} in ${counted(groups.length, "lab")}, on ${plan.host ?? "QEMU of this machine"}`,
		`at once: ${counted(limits.parallel, "VM")}, ${counted(limits.cpus, "processor")}, ${memoryInWords(limits.memoryMiB)}; all over after ${inWords(limits.timeoutMs)}`,
		`after a failure: ${FAILURE[plan.onFailure]}`,
		...(plan.webhook === null ? [] : [`the result goes to ${plan.webhook}${plan.webhookSecretFile ? ", signed" : ""}`]),
		...groups.flatMap((group) => [
			"",
			`lab ${group.name}: no way out`,
			...group.networks.map(
				({ name, gateway, range, names }) =>
					`  network ${name === "" ? "(unnamed)" : name}: gateway ${gateway ?? "chosen"}${range ? `, DHCP ${range.join(" to ")}` : ""}${names ? `, DNS also ${Object.keys(names).join(", ")}` : ""}`,
			),
			...group.vms.flatMap((vm, i) => vmLines(vm, i + 1)),
		]),
	].join("\n");
};

/** As a document: the plan, and what its choices mean in words. */
export const explanation = (plan: VerificationPlan): object => ({
	...plan,
	groups: plan.groups.map((group) => ({
		...group,
		vms: group.vms.map((vm) => ({
			...vm,
			words: {
				points: pointsInWords(vm.points),
				stabilise: bootInWords(vm.stabilise),
				tests: vm.tests.map(testInWords),
			},
		})),
	})),
});

const FAILURE = {
	continue: "go on with all others",
	group: "start no more of its group",
	stop: "start nothing more",
} as const;

const vmLines = (vm: VmPlan, number: number): string[] => [
	`  ${number}. ${vm.vm}${vm.role === null ? "" : ` (${vm.role})`}: ${pointsInWords(vm.points)}${vm.after.length > 0 ? `, once ${vm.after.join(", ")} passed` : ""}`,
	`     ${[
		...(vm.memoryMiB === null ? [] : [memoryInWords(vm.memoryMiB)]),
		...(vm.cpus === null ? [] : [counted(vm.cpus, "processor")]),
		`booted ${bootInWords(vm.stabilise)}`,
		`over after ${inWords(vm.timeoutMs)}`,
	].join("; ")}`,
	...Object.entries(vm.addresses).map(([mac, address]) => `     card ${mac} is ${address}`),
	...(vm.tests.length === 0
		? ["     no tests: it passes when it boots"]
		: vm.tests.map((test) => `     - ${testInWords(test)}`)),
];

const pointsInWords = (points: PointChoice): string => {
	switch (points.which) {
		case "latest":
			return "its newest point";
		case "random":
			return `${counted(points.count, "point")} at random${points.days === null ? "" : ` of the last ${counted(points.days, "day")}`}`;
		case "new":
			return "every point that no run has verified yet";
		case "named":
			return `point ${points.point}`;
	}
};

const bootInWords = (stabilise: Stabilise): string => {
	const limit = `within ${inWords(stabilise.timeoutMs)}`;
	switch (stabilise.by) {
		case "auto":
			return `when its agent answers, else it has an address, else its console is quiet, ${limit}`;
		case "agent":
			return `when its agent answers, ${limit}`;
		case "address":
			return `when it has an address, ${limit}`;
		case "console":
			return `when its console is quiet for ${inWords(stabilise.quietMs)}, ${limit}`;
		case "output":
			return `when its console says /${stabilise.match}/, ${limit}`;
		case "time":
			return `${inWords(stabilise.waitMs)} after power-on`;
	}
};

const testInWords = ({ name, timeoutMs, retries, retryMs, optional }: TestSpec): string =>
	`${name} (${inWords(timeoutMs)}${retries > 0 ? `, up to ${counted(retries, "further attempt")} every ${inWords(retryMs)}` : ""})${optional ? ", only a warning" : ""}`;
