/** springback sessions */
import { existsSync } from "node:fs";
import type { SessionInfo } from "../../mountd/protocol.js";
import { sessionInfo } from "../../mountd/session-info.js";
import { SessionStore } from "../../mountd/session-store.js";
import type { Command, Context } from "../command.js";
import { EXIT, UsageError } from "../exit.js";
import { isEnding, runningMountds } from "../mountds.js";
import { bytes, localTime, table } from "../output.js";
import { statePath } from "../places.js";
import { duration, flag, positionals, text } from "../values.js";
import { watchSessions } from "../watch/watch.js";

const DEFAULT_INTERVAL_MS = 1000;

const command: Command = {
	summary: "lists sessions; shows them at work; takes one back from the trash",
	help: `springback sessions
  Lists open, parked and discarded sessions, and since when each holds data that is in no restore point.
springback sessions --watch [--interval 1s]
  Shows what clients do with the served sessions, again and again until Ctrl-C: requests and bytes per second,
  latencies, syncs, cache, memory. With --json one line each time.
  --interval T     100ms to a day (default 1s)
springback sessions restore NAME
  Takes a discarded session back from the trash; "publish --session NAME" continues it.`,
	options: { watch: { type: "boolean" }, interval: { type: "string" } },
	async run(context) {
		const [verb, name] = positionals(context, ["restore", "NAME"], 0);
		const interval = duration(context, "interval", DEFAULT_INTERVAL_MS);
		if (flag(context, "watch")) {
			if (verb !== undefined) throw new UsageError(`"${verb}": --watch takes no arguments`);
			await watchSessions(context, statePath(context), interval);
			return EXIT.ok;
		}
		if (text(context, "interval") !== undefined) throw new UsageError("--interval is for --watch");
		if (verb === undefined) return list(context);
		if (verb !== "restore" || name === undefined)
			throw new UsageError(`"sessions ${verb}": did you mean "sessions restore NAME"?`);
		const record = await new SessionStore(statePath(context)).restore(name);
		context.out.result(
			{ session: record.name, state: record.state },
			`${record.name} is back; continue it with: springback publish ${record.vm} --session ${record.name}`,
		);
		return EXIT.ok;
	},
};
export default command;

async function list(context: Context): Promise<number> {
	const infos = await collect(statePath(context));
	const rows = infos.map((s) => [
		s.session,
		s.state,
		s.vm,
		s.pointTime && localTime(s.pointTime),
		s.written === null ? "?" : bytes(s.written),
		s.unprotectedSince ? localTime(s.unprotectedSince) : "-",
		s.error ?? (s.expires ? `deleted ${localTime(s.expires)}` : ""),
	]);
	context.out.result(
		infos,
		rows.length ? table(["SESSION", "STATE", "VM", "POINT", "WRITTEN", "UNPROTECTED SINCE", ""], rows) : "no sessions",
	);
	return infos.some((info) => info.state === "failed") ? EXIT.warnings : EXIT.ok;
}

/** What is on disk, completed by what each mount process says of the sessions it serves. */
async function collect(state: string): Promise<SessionInfo[]> {
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
