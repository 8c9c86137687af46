/**
 * Which campaigns a run makes. `SPRINGBACK_LONG` makes many; `SPRINGBACK_FUZZ_SEED=N` repeats the one campaign of a
 * seed that a failed run has named.
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { CAMPAIGN_INPUTS } from "./campaign.js";

const FIRST_SEED = 20_261_121;

export interface Plan {
	seeds: number[];
	/** requests of each campaign */
	inputs: number;
	long: boolean;
}

/** @param long requests of a long run, @param short requests of any other */
export function plan(long: number, short: number): Plan {
	const replay = process.env.SPRINGBACK_FUZZ_SEED;
	if (replay !== undefined) return { seeds: [Number(replay)], inputs: CAMPAIGN_INPUTS, long: false };
	const isLong = Boolean(process.env.SPRINGBACK_LONG);
	const inputs = isLong ? CAMPAIGN_INPUTS : Math.min(short, CAMPAIGN_INPUTS);
	const campaigns = Math.ceil((isLong ? long : short) / inputs);
	return { seeds: Array.from({ length: campaigns }, (_, index) => FIRST_SEED + index), inputs, long: isLong };
}

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

/** Bytes that JavaScript holds after a collection, buffers included. */
export function heldBytes(): number {
	collect();
	const { heapUsed, external } = process.memoryUsage();
	return heapUsed + external;
}
