/** The copy of `springback.json` that a repository carries (docs/format.md, 4): a record, so that damage shows. */
import { createHash } from "node:crypto";
import { decodeRecord, encodeRecord } from "../../native/index.js";
import { type Config, decodeConfig } from "./config.js";
import { causeOf, codeOf } from "./errors.js";
import { CODEC, isId, TYPE } from "./layout.js";
import { readConfig } from "./read-config.js";
import type { Store } from "./store.js";

export const CONFIG_COPIES = "config";
/** Named after the repository: a copy that belongs to another one is told apart. */
export const configCopyName = (repository: string): string => `${CONFIG_COPIES}/${repository}`;

export interface ConfigCopy {
	/** the bytes of springback.json */
	text: string;
	config: Config;
}

export interface ConfigCopies {
	good: ConfigCopy[];
	/** file and what is wrong with it */
	bad: Map<string, string>;
}

/** Puts the copy where there is none: at init, and by the first writer of a repository that was made without. */
export const keepConfigCopy = async (store: Store, repository: string): Promise<void> => {
	const name = configCopyName(repository);
	if ((await store.size(name)) !== undefined) return;
	const text = Buffer.from(await readConfig(store));
	// What is wrong must not be copied.
	if (decodeConfig(text.toString(), store.place).id !== repository) return;
	const identity = createHash("sha256").update(text).digest();
	try {
		await store.put(name, encodeRecord(text, identity, TYPE.object, CODEC.raw));
	} catch (error) {
		if (codeOf(error) !== "EEXIST") throw error;
	}
};

/** All copies that there are; one is expected. */
export const readConfigCopies = async (store: Store): Promise<ConfigCopies> => {
	const copies: ConfigCopies = { good: [], bad: new Map() };
	for (const id of (await store.list(CONFIG_COPIES)).filter(isId)) {
		const name = configCopyName(id);
		try {
			const bytes = await store.read(name, 0, (await store.size(name)) ?? 0);
			const text = decodeRecord(bytes, null, TYPE.object);
			if (!createHash("sha256").update(text).digest().equals(bytes.subarray(24, 56)))
				throw new Error("SHA-256 differs");
			const config = decodeConfig(text.toString(), store.place);
			if (config.id !== id) throw new Error("it is of another repository");
			copies.good.push({ text: text.toString(), config });
		} catch (error) {
			copies.bad.set(name, causeOf(error));
		}
	}
	return copies;
};
