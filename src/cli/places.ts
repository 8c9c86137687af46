/** Where the repository and the state are, from options, environment and account. */
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import type { Context } from "./command.js";
import { UsageError } from "./exit.js";

export function repositoryPath({ values }: Context): string {
	const path = (values.repo as string | undefined) ?? process.env.SPRINGBACK_REPO;
	if (!path) throw new UsageError("no repository named: use --repo DIR or set SPRINGBACK_REPO");
	return resolve(path);
}

/** `/var/lib/springback` for root, XDG_STATE_HOME/springback otherwise. */
export function statePath({ values }: Context): string {
	const path = (values.state as string | undefined) ?? process.env.SPRINGBACK_STATE;
	if (path) return resolve(path);
	if (process.getuid?.() === 0) return "/var/lib/springback";
	return join(process.env.XDG_STATE_HOME || join(homedir(), ".local", "state"), "springback");
}
