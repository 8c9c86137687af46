/** Where this room's files lie: what people write under the configuration directory, the rest under the state directory. */
import { join } from "node:path";

export interface CatalogPaths {
	state: string;
	config: string;
	/** SQLite; `-wal` and `-shm` beside it */
	database: string;
	/** held while the database is replaced */
	databaseLock: string;
	/** 32 hex digits: whose settings these are in a repository that several servers use */
	stateId: string;
	/** held while settings are written into a repository */
	settingsLock: string;
	hosts: string;
	plans: string;
	/** held while a document is changed */
	configLock: string;
}

export const catalogPaths = (state: string, config: string): CatalogPaths => ({
	state,
	config,
	database: join(state, "catalog.sqlite"),
	databaseLock: join(state, "catalog.lock"),
	stateId: join(state, "state-id"),
	settingsLock: join(state, "settings.lock"),
	hosts: join(config, "hosts.yaml"),
	plans: join(config, "plans"),
	configLock: join(config, ".lock"),
});
