/** `springback backup --session NAME` */
import { backupSession } from "../../backup/index.js";
import type { ControlClient } from "../../mountd/control-client.js";
import { SessionStore } from "../../mountd/session-store.js";
import type { Command, Context } from "../command.js";
import { EXIT, UsageError } from "../exit.js";
import { openNamed } from "../keys.js";
import { isEnding, runningMountds } from "../mountds.js";
import { bytes } from "../output.js";
import { statePath } from "../places.js";
import { text } from "../values.js";

export const SESSION_HELP: Command["help"] = `springback backup --session NAME [--as NAME]
  From a session that is served, a running recovery for instance: what it changed since its last restore point.`;

export async function backupFromSession(
	context: Context,
	name: string,
	more: { tags: string[]; compression?: string },
): Promise<number> {
	const { out, signal } = context;
	const stored = new SessionStore(statePath(context)).list().sessions.find(({ record }) => record.name === name);
	if (stored === undefined) throw new UsageError(`no session ${name}: springback sessions lists them`);
	const { uuid, vm, point, repositoryId } = stored.record;
	const socket = await servedOn(statePath(context), uuid);
	if (socket === undefined)
		throw new Error(`session ${name} is not served: continue it with springback publish ${vm} --session ${name}`);
	const repository = await openNamed(context);
	const bar = out.progress("backup");
	try {
		const report = await backupSession(repository, {
			...more,
			session: { name, uuid, repository: repositoryId, point },
			socket,
			as: text(context, "as"),
			progress: (p) => bar.update(p),
			signal,
		});
		bar.end();
		await tellProtected(statePath(context), uuid, report.until).catch((error: Error) =>
			out.say(`the mount process does not note that the session is protected: ${error.message}`),
		);
		const sum = (of: "read" | "new" | "stored") => report.disks.reduce((n, disk) => n + disk[of], 0);
		out.result(
			report,
			`${report.vm}@${report.point.slice(0, 8)}: ${report.consistency} consistent, changes since ${report.since.slice(0, 8)}, ` +
				`${bytes(sum("read"))} read, ${bytes(sum("new"))} new, ${bytes(sum("stored"))} stored, ${report.seconds.toFixed(1)} s`,
		);
		return EXIT.ok;
	} finally {
		bar.end();
		await repository.close();
	}
}

/** So that `sessions` shows since when it holds what is in no restore point. */
async function tellProtected(state: string, session: string, until: string): Promise<void> {
	await eachMountd(state, async (client) => {
		await client.call("protected", { session, until });
	});
}

/** The UNIX socket for NBD of the mount process that serves it; undefined when none does. */
async function servedOn(state: string, uuid: string): Promise<string | undefined> {
	let found: string | undefined;
	await eachMountd(state, async (client) => {
		const { nbdSocket } = await client.call("hello", {});
		const sessions = await client.call("sessions", {});
		if (sessions.some((info) => info.uuid === uuid && info.state === "open")) found ??= nbdSocket ?? undefined;
	});
	return found;
}

/** One that is just ending serves nothing any more. */
async function eachMountd(state: string, ask: (client: ControlClient) => Promise<void>): Promise<void> {
	for (const client of await runningMountds(state)) {
		try {
			await ask(client);
		} catch (error) {
			if (!isEnding(error)) throw error;
		} finally {
			client.end();
		}
	}
}
