/** JUnit XML, as CI systems read it: a suite for each VM, a case for the boot and for each test. */
import type { RunReport, TestReport, VmReport } from "../model.js";
import { printable } from "./text.js";
import { FAULT } from "./words.js";

const SPECIAL: Readonly<Record<string, string>> = {
	"&": "&amp;",
	"<": "&lt;",
	">": "&gt;",
	'"': "&quot;",
	"'": "&apos;",
};
const escaped = (text: string): string => printable(text).replace(/[&<>"']/g, (c) => SPECIAL[c]);
/** Line breaks in attributes would be read as spaces. */
const attribute = (text: string): string => escaped(text).replaceAll("\n", "&#10;").replaceAll("\t", "&#9;");
const seconds = (ms: number): string => (Math.max(0, ms) / 1_000).toFixed(3);

interface Case {
	name: string;
	ms: number;
	state: "passed" | "failure" | "error" | "skipped";
	type: string;
	message: string;
	output: string;
}

export const junit = (report: RunReport): string => {
	const suites = report.vms.map((vm) => ({ vm, cases: casesOf(vm) }));
	const all = suites.flatMap(({ cases }) => cases);
	return `<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="${attribute(report.plan)}" ${counts(all)} time="${seconds(Date.parse(report.ended) - Date.parse(report.started))}">
${suites
	.map(
		({
			vm,
			cases,
		}) => `  <testsuite name="${attribute(vm.vm)}" ${counts(cases)} time="${seconds(Date.parse(vm.ended) - Date.parse(vm.started))}" timestamp="${attribute(vm.started.replace(/(\.\d+)?Z$/, ""))}" hostname="${attribute(report.by.machine)}">
    <properties>
      <property name="run" value="${attribute(report.id)}"/>
      <property name="point" value="${attribute(vm.point.id)}"/>
      <property name="pointTime" value="${attribute(vm.point.time)}"/>${vm.timeToServiceMs === null ? "" : `\n      <property name="timeToServiceMs" value="${vm.timeToServiceMs}"/>`}
    </properties>
${cases.map((one) => caseOf(vm, one)).join("\n")}
  </testsuite>`,
	)
	.join("\n")}
</testsuites>
`;
};

const counts = (cases: readonly Case[]): string => {
	const of = (state: Case["state"]) => cases.filter((one) => one.state === state).length;
	return `tests="${cases.length}" failures="${of("failure")}" errors="${of("error")}" skipped="${of("skipped")}"`;
};

/** The boot first: it carries what is wrong with the VM that no test has said. */
const casesOf = (vm: VmReport): Case[] => {
	const tests = vm.tests.map(testCase);
	const said = tests.some(({ state }) => state === "failure");
	const boot: Case = {
		name: "boot",
		ms: bootMs(vm),
		state: "passed",
		type: vm.fault ?? "",
		message: vm.summary,
		output: vm.console,
	};
	if (vm.result === "failed" && vm.fault === "infrastructure") boot.state = "error";
	else if (vm.result === "failed" && (vm.fault !== "service" || !said)) boot.state = "failure";
	else if (vm.result === "skipped" || vm.result === "cancelled") boot.state = "skipped";
	return [boot, ...tests];
};

const bootMs = ({ timeline }: VmReport): number =>
	(timeline.find(({ what }) => what === "stable")?.atMs ?? 0) -
	(timeline.find(({ what }) => what === "power-on")?.atMs ?? 0);

/** A warning is no failure of a CI job; its words are in the output. */
const testCase = ({ name, kind, result, message, output, tookMs }: TestReport): Case => ({
	name,
	ms: tookMs,
	state: result === "failed" ? "failure" : result === "skipped" ? "skipped" : "passed",
	type: kind,
	message,
	output: result === "warning" ? `warning: ${message}\n${output}` : output,
});

const caseOf = (vm: VmReport, { name, ms, state, type, message, output }: Case): string => {
	const open = `    <testcase classname="${attribute(vm.vm)}" name="${attribute(name)}" time="${seconds(ms)}"`;
	const detail = vm.fault !== null && name === "boot" ? `${FAULT[vm.fault].meaning} ` : "";
	const said = output.trim() === "" ? "" : `\n      <system-out>${escaped(output)}</system-out>`;
	if (state === "passed") return said === "" ? `${open}/>` : `${open}>${said}\n    </testcase>`;
	const inner =
		state === "skipped"
			? `<skipped message="${attribute(message)}"/>`
			: `<${state} type="${attribute(type)}" message="${attribute(message)}">${escaped(`${detail}${message}`)}</${state}>`;
	return `${open}>\n      ${inner}${said}\n    </testcase>`;
};
