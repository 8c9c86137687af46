/**
 * Everything as it was before this machine started again: mount processes where sessions were served, the processes
 * beside recoveries, and guests that stopped because their disks were away.
 */

import { SessionStore, type StoredSession } from "../mountd/session-store.js";
import { lastConfig } from "../mountd/start.js";
import type { World } from "../recovery/index.js";
import { unlockRepository } from "../repository/index.js";
import type { Context } from "./command.js";
import { errorLine } from "./exit.js";
import { keySource } from "./keys.js";
import { askMountd } from "./mountds.js";
import { statePath } from "./places.js";
import { protect } from "./protect.js";

export interface Resumed {
	/** by name, of those that were served; null: served again */
	sessions: { session: string; listen: string; error: string | null }[];
	/** that stood still, and go on */
	guests: { name: string; host: string }[];
	/** what could not be done beside that, one sentence each */
	warnings: string[];
}

export async function resume(context: Context, world: World): Promise<Resumed> {
	const done: Resumed = { sessions: [], guests: [], warnings: [] };
	const { sessions, broken } = new SessionStore(statePath(context)).list();
	for (const { directory, error } of broken) done.warnings.push(`${directory}: ${error}`);
	const wanted = sessions.filter(({ record }) => record.state === "open");
	for (const listen of new Set(wanted.map(({ record }) => record.listen)))
		for (const stored of wanted.filter(({ record }) => record.listen === listen)) {
			const error = await serveAgain(context, stored).then(() => null, errorLine);
			done.sessions.push({ session: stored.record.name, listen, error });
		}
	await resumeGuests(context, world, done);
	return done;
}

/** The first of an address starts its mount process, which takes up all it can; what it cannot is told here. */
async function serveAgain(context: Context, { record }: StoredSession): Promise<void> {
	const { name: session, vm, repository, listen } = record;
	const { client } = await askMountd(lastConfig(statePath(context), listen), async (client) => {
		const now = (await client.call("sessions", {})).find((one) => one.session === session);
		if (now?.state === "open") return;
		const unlocked = await unlockRepository(repository, keySource(context, false));
		const key = unlocked && { repository: unlocked.repository, master: unlocked.master.toString("hex") };
		const { clients, readOnly, privilegedPorts, sync, ownerUid } = record;
		await client.call("publish", {
			...{ spec: vm, session, repository, key, clients, readOnly, privilegedPorts, sync, ownerUid },
		});
	});
	client.end();
}

/** Those that wait for disks which are served again. */
async function resumeGuests(context: Context, world: World, done: Resumed): Promise<void> {
	for (const record of world.records.list()) {
		if (record.phase !== "ready" || record.migration?.finished != null) continue;
		const served = done.sessions.find(({ session }) => session === record.session);
		if (served === undefined || served.error !== null) continue;
		try {
			const named = world.host(record.host);
			const host = await named.open();
			await protect(context, record, host.stoppedByDisk && named);
			if ((await host.stoppedByDisk?.(record.id)) !== true) continue;
			await host.power(record.id, "resume");
			done.guests.push({ name: record.name, host: record.host });
		} catch (error) {
			done.warnings.push(`${record.name} on ${record.host}: ${errorLine(error)}`);
		}
	}
}
