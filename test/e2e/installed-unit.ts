/** What scripts/springback.service starts, run as systemd would: without a terminal, and from this checkout. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { type Run, run } from "./workspace.js";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));

/** @param env places of the session's directories, and where its passphrase is */
export function startUnit(env: NodeJS.ProcessEnv): Promise<Run> {
	const unit = readFileSync(`${ROOT}scripts/springback.service`, "utf8").replaceAll("/opt/springback/", ROOT);
	const command = /^ExecStart=(.+)$/m.exec(unit)![1].split(" ");
	const { NODE_OPTIONS: _, ...rest } = env;
	return run("setsid", ["--wait", ...command, "--json"], rest);
}
