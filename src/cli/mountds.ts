/** The mount processes of a state directory (one per listening address), and how they are asked. */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { MountdConfig } from "../mountd/config.js";
import { ControlClient } from "../mountd/control-client.js";
import { findOrStartMountd } from "../mountd/start.js";

/** Connects to every one that runs. The caller ends the connections. */
export async function runningMountds(state: string): Promise<ControlClient[]> {
	if (!existsSync(state)) return [];
	const clients: ControlClient[] = [];
	for (const name of readdirSync(state)) {
		if (!/^mountd-.*\.sock$/.test(name)) continue;
		const client = await ControlClient.connect(join(state, name));
		if (client) clients.push(client);
	}
	return clients;
}

const ASK_TRIES = 50;
const ASK_AGAIN_MS = 100;

/** Asks the mount process, started if need be. One that is just ending is not the one to ask: the next one is. */
export async function askMountd<T>(
	config: MountdConfig,
	ask: (client: ControlClient) => Promise<T>,
): Promise<{ client: ControlClient; result: T }> {
	for (let tries = 1; ; tries++) {
		const client = await findOrStartMountd(config);
		try {
			return { client, result: await ask(client) };
		} catch (error) {
			client.end();
			if (!isEnding(error) || tries === ASK_TRIES) throw error;
			await new Promise((resolve) => setTimeout(resolve, ASK_AGAIN_MS));
		}
	}
}

/** The mount process ended before it answered. */
export function isEnding(error: unknown): boolean {
	const { code } = error as { code?: string };
	return code === "ENDING" || code === "GONE";
}
