/** Brings hosts, plans and catalogue back from a repository, onto a machine that has nothing else. */
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { sys } from "../../native/index.js";
import { Catalog } from "./catalog.js";
import { hostsOf, readHostsText, readPlans, writeHostsText, writePlan } from "./documents.js";
import { CatalogError, causeOf } from "./errors.js";
import { withLock } from "./file-lock.js";
import type { CatalogPaths } from "./paths.js";
import type { SettingsContent, SettingsObject, SettingsRepository } from "./settings.js";
import { readStateId, writeStateId } from "./state-id.js";

export interface RestoreResult {
	state: string;
	/** machine that wrote them, and when (UTC) */
	host: string;
	at: string;
	hosts: number;
	plans: number;
	runs: number;
	/** newer objects that are damaged */
	bad: { file: string; why: string }[];
	/** files that were in the way, by their new names */
	setAside: string[];
}

export interface RestoreOptions {
	/** the state's id or its first digits, or the name of its machine */
	from?: string;
	/** replaces hosts and plans that are here and differ; they are kept under other names */
	overwrite?: boolean;
	now?: () => Date;
}

/** The newest good settings of each state in a repository, newest first; and what is damaged. */
export const settingsOf = async (
	store: SettingsRepository,
): Promise<{ found: SettingsObject[]; bad: { file: string; state: string; why: string }[] }> => {
	const found = new Map<string, SettingsObject>();
	const bad: { file: string; state: string; why: string }[] = [];
	for (const name of await store.names()) {
		if (found.has(name.state)) continue;
		try {
			found.set(name.state, await store.read(name));
		} catch (error) {
			bad.push({ file: name.file, state: name.state, why: causeOf(error) });
		}
	}
	return { found: [...found.values()].sort((a, b) => (a.at < b.at ? 1 : -1)), bad };
};

/** Safe to run again after a crash: files that are there already as they should be are left alone. */
export const restoreSettings = async (
	paths: CatalogPaths,
	store: SettingsRepository,
	options: RestoreOptions = {},
): Promise<RestoreResult> => {
	const now = options.now ?? (() => new Date());
	const { found, bad } = await settingsOf(store);
	const chosen = choose(found, options.from ?? readStateId(paths.stateId), options.from !== undefined, store, bad);
	const content = contentOf(chosen, store);
	for (const folder of [paths.state, paths.config]) mkdirSync(folder, { recursive: true, mode: 0o755 });
	return withLock(paths.settingsLock, async () => {
		const setAside = makeRoom(paths, content, options.overwrite === true, now());
		for (const [name, text] of Object.entries(content.plans)) writePlan(paths, name, text);
		if (content.hosts !== null) writeHostsText(paths, content.hosts);
		const catalog = await Catalog.open(paths, now);
		try {
			catalog.runs.restore(content.runs);
			catalog.restoreDocuments(content.documents);
			catalog.notePut(store.repository, { object: chosen.id, intent: chosen.id, digest: "" });
		} finally {
			catalog.close();
		}
		writeStateId(paths.stateId, chosen.state);
		return {
			state: chosen.state,
			host: chosen.host,
			at: chosen.at,
			hosts: content.hosts === null ? 0 : hostCount(content.hosts, paths.hosts),
			plans: Object.keys(content.plans).length,
			runs: content.runs.length,
			bad: bad.filter(({ state }) => state === chosen.state),
			setAside,
		};
	});
};

const hostCount = (text: string, path: string): number => {
	try {
		return hostsOf(text, path).size;
	} catch {
		return 0;
	}
};

const choose = (
	found: SettingsObject[],
	wanted: string | undefined,
	must: boolean,
	{ place }: SettingsRepository,
	bad: { file: string; why: string }[],
): SettingsObject => {
	const matching = found.filter(
		({ state, host }) => wanted !== undefined && (state.startsWith(wanted) || host === wanted),
	);
	const candidates = matching.length > 0 || must ? matching : found;
	if (candidates.length === 1) return candidates[0];
	if (candidates.length > 1)
		throw new CatalogError(
			"AMBIGUOUS",
			`${place} holds settings of ${candidates.length} servers: choose with --from: ${candidates
				.map(({ state, host, at }) => `${state.slice(0, 8)} (${host}, ${at})`)
				.join(", ")}`,
		);
	if (must && found.length > 0)
		throw new CatalogError(
			"NOT_FOUND",
			`${place} holds no settings of ${wanted}: it has ${found.map(({ state, host }) => `${state.slice(0, 8)} (${host})`).join(", ")}`,
		);
	const [damaged] = bad;
	throw damaged === undefined
		? new CatalogError("NOT_FOUND", `${place} holds no settings: nothing was ever written there by hosts or a backup`)
		: new CatalogError("DAMAGED", `all settings in ${place} are damaged: ${damaged.why}`);
};

const contentOf = ({ file, content }: SettingsObject, { place }: SettingsRepository): SettingsContent => {
	const { version, hosts = null, plans = {}, runs = [], documents = [] } = content as Partial<SettingsContent>;
	if (version !== 1)
		throw new CatalogError("NEWER_FORMAT", `${place}/${file} was written by a newer springback: install that one`);
	return { version, hosts, plans, runs, documents };
};

/** Moves what differs out of the way, or refuses. Returns the new names. */
const makeRoom = (paths: CatalogPaths, content: SettingsContent, overwrite: boolean, now: Date): string[] => {
	const here = readPlans(paths);
	const differing = Object.entries(content.plans)
		.filter(([name, text]) => here.has(name) && here.get(name) !== text)
		.map(([name]) => join(paths.plans, `${name}.yaml`));
	const hosts = readHostsText(paths);
	if (content.hosts !== null && hosts !== undefined && hosts !== content.hosts) differing.push(paths.hosts);
	if (differing.length > 0 && !overwrite)
		throw new CatalogError(
			"NOT_EMPTY",
			`${differing[0]} is here already and differs: give --overwrite (it is then kept under another name)`,
		);
	return differing.map((path) => {
		const wanted = `${path}.before-${now.toISOString().replaceAll(/[:.]/g, "")}`;
		let aside = wanted;
		for (let n = 2; existsSync(aside); n++) aside = `${wanted}-${n}`;
		sys.rename(path, aside);
		return aside;
	});
};
