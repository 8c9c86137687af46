/** All sessions of a state directory, as `sessions` shows them. */
import { existsSync } from "node:fs";
import type { SessionInfo } from "../mountd/protocol.js";
import { sessionInfo } from "../mountd/session-info.js";
import { SessionStore } from "../mountd/session-store.js";
import { isEnding, runningMountds } from "./mountds.js";

/** What is on disk, completed by what each mount process says of the sessions it serves. */
export async function collectSessions(state: string): Promise<SessionInfo[]> {
	if (!existsSync(state)) return [];
	const live = new Map<string, SessionInfo>();
	for (const client of await runningMountds(state)) {
		try {
			const { pid } = await client.call("hello", {});
			for (const info of await client.call("sessions", {}))
				if (info.state === "open" || (info.state === "failed" && info.uuid)) live.set(info.uuid, { ...info, pid });
		} catch (error) {
			// It was just ending: what it served is on disk.
			if (!isEnding(error)) throw error;
		} finally {
			client.end();
		}
	}
	return sessionInfo(new SessionStore(state), (record) => {
		const served = live.get(record.uuid);
		if (served) return served;
		if (record.state !== "open") return undefined;
		return {
			state: "failed",
			error: `not served: its mount process is not running; continue it with: springback publish ${record.vm} --session ${record.name}`,
		};
	});
}
