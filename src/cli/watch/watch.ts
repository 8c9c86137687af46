/** `sessions --watch`: looks at every mount process of a state directory in turns, and shows what happened between. */
import { setTimeout as sleep } from "node:timers/promises";
import type { StatsResult } from "../../mountd/stats-result.js";
import type { Context } from "../command.js";
import { runningMountds } from "../mountds.js";
import { type ProcessRates, processRates } from "./rates.js";
import { openScreen } from "./screen.js";
import { ratesText } from "./view.js";

/** Ends when the context's signal is aborted. `interval` in milliseconds. */
export async function watchSessions({ out, signal }: Context, state: string, interval: number): Promise<void> {
	let before = await look(state, signal);
	const screen = out.json ? undefined : openScreen(process.stdout);
	try {
		screen?.show("measuring ...");
		while (await passed(interval, signal)) {
			const now = await look(state, signal);
			if (signal.aborted) break;
			const rates = [...now.values()].map((stats) => processRates(stats, before.get(stats.listen)));
			if (screen) screen.show(`${new Date().toLocaleTimeString()}  Ctrl-C ends\n\n${ratesText(rates)}`);
			else out.event(line(rates));
			before = now;
		}
	} finally {
		screen?.end();
	}
}

const line = (processes: ProcessRates[]) => ({ time: new Date().toISOString(), processes });

/** By listening address. A process that ends meanwhile is left out. */
async function look(state: string, signal: AbortSignal): Promise<Map<string, StatsResult>> {
	const found = new Map<string, StatsResult>();
	for (const client of await runningMountds(state)) {
		// A process that does not answer must not keep Ctrl-C from working.
		const leave = () => client.end();
		signal.addEventListener("abort", leave);
		try {
			const stats = await client.call("stats", {});
			found.set(stats.listen, stats);
		} catch (error) {
			if ((error as { code?: string }).code !== "GONE") throw error;
		} finally {
			signal.removeEventListener("abort", leave);
			client.end();
		}
	}
	return found;
}

/** False when the signal came first. */
async function passed(milliseconds: number, signal: AbortSignal): Promise<boolean> {
	await sleep(milliseconds, undefined, { signal }).catch(() => undefined);
	return !signal.aborted;
}
