/** springback finish */
import { createInterface } from "node:readline/promises";
import type { FinishParams, FinishResult } from "../../mountd/protocol.js";
import { SessionStore, TRASH_DAYS } from "../../mountd/session-store.js";
import { lastConfig } from "../../mountd/start.js";
import { finishRecovery } from "../../recovery/index.js";
import type { Command, Context } from "../command.js";
import { EXIT, UsageError } from "../exit.js";
import { askMountd } from "../mountds.js";
import { bytes, localTime } from "../output.js";
import { statePath } from "../places.js";
import { inWorld, recordsOf } from "../recovering.js";
import { flag, positionals, text } from "../values.js";

const command: Command = {
	summary: "ends a session: keeps or discards what was written",
	help: `springback finish SESSION [--keep | --discard [--confirm SESSION]]
  Without an option only a session to which nothing was written is ended, or one whose VM has migrated. Of a recovery the
  VM is taken from its host, too; one that was interrupted is undone.
  --keep             stop serving, keep the writes; "publish --session" continues it
  --discard          move the writes to the trash, for ${TRASH_DAYS} days ("sessions restore" takes them back)
  --confirm SESSION  the name again, wanted by --discard (asked for on a terminal)
  --host-gone        the recovery's host is no more: nothing is done there
  Refused while a client still uses the session: power the VM off first.`,
	options: {
		"host-gone": { type: "boolean" },
		keep: { type: "boolean" },
		discard: { type: "boolean" },
		confirm: { type: "string" },
	},
	async run(context) {
		const [session] = positionals(context, ["SESSION"]);
		if (flag(context, "keep") && flag(context, "discard"))
			throw new UsageError("--keep and --discard exclude each other");
		const how = flag(context, "keep") ? "keep" : flag(context, "discard") ? "discard" : "auto";
		const confirm = text(context, "confirm") ?? (how === "discard" ? await askName(session) : undefined);
		if (recordsOf(context).find(session) !== undefined)
			return finishRecovered(context, session, { how, confirm, hostGone: flag(context, "host-gone") });
		if (flag(context, "host-gone")) throw new UsageError(`--host-gone: session ${session} is of no recovery`);
		const result = await finish(context, { session, how, confirm });
		context.out.result(result, describe(result));
		return EXIT.ok;
	},
};
export default command;

async function finish(context: Context, params: FinishParams): Promise<FinishResult> {
	const state = statePath(context);
	const stored = new SessionStore(state).find(params.session);
	if (!stored) throw new Error(`no session "${params.session}"; "springback sessions" lists them`);
	const { client, result } = await askMountd(lastConfig(state, stored.record.listen), (client) =>
		client.call("finish", params),
	);
	client.end();
	return result;
}

async function finishRecovered(
	context: Context,
	session: string,
	request: { how: "keep" | "discard" | "auto"; confirm?: string; hostGone: boolean },
): Promise<number> {
	const {
		record,
		session: ended,
		moved,
	} = await inWorld(context, {}, (world) => finishRecovery(session, request, world));
	const { host, name } = record;
	const vm = moved ? `${name} goes on, on ${record.migration?.to}` : `${name} is no longer on ${host}`;
	const facts = ended === undefined ? "the session is gone" : describe({ session, ...ended });
	context.out.result({ session, ...(ended ?? { outcome: "removed" }), host, name, moved }, `${vm}; ${facts}`);
	return EXIT.ok;
}

async function askName(session: string): Promise<string | undefined> {
	if (!process.stdin.isTTY || !process.stderr.isTTY) return undefined;
	const terminal = createInterface({ input: process.stdin, output: process.stderr });
	try {
		return (await terminal.question(`Type the session's name (${session}) to discard what was written: `)).trim();
	} finally {
		terminal.close();
	}
}

function describe({ session, outcome, written, lastWrite, created }: FinishResult): string {
	const facts = `made ${localTime(created)}, ${bytes(written)} written${lastWrite ? `, last ${localTime(lastWrite)}` : ""}`;
	if (outcome === "parked") return `${session} is no longer served, its writes are kept (${facts})`;
	if (outcome === "trash")
		return `${session} is in the trash for ${TRASH_DAYS} days (${facts}); "springback sessions restore ${session}" takes it back`;
	return lastWrite === null ? `${session} is gone; nothing had been written to it` : `${session} is gone (${facts})`;
}
