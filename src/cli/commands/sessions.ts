/** springback sessions */
import { SessionStore } from "../../mountd/session-store.js";
import type { RecoveryRecord } from "../../recovery/index.js";
import type { Command, Context } from "../command.js";
import { EXIT, UsageError } from "../exit.js";
import { bytes, localTime, table } from "../output.js";
import { statePath } from "../places.js";
import { inWorld, recordsOf } from "../recovering.js";
import { type Resumed, resume } from "../resume.js";
import { collectSessions } from "../session-list.js";
import { duration, flag, positionals, text } from "../values.js";
import { watchSessions } from "../watch/watch.js";

const DEFAULT_INTERVAL_MS = 1000;

const command: Command = {
	summary: "lists sessions; shows them at work; serves them again; takes one back from the trash",
	help: `springback sessions
  Lists open, parked and discarded sessions, and since when each holds data that is in no restore point.
springback sessions --watch [--interval 1s]
  Shows what clients do with the served sessions, again and again until Ctrl-C: requests and bytes per second,
  latencies, syncs, cache, memory. With --json one line each time.
  --interval T     100ms to a day (default 1s)
springback sessions resume
  Serves again what was served before this machine started anew, and lets guests go on that wait for it. What is served
  is left alone. Exit 4 when a session could not be served. scripts/springback.service does this at every start.
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
		if (verb === "resume" && name === undefined)
			return reportResumed(context, await inWorld(context, {}, (world) => resume(context, world)));
		if (verb !== "restore" || name === undefined)
			throw new UsageError(`"sessions ${verb}": did you mean "sessions resume", or "sessions restore NAME"?`);
		const record = await new SessionStore(statePath(context)).restore(name);
		context.out.result(
			{ session: record.name, state: record.state },
			`${record.name} is back; continue it with: springback publish ${record.vm} --session ${record.name}`,
		);
		return EXIT.ok;
	},
};
export default command;

function reportResumed(context: Context, done: Resumed): number {
	const { sessions, guests, warnings } = done;
	context.out.result(
		done,
		[
			...sessions.map(({ session, listen, error }) => `${session}: ${error ?? `served on ${listen}`}`),
			...guests.map(({ name, host }) => `${name} on ${host} goes on`),
			...warnings.map((line) => `warning: ${line}`),
			...(sessions.length === 0 ? ["no session is to be served"] : []),
		].join("\n"),
	);
	return warnings.length > 0 || sessions.some(({ error }) => error !== null) ? EXIT.warnings : EXIT.ok;
}

async function list(context: Context): Promise<number> {
	const records = recordsOf(context);
	const infos = (await collectSessions(statePath(context))).map((info) => {
		const record = info.state === "trash" ? undefined : records.find(info.session);
		return record === undefined ? info : { ...info, recovery: recoveryOf(record) };
	});
	const rows = infos.map((s) => [
		s.session,
		s.state,
		"recovery" in s ? `${s.vm} on ${s.recovery.host}` : s.vm,
		s.pointTime && localTime(s.pointTime),
		s.written === null ? "?" : bytes(s.written),
		s.unprotectedSince ? `${localTime(s.unprotectedSince)} (${span(s.unprotectedSince)})` : "-",
		s.error ??
			("recovery" in s ? recoveryWords(s.recovery) : undefined) ??
			(s.expires ? `deleted ${localTime(s.expires)}` : ""),
	]);
	context.out.result(
		infos,
		rows.length ? table(["SESSION", "STATE", "VM", "POINT", "WRITTEN", "UNPROTECTED SINCE", ""], rows) : "no sessions",
	);
	return infos.some((info) => info.state === "failed") ? EXIT.warnings : EXIT.ok;
}

interface RecoveryInfo {
	host: string;
	/** on the host */
	name: string;
	id: string;
	/** "ready" once all was done; else what a run that ended was doing */
	phase: string;
	/** where its storage went; null: it still depends on this session */
	migratedTo: string | null;
}

function recoveryOf({ host, name, id, phase, migration }: RecoveryRecord): RecoveryInfo {
	return { host, name, id, phase, migratedTo: migration?.finished == null ? null : migration.to };
}

function recoveryWords({ name, phase, migratedTo }: RecoveryInfo): string {
	if (migratedTo !== null) return `${name} is on ${migratedTo}: finish frees this`;
	return phase === "ready" ? `runs as ${name}` : `not complete (${phase}): recover again, or finish`;
}

/** "3 h 20 min" until now */
function span(since: string): string {
	const minutes = Math.max(0, Math.floor((Date.now() - Date.parse(since)) / 60_000));
	if (minutes < 60) return `${minutes} min`;
	const hours = Math.floor(minutes / 60);
	return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} days`;
}
