/**
 * Settings of the servers that use a repository (docs/format.md, 9.1): hosts, plans, catalogue, so that a machine which
 * has only the repository and its key gets them back. What is in them is opaque here. Needs no index, so it works
 * where that is lost, too.
 */
import { randomBytes } from "node:crypto";
import { resolve } from "node:path";
import { type Config, decodeConfig } from "./config.js";
import { type KeySource, RepositoryError } from "./contract.js";
import { causeOf, codeOf, storeError } from "./errors.js";
import { FileStore } from "./file-store.js";
import type { Keyring } from "./keyring.js";
import { isId } from "./layout.js";
import { decodeObjectFile, encodeObjectFile } from "./object-file.js";
import { readConfig } from "./read-config.js";
import type { Store } from "./store.js";
import { openKeyring } from "./unlock.js";

/** Objects kept for each state: should the newest be damaged, there are others. */
export const SETTINGS_KEPT = 5;
const FOLDER = "settings";
/** Larger ones are not written and not read. */
const MAX_BYTES = 64 * 1024 * 1024;
const NAME = /^([0-9a-f]{32})-([0-9a-f]{12})-([0-9a-f]{32})$/;

/** What the name of a settings object tells. */
export interface SettingsName {
	/** in the repository, relative */
	file: string;
	/** 32 hex digits: whose settings; a random id of a state directory */
	state: string;
	/** higher is newer, within a state */
	sequence: number;
	/** 32 hex digits, new for each object */
	id: string;
}

export interface Settings extends SettingsName {
	/** UTC */
	at: string;
	/** name of the machine that wrote it */
	host: string;
	content: unknown;
}

export const settingsName = (name: string): SettingsName | undefined => {
	const match = NAME.exec(name);
	if (match === null) return undefined;
	return { file: `${FOLDER}/${name}`, state: match[1], sequence: Number.parseInt(match[2], 16), id: match[3] };
};

/** Names of all settings objects, newest first within a state. */
export const listSettings = async (store: Store): Promise<SettingsName[]> => {
	const names = (await store.list(FOLDER)).map(settingsName).filter((name) => name !== undefined);
	return names.sort((a, b) => b.sequence - a.sequence || (a.id < b.id ? 1 : -1));
};

/** Verifies and parses; throws an Error that says what is wrong. */
export const readSettings = async (store: Store, name: SettingsName, keyring: Keyring): Promise<Settings> => {
	const size = (await store.size(name.file)) ?? 0;
	if (size > MAX_BYTES) throw new Error("it is too large");
	const bytes = await store.read(name.file, 0, size);
	const found = JSON.parse(decodeObjectFile(name.id, bytes, keyring).toString());
	const { kind, version, id, state, sequence, at, host, content } = found;
	if (kind !== "settings" || version !== 1) throw new Error("not settings of this version");
	if (id !== name.id || state !== name.state || sequence !== name.sequence) throw new Error("it is another object");
	return { ...name, at: new Date(at).toISOString(), host: String(host), content };
};

export class SettingsStore {
	readonly #store: Store;
	readonly #config: Config;
	readonly #keyring: Keyring;

	private constructor(store: Store, config: Config, keyring: Keyring) {
		this.#store = store;
		this.#config = config;
		this.#keyring = keyring;
	}

	/** Rejects with RepositoryError as openRepository does. */
	static async open(path: string, options: { key?: KeySource } = {}): Promise<SettingsStore> {
		const place = resolve(path);
		const store = new FileStore(place, randomBytes, 1);
		try {
			const config = decodeConfig(await readConfig(store), place);
			return new SettingsStore(store, config, await openKeyring(store, config, options.key));
		} catch (error) {
			await store.close();
			throw storeError(error, place, "opening the repository");
		}
	}

	/** id of the repository */
	get repository(): string {
		return this.#config.id;
	}

	/** for messages: where it is */
	get place(): string {
		return this.#store.place;
	}

	async names(): Promise<SettingsName[]> {
		return listSettings(this.#store);
	}

	/** Rejects with RepositoryError DAMAGED, or UNKNOWN_POINT when it is gone. */
	async read(name: SettingsName): Promise<Settings> {
		try {
			return await readSettings(this.#store, name, this.#keyring);
		} catch (error) {
			throw new RepositoryError("DAMAGED", `${this.place}/${name.file} is damaged: ${causeOf(error)}`, {
				cause: error,
			});
		}
	}

	/**
	 * Puts a state's settings, durable when it resolves, as its newest; then removes those beyond SETTINGS_KEPT. One
	 * writer per state at a time: the caller sees to that. `id`: 32 random hex digits.
	 */
	async put({ id, state, at, host, content }: Omit<Settings, "file" | "sequence">): Promise<SettingsName> {
		if (!isId(id) || !isId(state)) throw new RangeError("ids have 32 hex digits");
		if (this.#config.features.readCompatible.length > 0)
			throw new RepositoryError(
				"READ_ONLY",
				`${this.place} uses ${this.#config.features.readCompatible.join(", ")}: this program can only read it`,
			);
		try {
			const older = (await this.names()).filter((name) => name.state === state);
			const sequence = (older[0]?.sequence ?? 0) + 1;
			const document = { kind: "settings", version: 1, id, state, sequence, at: Date.parse(at), host, content };
			const plain = Buffer.from(JSON.stringify(document));
			if (plain.length > MAX_BYTES) throw new Error("the settings are larger than 64 MiB");
			const name = settingsName(`${state}-${sequence.toString(16).padStart(12, "0")}-${id}`)!;
			await this.#store.put(name.file, encodeObjectFile(id, plain, this.#keyring));
			for (const { file } of older.slice(SETTINGS_KEPT - 1)) await this.#store.remove(file);
			return name;
		} catch (error) {
			throw storeError(error, this.place, "writing settings");
		}
	}

	async close(): Promise<void> {
		await this.#store.close();
	}
}

/** Files in `settings/` that are damaged, with the reason; for `check`. */
export const checkSettings = async (store: Store, keyring: Keyring): Promise<{ file: string; why: string }[]> => {
	const bad: { file: string; why: string }[] = [];
	for (const name of await listSettings(store)) {
		try {
			await readSettings(store, name, keyring);
		} catch (error) {
			// Removed meanwhile by whoever wrote a newer one.
			if (codeOf(error) !== "ENOENT" && (await store.size(name.file)) !== undefined)
				bad.push({ file: name.file, why: causeOf(error) });
		}
	}
	return bad;
};
