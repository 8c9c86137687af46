/**
 * What every scenario gets and gives.
 */
import type { NoiseMeter } from "../measure/machine.js";
import type { Table } from "../measure/report.js";

export interface Settings {
	/** how often each side is measured */
	pairs: number;
	/** shorter loads: for development, not for figures */
	quick: boolean;
	/** progress, for people */
	say(line: string): void;
	noise: NoiseMeter;
}

export interface Outcome {
	conditions: string[];
	tables: Table[];
	remarks: string[];
}

export interface Scenario {
	name: string;
	summary: string;
	/** pairs when none are asked for */
	pairs: number;
	quickPairs: number;
	/** programs whose versions belong to the figures, and without which it cannot run */
	programs: string[];
	/** What needs the machine's own network: runs before the namespace is entered. */
	prepare?(): Promise<void>;
	run(settings: Settings): Promise<Outcome>;
}
