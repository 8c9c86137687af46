/** Hosts, plans and catalogue into a repository after every change (docs/format.md, 9.1). */
import { createHash, randomBytes } from "node:crypto";
import { hostname } from "node:os";
import type { Catalog, DocumentNote } from "./catalog.js";
import { hostsOf, readHostsText, readPlans } from "./documents.js";
import { withLock } from "./file-lock.js";
import type { CatalogPaths } from "./paths.js";
import type { Run } from "./runs.js";
import { newStateId, readStateId } from "./state-id.js";

/** Runs that go into a repository: an object is written after each, so it must stay small. */
export const RUNS_IN_SETTINGS = 1_000;

interface ObjectName {
	file: string;
	state: string;
	sequence: number;
	id: string;
}

export interface SettingsObject extends ObjectName {
	/** UTC */
	at: string;
	host: string;
	content: unknown;
}

/** What is needed of a repository; `SettingsStore` of repository/ is one. */
export interface SettingsRepository {
	/** its id */
	readonly repository: string;
	/** for messages: where it is */
	readonly place: string;
	/** newest first within a state */
	names(): Promise<ObjectName[]>;
	/** rejects when the object is damaged */
	read(name: ObjectName): Promise<SettingsObject>;
	put(object: Omit<SettingsObject, "file" | "sequence">): Promise<ObjectName>;
}

/** What a settings object holds. Fields are only ever added. */
export interface SettingsContent {
	version: 1;
	/** text of hosts.yaml */
	hosts: string | null;
	/** texts of plans/NAME.yaml */
	plans: Record<string, string>;
	/** newest first */
	runs: Run[];
	documents: DocumentNote[];
}

export interface SaveResult {
	/** false: the repository had it already */
	written: boolean;
	/** somebody else wrote as this state: it got an id of its own */
	forked: boolean;
}

/** Writes what changed since the last time; durable when it resolves. */
export const saveSettings = (
	paths: CatalogPaths,
	catalog: Catalog,
	store: SettingsRepository,
	now: () => Date = () => new Date(),
): Promise<SaveResult> =>
	// One at a time, from reading the files on: else older content could be put as the newest.
	withLock(paths.settingsLock, async () => {
		noteChanges(paths, catalog, null);
		const content = collect(paths, catalog);
		const digest = createHash("sha256").update(JSON.stringify(content)).digest("hex");
		let state = readStateId(paths.stateId) ?? newStateId(paths.stateId);
		const newest = (await store.names()).find((name) => name.state === state);
		const last = catalog.lastPut(store.repository);
		// A clone of this state, or the machine that this one was rebuilt from, still writes: both must keep what is theirs.
		const forked = last !== undefined && newest !== undefined && ![last.object, last.intent].includes(newest.id);
		if (forked) state = newStateId(paths.stateId);
		else if (last !== undefined && newest?.id === last.object && last.digest === digest)
			return { written: false, forked };
		const id = randomBytes(16).toString("hex");
		// Noted before, so that after a crash right behind the put the object is known to be ours.
		catalog.notePut(store.repository, { object: last?.object ?? id, intent: id, digest: "" });
		await store.put({ id, state, at: now().toISOString(), host: hostname(), content });
		catalog.notePut(store.repository, { object: id, intent: id, digest });
		return { written: true, forked };
	});

/** Takes the documents as they are into the catalogue. `by`: who changed them; null: found changed. */
export const noteChanges = (paths: CatalogPaths, catalog: Catalog, by: string | null): void => {
	catalog.noteDocuments("plan", readPlans(paths), by);
	let hosts: ReturnType<typeof hostsOf>;
	try {
		hosts = hostsOf(readHostsText(paths) ?? "", paths.hosts);
	} catch {
		// Whoever edits it is told when he uses it; the text as it is goes into the repository.
		return;
	}
	catalog.noteDocuments("host", new Map([...hosts].map(([name, host]) => [name, JSON.stringify(host)])), by);
};

const collect = (paths: CatalogPaths, catalog: Catalog): SettingsContent => ({
	version: 1,
	hosts: readHostsText(paths) ?? null,
	plans: Object.fromEntries(readPlans(paths)),
	runs: catalog.runs.list(RUNS_IN_SETTINGS),
	documents: [...catalog.documents("host"), ...catalog.documents("plan")],
});
