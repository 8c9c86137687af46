/**
 * Faults in a mount process that runs as users run it: rules of the addon's fault layer, set and cleared from outside
 * while it serves.
 */
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { connect } from "node:net";
import { fileURLToPath } from "node:url";
import type { FaultRule } from "../../native/index.js";

const CONTROL = fileURLToPath(new URL("./fault-control.js", import.meta.url));

/** Environment of the command that starts the mount process. @param socket path for `setFaults`, at most 107 bytes */
export const faultEnvironment = (socket: string): Record<string, string> => ({
	NODE_OPTIONS: `--import=${CONTROL}`,
	SPRINGBACK_LAB_FAULTS: socket,
});

/** Replaces the rules; none heals everything, also calls that are held up. Resolves when they are
 * in force; a mount process that is started again has them from its beginning. */
export async function setFaults(socket: string, rules: FaultRule[]): Promise<void> {
	writeFileSync(`${socket}.rules`, JSON.stringify(rules));
	const connection = connect({ path: socket, allowHalfOpen: true });
	let answer = "";
	connection.setEncoding("utf8").on("data", (part: string) => {
		answer += part;
	});
	connection.end(JSON.stringify(rules));
	await once(connection, "close");
	if (answer !== "set") throw new Error(`${socket}: the mount process did not take the rules`);
}
