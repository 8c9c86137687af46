/** Finds springback.json, with one clear error for every place that has none. */
import { stat } from "node:fs/promises";
import { RepositoryError } from "./contract.js";
import { CONFIG } from "./layout.js";
import type { Store } from "./store.js";

/** The text of springback.json. Rejects with RepositoryError NOT_FOUND or NOT_A_REPOSITORY, or as the store does. */
export const readConfig = async (store: Store): Promise<string> => {
	const { place } = store;
	const size = await store.size(CONFIG);
	if (size !== undefined) return (await store.read(CONFIG, 0, size)).toString();
	const kind = await stat(place).catch(() => undefined);
	if (kind === undefined)
		throw new RepositoryError(
			"NOT_FOUND",
			`no repository at ${place}: mount the disk it is on, or make a new one with springback init`,
		);
	for (const folder of ["packs", "config"])
		if ((await store.list(folder)).length > 0)
			throw new RepositoryError(
				"NOT_A_REPOSITORY",
				`${place} has ${folder} of a repository that lost its ${CONFIG}: springback rebuild restores it`,
			);
	throw new RepositoryError(
		"NOT_A_REPOSITORY",
		`${place} is not a springback repository (it has no ${CONFIG}): make one with springback init, in an empty directory`,
	);
};
