/** A report in the lines of a terminal. */
import type { RunReport, VmReport } from "../model.js";
import { bytes, line, span, utc } from "./text.js";
import { FAULT, RESULT, serviceInWords, verdict, worstFirst } from "./words.js";

export const summaryText = (report: RunReport): string =>
	[
		`${RESULT[report.result]}: ${verdict(report)}`,
		`plan ${line(report.plan)}, run ${report.id}, ${utc(report.started)}, ${span(Date.parse(report.ended) - Date.parse(report.started))}, by ${line(report.by.user)} on ${line(report.by.machine)}`,
		...worstFirst(report.vms).flatMap((vm) => ["", ...vmText(vm)]),
	].join("\n");

const vmText = (vm: VmReport): string[] => [
	`${RESULT[vm.result].toUpperCase()}  ${line(vm.vm)}  point ${vm.point.id.slice(0, 8)} of ${utc(vm.point.time)}`,
	`  ${vm.fault === null ? "" : `${FAULT[vm.fault].name}: `}${line(vm.summary)}`,
	...(vm.fault === null ? [] : [`  what to do: ${FAULT[vm.fault].advice}`]),
	`  time to service ${serviceInWords(vm)}${vm.readToBoot === null ? "" : `, read to boot ${bytes(vm.readToBoot)}`}`,
	...vm.tests.map(
		({ result, name, message, tookMs }) =>
			`  ${RESULT[result].padEnd(7)}  ${line(name)}: ${line(message)} (${span(tookMs)})`,
	),
];
