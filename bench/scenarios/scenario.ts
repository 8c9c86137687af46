/**
 * What every scenario gets and gives.
 */
import type { NoiseMeter } from "../measure/machine.js";
import type { Plot } from "../measure/plot.js";
import type { Table } from "../measure/report.js";

export interface Settings {
	/** how often each side is measured */
	pairs: number;
	/** shorter loads: for development, not for figures */
	quick: boolean;
	/** loads as long as their goals say */
	long: boolean;
	/** for a scenario that runs as long as it is told */
	minutes?: number;
	/** progress, for people */
	say(line: string): void;
	noise: NoiseMeter;
}

export interface Outcome {
	conditions: string[];
	tables: Table[];
	remarks: string[];
	plots?: Plot[];
}

export interface Scenario {
	name: string;
	summary: string;
	/** pairs when none are asked for */
	pairs: number;
	quickPairs: number;
	/** runs only when named: "all" would take too long */
	byName?: boolean;
	/** programs whose versions belong to the figures, and without which it cannot run */
	programs: string[];
	/** What needs the machine's own network: runs before the namespace is entered. */
	prepare?(): Promise<void>;
	run(settings: Settings): Promise<Outcome>;
}
