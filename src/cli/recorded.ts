/**
 * Notes what a command did in the catalogue, and takes hosts, plans and catalogue into the repository that it used.
 * Neither ever changes what the command does or how it ends: on the worst day there may be no room for notes.
 */
import type { Catalog, RunResult } from "../catalog/index.js";
import type { Context } from "./command.js";
import { EXIT, errorLine, exitCode } from "./exit.js";
import { hasOpenedNamed, namedKey } from "./keys.js";
import { catalogPlaces, namesRepository, repositoryPath } from "./places.js";
import { flag } from "./values.js";

/** Commands that are runs: they take long, or change what is kept. `false`: those that only read the repository. */
const RUNS: Readonly<Record<string, boolean>> = {
	backup: true,
	check: false,
	copy: false,
	export: false,
	forget: true,
	migrate: false,
	prune: true,
	rebuild: true,
	recover: false,
	repair: true,
	restore: false,
	verify: false,
};

export async function recorded(name: string, context: Context, work: () => Promise<number>): Promise<number> {
	if (!Object.hasOwn(RUNS, name) || flag(context, "dry-run") || flag(context, "settings")) return work();
	const { Catalog } = await import("../catalog/index.js");
	let catalog: Catalog | undefined;
	let run: string | undefined;
	try {
		catalog = await openCatalog(context, Catalog.open);
		run = catalog.runs.begin(name, context.positionals.join(" "));
	} catch (error) {
		context.out.say(`this run is not noted: ${errorLine(error)}`);
	}
	try {
		const code = await work();
		await finish(context, catalog, run, resultOf(code), undefined, RUNS[name]);
		return code;
	} catch (error) {
		if (exitCode(error) === EXIT.usage) await quietly(() => run && catalog?.runs.cancel(run));
		else
			await finish(
				context,
				catalog,
				run,
				exitCode(error) === EXIT.interrupted ? "interrupted" : "failed",
				errorLine(error),
				RUNS[name],
			);
		throw error;
	} finally {
		await quietly(() => catalog?.close());
	}
}

/** Says when a damaged catalogue was set aside. */
export async function openCatalog(context: Context, open: typeof Catalog.open): Promise<Catalog> {
	const paths = catalogPlaces(context);
	const catalog = await open(paths);
	if (catalog.setAside !== undefined)
		context.out.say(
			`the catalogue was damaged (${catalog.setAside.why}) and begins anew; the old one is ${catalog.setAside.path}; springback rebuild --settings brings back what the repository has of it`,
		);
	return catalog;
}

const RESULTS: Readonly<Record<number, Exclude<RunResult, "running">>> = {
	[EXIT.ok]: "ok",
	[EXIT.fault]: "fault",
	[EXIT.warnings]: "warnings",
	[EXIT.interrupted]: "interrupted",
};
const resultOf = (code: number): Exclude<RunResult, "running"> => RESULTS[code] ?? "failed";

async function finish(
	context: Context,
	catalog: Catalog | undefined,
	run: string | undefined,
	result: Exclude<RunResult, "running">,
	message: string | undefined,
	writes: boolean,
): Promise<void> {
	if (catalog === undefined || run === undefined) return;
	const noted = catalog;
	const words = await quietly(async () => {
		if (!hasOpenedNamed()) return noted.runs.end(run, result, message);
		const { SettingsStore } = await import("../repository/index.js");
		const store = await SettingsStore.open(repositoryPath(context), { key: await namedKey(context) });
		try {
			noted.runs.end(run, result, message, store.repository);
			await save(context, noted, store);
		} finally {
			await store.close();
		}
	});
	// A failed command has its own message; and what only reads works on media that cannot be written, too.
	if (words !== undefined && result !== "failed" && (writes || !words.readOnly))
		context.out.say(`hosts, plans and runs are not noted in the repository: ${words.line}`);
}

/** Writes settings into the repository that is named, if any and if its key is given; else the next backup does. */
export async function saveNamed(context: Context, catalog: Catalog): Promise<void> {
	if (!namesRepository(context)) return;
	const words = await quietly(async () => {
		const { SettingsStore } = await import("../repository/index.js");
		const store = await SettingsStore.open(repositoryPath(context), { key: await namedKey(context, false) });
		try {
			await save(context, catalog, store);
		} finally {
			await store.close();
		}
	});
	if (words !== undefined) context.out.say(`not noted in the repository yet, the next backup does it: ${words.line}`);
}

/** Writes settings into an open repository, and says what a person should know. */
async function save(
	context: Context,
	catalog: Catalog,
	store: import("../repository/index.js").SettingsStore,
): Promise<void> {
	const { saveSettings } = await import("../catalog/index.js");
	const { forked } = await saveSettings(catalogPlaces(context), catalog, store);
	if (forked)
		context.out.say(
			"another machine writes its settings under the id of this one (a copy, or the one that this was rebuilt from): this one has a new id now",
		);
}

/** Undefined when all went well, else why not. */
async function quietly(work: () => unknown): Promise<{ line: string; readOnly: boolean } | undefined> {
	try {
		await work();
		return undefined;
	} catch (error) {
		const { code } = error as { code?: string };
		return { line: errorLine(error), readOnly: code === "READ_ONLY" };
	}
}
