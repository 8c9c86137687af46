/**
 * The command line of the benchmarks.
 */
import { parseArgs } from "node:util";

export interface Options {
	/** scenario's name, or "all" */
	scenario: string;
	pairs?: number;
	quick: boolean;
	/** loads as long as their goals say, where others are shorter */
	long: boolean;
	/** how long endurance runs */
	minutes?: number;
	/** every figure as JSON goes into this file */
	json?: string;
	/** the report goes into docs/benchmarks */
	save: boolean;
	help: boolean;
}

/** A wrong command line: exit 2. */
export class UsageError extends Error {
	override readonly name = "UsageError";
}

export function parseOptions(argv: string[], scenarios: readonly string[]): Options {
	const { values, positionals } = parse(argv);
	const scenario = positionals[0] ?? "all";
	if (positionals.length > 1) throw new UsageError(`one scenario at a time, or all: ${positionals.join(" ")}`);
	if (scenario !== "all" && !scenarios.includes(scenario))
		throw new UsageError(`unknown scenario "${scenario}": it is one of ${scenarios.join(", ")} or all`);
	const pairs = values.pairs === undefined ? undefined : Number(values.pairs);
	if (pairs !== undefined && !(Number.isInteger(pairs) && pairs >= 1 && pairs <= 100))
		throw new UsageError(`--pairs ${values.pairs}: a whole number from 1 to 100 is wanted`);
	const minutes = values.minutes === undefined ? undefined : Number(values.minutes);
	if (minutes !== undefined && !(minutes > 0 && minutes <= 10_000))
		throw new UsageError(`--minutes ${values.minutes}: a number above 0 is wanted`);
	return {
		scenario,
		pairs,
		minutes,
		long: values.long === true,
		quick: values.quick === true,
		json: values.json,
		save: values.save === true,
		help: values.help === true,
	};
}

function parse(argv: string[]) {
	try {
		return parseArgs({
			args: argv,
			allowPositionals: true,
			options: {
				pairs: { type: "string" },
				quick: { type: "boolean" },
				long: { type: "boolean" },
				minutes: { type: "string" },
				json: { type: "string" },
				save: { type: "boolean" },
				help: { type: "boolean", short: "h" },
			},
		});
	} catch (cause) {
		throw new UsageError((cause as Error).message, { cause });
	}
}
