/** Where the repository and the state are, from options, environment and account. */
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { type CatalogPaths, catalogPaths } from "../catalog/paths.js";
import type { Context } from "./command.js";
import { UsageError } from "./exit.js";

export function repositoryPath({ values }: Context): string {
	const path = (values.repo as string | undefined) ?? process.env.SPRINGBACK_REPO;
	if (!path) throw new UsageError("no repository named: use --repo DIR or set SPRINGBACK_REPO");
	return resolve(path);
}

/** Whether a repository is named at all. */
export const namesRepository = ({ values }: Context): boolean =>
	Boolean((values.repo as string | undefined) ?? process.env.SPRINGBACK_REPO);

/** `/var/lib/springback` for root, XDG_STATE_HOME/springback otherwise. */
export function statePath({ values }: Context): string {
	const path = (values.state as string | undefined) ?? process.env.SPRINGBACK_STATE;
	if (path) return resolve(path);
	if (process.getuid?.() === 0) return "/var/lib/springback";
	return join(process.env.XDG_STATE_HOME || join(homedir(), ".local", "state"), "springback");
}

/** `/etc/springback` for root, XDG_CONFIG_HOME/springback otherwise; in the state directory where that is named. */
export function configPath({ values }: Context): string {
	const state = (values.state as string | undefined) ?? process.env.SPRINGBACK_STATE;
	if (state) return join(resolve(state), "config");
	if (process.getuid?.() === 0) return "/etc/springback";
	return join(process.env.XDG_CONFIG_HOME || join(homedir(), ".config"), "springback");
}

/** Where hosts, plans and catalogue are. */
export function catalogPlaces(context: Context): CatalogPaths {
	return catalogPaths(statePath(context), configPath(context));
}
