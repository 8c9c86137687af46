/** The user's scripts before and after a run: the second one runs whatever came of it, and is told. */
import { reason } from "./errors.js";
import { runScript } from "./scripts.js";

export interface HostScripts {
	/** paths of programs */
	pre?: string;
	post?: string;
	/** ms for each; default 10 minutes */
	limitMs?: number;
}

const LIMIT_MS = 600_000;

interface Outcome {
	point: string;
	consistency: string;
	warnings: string[];
}

/** What a script is told, as SPRINGBACK_* in its environment. */
export type ScriptFacts = Record<string, string>;

/** Runs `work` between the scripts. A failing first script is the run's failure, a failing second one a warning of it. */
export async function withScripts<T extends Outcome>(
	{ scripts, say, signal }: { scripts?: HostScripts; say?: (line: string) => void; signal?: AbortSignal },
	about: ScriptFacts,
	work: () => Promise<T>,
): Promise<T> {
	const run = async (path: string | undefined, phase: "pre" | "post", facts: ScriptFacts, stop?: AbortSignal) => {
		if (path === undefined) return;
		const all = Object.entries({ PHASE: phase, ...about, ...facts });
		await runScript({
			path,
			env: Object.fromEntries(all.map(([key, value]) => [`SPRINGBACK_${key}`, value])),
			limitMs: scripts?.limitMs ?? LIMIT_MS,
			log: (line) => say?.(`${phase}-script: ${line}`),
			signal: stop,
		});
	};
	let done: T;
	try {
		await run(scripts?.pre, "pre", {}, signal);
		done = await work();
	} catch (error) {
		const result = (error as { code?: string }).code === "INTERRUPTED" ? "interrupted" : "failed";
		// Not ended by the interruption that it is told of.
		await run(scripts?.post, "post", { RESULT: result, ERROR: reason(error) }).catch((failure: unknown) =>
			say?.(`the post-script failed, too: ${reason(failure)}`),
		);
		throw error;
	}
	const { point, consistency, warnings } = done;
	const facts = { RESULT: warnings.length > 0 ? "warnings" : "ok", POINT: point, CONSISTENCY: consistency };
	await run(scripts?.post, "post", facts).catch((failure: unknown) => {
		warnings.push(`the restore point is stored, but the post-script failed: ${reason(failure)}`);
	});
	return done;
}
