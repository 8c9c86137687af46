/**
 * `npm run bench`: measures this project side by side with its peers, in one run on one machine.
 *
 * Runs itself again in a network and process namespace of its own: every port is free there, no port of the machine is
 * used, and whatever was started ends with it.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { projectDirectory } from "../scripts/lab/guests.js";
import { enterNamespace, namespaceProblem } from "../scripts/lab/namespace.js";
import { openRunDirectory, runDirectory } from "./data/places.js";
import { machine, NoiseMeter } from "./measure/machine.js";
import { svg } from "./measure/plot.js";
import { json, markdown, type Report } from "./measure/report.js";
import { type Options, parseOptions, UsageError } from "./options.js";
import { boot } from "./scenarios/boot.js";
import { endurance } from "./scenarios/endurance.js";
import { guestLatency } from "./scenarios/guest-latency.js";
import { migrate } from "./scenarios/migrate.js";
import { nbd } from "./scenarios/nbd.js";
import { nfs } from "./scenarios/nfs.js";
import { repository } from "./scenarios/repository.js";
import { scale } from "./scenarios/scale.js";
import type { Scenario } from "./scenarios/scenario.js";

const SCENARIOS: readonly Scenario[] = [repository, nfs, nbd, boot, migrate, scale, endurance, guestLatency];

const HELP = `npm run bench -- [${SCENARIOS.map(({ name }) => name).join("|")}|all] [options]

${SCENARIOS.map(({ name, summary }) => `  ${name.padEnd(15)}${summary}`).join("\n")}

  --pairs N    measure every side N times, in alternation
  --quick      one pair and short loads: to see that it works, not for figures
  --long       loads as long as their goals say: a disk that hangs for a minute, ten million blocks
  --minutes N  how long endurance runs (default 60)
  --json FILE  also write every single figure to FILE
  --save       also write docs/benchmarks/SCENARIO-latest.md and .json

What it compares with is installed by scripts/setup --bench. Needs root (repository does not), 8 GiB of disk in the
cache directory (SPRINGBACK_CACHE), and a machine that does nothing else meanwhile.
`;

async function main(): Promise<void> {
	const options = parseOptions(
		process.argv.slice(2),
		SCENARIOS.map(({ name }) => name),
	);
	if (options.help) {
		process.stdout.write(HELP);
		return;
	}
	const chosen = SCENARIOS.filter(({ name, byName }) =>
		options.scenario === "all" ? !byName : options.scenario === name,
	);
	if (process.env.SPRINGBACK_OWN_NETWORK !== "1") {
		const problem = namespaceProblem();
		if (problem) throw new Error(problem);
		openRunDirectory();
		for (const [signal, code] of [
			["SIGINT", 130],
			["SIGTERM", 143],
			["SIGHUP", 129],
		] as const)
			process.on(signal, () => process.exit(code));
		for (const scenario of chosen) await scenario.prepare?.();
		await enterNamespace(import.meta.url);
	}
	// The outer process waits for this one and then removes the directory; this one has no terminal to lose.
	runDirectory();
	const reports: Report[] = [];
	for (const scenario of chosen) {
		const report = await measured(scenario, options);
		reports.push(report);
		process.stdout.write(`${markdown(report)}\n`);
		if (options.save) save(report);
	}
	if (options.json) writeFileSync(resolve(options.json), `[${reports.map(json).join(",")}]`);
}

async function measured(scenario: Scenario, options: Options): Promise<Report> {
	const facts = machine(scenario.programs);
	const missing = scenario.programs.filter((name) => !(name in facts.versions));
	if (missing.length > 0)
		throw new Error(`${missing.join(", ")} not found: run scripts/setup --bench, which installs what is compared with`);
	const started = new Date();
	const noise = new NoiseMeter();
	await noise.listen();
	const pairs = options.pairs ?? (options.quick ? scenario.quickPairs : scenario.pairs);
	const say = (line: string) => process.stderr.write(`${scenario.name}: ${line}\n`);
	const { quick, long, minutes } = options;
	const outcome = await scenario.run({ pairs, quick, long, minutes, say, noise });
	return {
		scenario: scenario.name,
		started: started.toISOString(),
		seconds: (Date.now() - started.getTime()) / 1000,
		pairs,
		quick: options.quick,
		machine: facts,
		noise: noise.noise,
		...outcome,
	};
}

function save(report: Report): void {
	const directory = join(projectDirectory, "docs/benchmarks");
	mkdirSync(directory, { recursive: true });
	const path = join(directory, `${report.scenario}-latest`);
	writeFileSync(`${path}.md`, markdown(report));
	writeFileSync(`${path}.json`, json(report));
	for (const plot of report.plots ?? []) writeFileSync(join(directory, `${plot.name}.svg`), svg(plot));
	// What is kept in the repository passes its own formatter.
	spawnSync("npx", ["biome", "format", "--write", `${path}.json`], { cwd: projectDirectory });
}

main().catch((error: unknown) => {
	process.stderr.write(`bench: ${error instanceof Error ? error.message : error}\n`);
	if (process.env.SPRINGBACK_DEBUG && error instanceof Error) process.stderr.write(`${error.stack}\n`);
	process.exit(error instanceof UsageError ? 2 : 1);
});
