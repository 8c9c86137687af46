/**
 * A scenario's outcome, as Markdown for people and JSON for programs.
 */
import type { Machine, Noise } from "./machine.js";
import type { Series } from "./pairs.js";
import type { Plot } from "./plot.js";
import { median, ratio } from "./statistics.js";

export interface Table {
	title: string;
	/** our side first; the ratio is against the second */
	sides: string[];
	series: Series[];
	/** the sides are not rivals, but sizes for example: no ratios */
	rivals?: false;
}

export interface Report {
	scenario: string;
	/** UTC */
	started: string;
	/** wall time of the whole scenario */
	seconds: number;
	pairs: number;
	quick: boolean;
	machine: Machine;
	noise: Noise;
	/** what was done exactly: data, settings, page cache policy */
	conditions: string[];
	tables: Table[];
	/** what the tables do not say */
	remarks: string[];
	/** saved as NAME.svg beside the report */
	plots?: Plot[];
}

export function markdown(report: Report): string {
	const { machine, noise } = report;
	const versions = Object.entries(machine.versions).map(([name, version]) => `${name} ${version}`);
	const lines = [
		`# Benchmark: ${report.scenario}`,
		"",
		`${report.started}, ${report.pairs} ${report.pairs === 1 ? "pair" : "pairs"}${report.quick ? " (quick)" : ""}, ${report.seconds.toFixed(0)} s. ` +
			`${machine.cpu}, ${machine.cores} cores, ${gib(machine.memory)} of memory, Linux ${machine.kernel}, virtualization: ${machine.virtualization}. ` +
			`${versions.join(", ")}.`,
		"",
		`Other load: ${noise.loadBefore.toFixed(1)} processes before and ${noise.loadAfter.toFixed(1)} after (this benchmark included); ` +
			`processors in use by others before the runs: ${noise.busyBefore.map((share) => `${Math.round(share * 100)}%`).join(", ")}.`,
		"",
		...report.conditions.map((line) => `- ${line}`),
		"",
	];
	for (const table of report.tables) lines.push(`## ${table.title}`, "", ...tableLines(table), "");
	for (const { name, title } of report.plots ?? []) lines.push(`![${title}](${name}.svg)`, "");
	if (report.remarks.length > 0) lines.push(...report.remarks.map((line) => `- ${line}`), "");
	lines.push(
		"Cells are medians, with minimum and maximum where there was more than one run. Ratios say how many times better the first side is than the second: of the medians, then the median over the pairs.",
		"",
	);
	return lines.join("\n");
}

function tableLines({ sides, series, rivals }: Table): string[] {
	const goals = series.some(({ goal }) => goal !== undefined);
	const compared = sides.length > 1 && rivals !== false;
	const head = ["load", "unit", ...sides];
	if (compared) head.push("ratio", "of pairs");
	if (goals) head.push("goal");
	const rows = series.map((one) => {
		const row = [one.load, one.unit, ...sides.map((side) => cell(one.of(side)))];
		const [ours, theirs] = sides.map((side) => one.of(side));
		if (compared) {
			const both = ours.length > 0 && theirs.length > 0 ? ratio(ours, theirs, one.better) : undefined;
			row.push(both ? times(both.ofMedians) : "–", both ? times(both.medianOfPairs) : "–");
		}
		if (goals) row.push(one.goal === undefined ? "–" : `≥ ${one.goal.toFixed(1)} ×`);
		return row;
	});
	const line = (cells: string[]) => `| ${cells.join(" | ")} |`;
	return [line(head), line(head.map((_, i) => (i < 2 ? "---" : "---:"))), ...rows.map(line)];
}

function cell(values: readonly number[]): string {
	if (values.length === 0) return "–";
	const middle = amount(median(values));
	return values.length === 1 ? middle : `${middle} (${amount(Math.min(...values))}–${amount(Math.max(...values))})`;
}

/** Three significant digits, thousands apart. */
export function amount(value: number): string {
	if (value === 0 || !Number.isFinite(value)) return String(value);
	const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
	return value.toLocaleString("en-US", { maximumFractionDigits: digits, minimumFractionDigits: digits });
}

const times = (value: number): string => `${value.toFixed(2)} ×`;
const gib = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(0)} GiB`;

/** The same with every single value. */
export function json(report: Report): string {
	const tables = report.tables.map(({ title, sides, series }) => ({
		title,
		sides,
		rows: series.map((one) => ({
			load: one.load,
			unit: one.unit,
			better: one.better,
			...(one.goal === undefined ? {} : { goal: one.goal }),
			values: Object.fromEntries(one.values),
		})),
	}));
	return `${JSON.stringify({ ...report, tables }, undefined, "\t")}\n`;
}
